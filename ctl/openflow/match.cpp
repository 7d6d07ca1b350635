// SPDX-License-Identifier: GPL-2.0-or-later
//
// See match.hpp.

#include "ctl/openflow/match.hpp"

namespace culvert::ctl::openflow {

namespace {

constexpr std::size_t kMatchBytes10 = 40;
constexpr std::size_t kMatchBytes11 = 88;
constexpr std::uint32_t kWildcardAll10 = 0x3fffff;
constexpr std::uint32_t kWildcardFlags10 = 0x3000ff;  ///< Without the address prefixes.
constexpr std::uint32_t kWildcardAll11 = 0x3ff;
constexpr std::uint16_t kMatchStandard = 0;
constexpr std::uint16_t kMatchOxm = 1;
constexpr std::uint16_t kActionOutput = 0;
constexpr std::uint16_t kInstructionApplyActions = 4;
constexpr std::size_t kFixedBytes10 = 72;
constexpr std::size_t kFixedBytes11 = 48;

bool matches_all_10(View match) {
    const auto wildcards = read_at<std::uint32_t>(match, 0);
    const std::uint32_t source_bits = (wildcards >> 8U) & 63U;
    const std::uint32_t destination_bits = (wildcards >> 14U) & 63U;
    return (wildcards & kWildcardFlags10) == kWildcardFlags10 && source_bits >= 32 &&
           destination_bits >= 32;
}

MatchFacts facts_of_10(View match) {
    constexpr std::uint32_t kAnyInPort = 1;
    constexpr std::uint32_t kAnySource = 4;
    const auto wildcards = read_at<std::uint32_t>(match, 0);
    MatchFacts facts{matches_all_10(match), kMatchBytes10, (wildcards & kAnySource) == 0, {}};
    if ((wildcards & kAnyInPort) == 0) {
        facts.in_port = read_at<std::uint16_t>(match, 4);
    }
    return facts;
}

/// Masks have a 1 for each bit that does not matter.
bool matches_all_11(View match) {
    const auto wildcards = read_at<std::uint32_t>(match, 8);
    return (wildcards & kWildcardAll11) == kWildcardAll11 && all_are(match, 18, 6, 0xff) &&
           all_are(match, 30, 6, 0xff) && all_are(match, 48, 4, 0xff) &&
           all_are(match, 56, 4, 0xff) && all_are(match, 80, 8, 0xff);
}

/// Walks a list of {type, length} items; `visit` is called with each. False: malformed.
template <class Visit>
bool each_item(View items, std::size_t bytes_min, const Visit& visit) {
    while (!items.empty()) {
        const std::size_t length = read_at<std::uint16_t>(items, 2);
        if (items.size() < bytes_min || length < bytes_min || length > items.size() ||
            length % 8 != 0) {
            return false;
        }
        visit(read_at<std::uint16_t>(items, 0), items.first(length));
        items = items.subspan(length);
    }
    return true;
}

using Actions = FlowChange::Actions;

Actions kind_of(std::uint16_t type, View action, std::uint8_t version) {
    if (type != kActionOutput) {
        return Actions::other;
    }
    const bool is_10 = version == kOf10;
    const std::uint32_t port =
        is_10 ? read_at<std::uint16_t>(action, 4) : read_at<std::uint32_t>(action, 4);
    if (port == (is_10 ? kNormal16 : kNormal32)) {
        return Actions::normal;
    }
    return port == (is_10 ? kLocal16 : kLocal32) ? Actions::local : Actions::port;
}

std::optional<Actions> read_actions(View actions, std::uint8_t version) {
    Actions all = Actions::none;
    const bool well_formed = each_item(actions, 8, [&](std::uint16_t type, View action) {
        all = all == Actions::none ? kind_of(type, action, version) : Actions::other;
    });
    return well_formed ? std::optional(all) : std::nullopt;
}

std::optional<Actions> read_instructions(View instructions, std::uint8_t version) {
    Actions actions = Actions::none;
    bool valid = true;
    unsigned count = 0;
    const bool well_formed = each_item(instructions, 8, [&](std::uint16_t type, View one) {
        ++count;
        const auto inner = type == kInstructionApplyActions ? read_actions(one.subspan(8), version)
                                                            : std::optional(Actions::other);
        valid = valid && inner.has_value();
        actions = inner.value_or(Actions::other);
    });
    if (!well_formed || !valid) {
        return std::nullopt;
    }
    return count > 1 ? Actions::other : actions;
}

}  // namespace

std::optional<MatchFacts> read_match(View message, std::size_t offset, std::uint8_t version) {
    if (offset > message.size()) {
        return std::nullopt;
    }
    const View match = message.subspan(offset);
    if (version == kOf10) {
        return match.size() < kMatchBytes10 ? std::nullopt : std::optional(facts_of_10(match));
    }
    const auto type = read_at<std::uint16_t>(match, 0);
    const std::size_t length = read_at<std::uint16_t>(match, 2);
    if (version == kOf11) {
        if (match.size() < kMatchBytes11 || type != kMatchStandard || length != kMatchBytes11) {
            return std::nullopt;
        }
        return MatchFacts{matches_all_11(match), kMatchBytes11, false, {}};
    }
    const std::size_t padded = (length + 7) / 8 * 8;
    if (type != kMatchOxm || length < 4 || padded > match.size()) {
        return std::nullopt;
    }
    return MatchFacts{length == 4, padded, false, {}};
}

void write_any_match(Writer& writer, std::uint8_t version) {
    if (version == kOf10) {
        writer.u32(kWildcardAll10).fill(kMatchBytes10 - 4);
    } else if (version == kOf11) {
        writer.u16(kMatchStandard).u16(kMatchBytes11).u32(0).u32(kWildcardAll11);
        for (unsigned address = 0; address < 2; ++address) {
            writer.fill(6).fill(6, 0xff);
        }
        writer.fill(8);
        for (unsigned address = 0; address < 2; ++address) {
            writer.fill(4).fill(4, 0xff);
        }
        writer.fill(12).fill(8).fill(8, 0xff);
    } else {
        writer.u16(kMatchOxm).u16(4).fill(4);
    }
}

std::optional<FlowChange> read_flow_mod(View message, bool table_in_command) {
    const std::uint8_t version = read_at<std::uint8_t>(message, 0);
    FlowChange change;
    unsigned command = 0;
    std::optional<MatchFacts> match;
    std::optional<Actions> actions;
    if (version == kOf10) {
        match = read_match(message, kHeaderBytes, version);
        if (!match || message.size() < kFixedBytes10) {
            return std::nullopt;
        }
        change.cookie = read_at<std::uint64_t>(message, 48);
        command = read_at<std::uint16_t>(message, 56);
        change.table = 255;
        if (table_in_command) {
            change.table = static_cast<std::uint8_t>(command >> 8U);
            command &= 0xffU;
        }
        change.times_out = !all_are(message, 58, 4, 0);
        change.priority = read_at<std::uint16_t>(message, 62);
        actions = read_actions(message.subspan(kFixedBytes10), version);
    } else {
        match = read_match(message, kFixedBytes11, version);
        if (!match) {
            return std::nullopt;
        }
        change.cookie = read_at<std::uint64_t>(message, 8);
        change.table = read_at<std::uint8_t>(message, 24);
        command = read_at<std::uint8_t>(message, 25);
        change.times_out = !all_are(message, 26, 4, 0);
        change.priority = read_at<std::uint16_t>(message, 30);
        actions = read_instructions(message.subspan(kFixedBytes11 + match->size), version);
    }
    if (!actions || command > static_cast<unsigned>(FlowChange::Command::remove_strict)) {
        return std::nullopt;
    }
    change.command = static_cast<FlowChange::Command>(command);
    change.matches_everything = match->everything;
    change.matches_source = match->source;
    change.in_port = match->in_port;
    change.actions = *actions;
    return change;
}

}  // namespace culvert::ctl::openflow
