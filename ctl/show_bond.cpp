// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lines are Open vSwitch 3.1's to the letter; what they say of recirculation and lb_output never
// applies, as buckets are chosen by workers. See show_bond.hpp.

#include "ctl/show_bond.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "ctl/config_words.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl {

namespace {

std::string_view word(LacpStatus status) {
    switch (status) {
    case LacpStatus::negotiated:
        return "negotiated";
    case LacpStatus::configured:
        return "configured";
    case LacpStatus::off:
        break;
    }
    return "off";
}

std::string_view word(bool value) {
    return value ? "true" : "false";
}

std::int64_t ms_until(std::uint64_t when_ms, std::uint64_t now_ms) {
    return static_cast<std::int64_t>(when_ms - now_ms);
}

template <class Member>
std::vector<const Member*> by_name(const std::vector<Member>& members) {
    std::vector<const Member*> sorted;
    sorted.reserve(members.size());
    for (const Member& member : members) {
        sorted.push_back(&member);
    }
    std::sort(sorted.begin(), sorted.end(), [](const Member* a, const Member* b) {
        return a->input.name < b->input.name;
    });
    return sorted;
}

std::string member_text(const Bond& bond, const BondMember& member, std::uint64_t now_ms) {
    std::string text = fmt::format(
        "\nmember {}: {}\n", member.input.name, member.enabled ? "enabled" : "disabled"
    );
    if (&member == bond.active()) {
        text += "  active member\n";
    }
    if (member.delay_ends_ms) {
        text += fmt::format(
            "  {} expires in {} ms\n",
            member.enabled ? "downdelay" : "updelay",
            ms_until(*member.delay_ends_ms, now_ms)
        );
    }
    text += fmt::format("  may_enable: {}\n", word(member.may_enable()));
    for (std::size_t i = 0; bond.rebalances() && i < bond.buckets().size(); ++i) {
        const Bond::Bucket& bucket = bond.buckets()[i];
        const std::uint64_t kilobytes = bucket.load_bytes / 1024;
        if (bucket.member == member.input.port && kilobytes != 0) {
            text += fmt::format("  hash {}: {} kB load\n", i, kilobytes);
        }
    }
    return text;
}

std::string state_text(std::uint8_t state) {
    static constexpr std::array<std::pair<std::uint8_t, std::string_view>, 8> kNames{{
        {lacp_state::kActivity, "activity"},
        {lacp_state::kTimeout, "timeout"},
        {lacp_state::kAggregation, "aggregation"},
        {lacp_state::kSynchronized, "synchronized"},
        {lacp_state::kCollecting, "collecting"},
        {lacp_state::kDistributing, "distributing"},
        {lacp_state::kDefaulted, "defaulted"},
        {lacp_state::kExpired, "expired"},
    }};
    std::string text;
    for (const auto& [bit, name] : kNames) {
        if ((state & bit) != 0) {
            text.append(" ").append(name);
        }
    }
    return text;
}

std::string info_text(std::string_view who, const LacpInfo& info) {
    return fmt::format(
        "  {0} sys_id: {1}\n"
        "  {0} sys_priority: {2}\n"
        "  {0} port_id: {3}\n"
        "  {0} port_priority: {4}\n"
        "  {0} key: {5}\n"
        "  {0} state:{6}\n",
        who,
        info.system_id.to_string(),
        info.system_priority,
        info.port_id,
        info.port_priority,
        info.key,
        state_text(info.state)
    );
}

std::string_view word(LacpMemberStatus status) {
    switch (status) {
    case LacpMemberStatus::current:
        return "current";
    case LacpMemberStatus::expired:
        return "expired";
    case LacpMemberStatus::defaulted:
        break;
    }
    return "defaulted";
}

tl::unexpected<std::string> no_such(std::string_view what) {
    return tl::unexpected("no such " + std::string(what));
}

const BondMember* member_named(const Bond& bond, const std::string& name) {
    const auto found =
        std::find_if(bond.members().begin(), bond.members().end(), [&](const BondMember& member) {
            return member.input.name == name;
        });
    return found == bond.members().end() ? nullptr : &*found;
}

Result<std::string> show_bonds(const CommandContext& context, const Arguments& arguments) {
    std::string text;
    bool found = arguments.empty();
    for (const auto& [index, port] : context.switch_.model().ports) {
        if (port.role == PortRole::bond && (arguments.empty() || arguments[0] == port.name)) {
            found = true;
            text += bond_text(port.bond->bond, dataplane::clock_ms());
        }
    }
    return found ? Result<std::string>(text) : no_such("bond");
}

Result<std::string> show_lacp(const CommandContext& context, const Arguments& arguments) {
    std::string text;
    bool found = arguments.empty();
    for (const auto& [index, port] : context.switch_.model().ports) {
        if (port.role == PortRole::bond && port.bond->lacp &&
            (arguments.empty() || arguments[0] == port.name)) {
            found = true;
            text += lacp_text(port.name, *port.bond->lacp);
        }
    }
    return found ? Result<std::string>(text) : no_such("lacp object");
}

Result<std::string> list_bonds(const CommandContext& context) {
    std::string text = "bond\ttype\trecircID\tmembers\n";
    for (const auto& [index, port] : context.switch_.model().ports) {
        if (port.role != PortRole::bond) {
            continue;
        }
        std::string members;
        for (const BondMember& member : port.bond->bond.members()) {
            members += (members.empty() ? "" : ", ") + member.input.name;
        }
        text += fmt::format(
            "{}\t{}\t0\t{}\n", port.name, word_of(kBondModeWords, port.bond_config.mode), members
        );
    }
    return text;
}

/// The bond and the member that a command names.
struct Chosen {
    Bond* bond = nullptr;
    const BondMember* member = nullptr;
};

Result<Chosen>
choose(const CommandContext& context, const std::string& bond, const std::string& member) {
    Chosen chosen{context.switch_.find_bond(bond), nullptr};
    if (chosen.bond == nullptr) {
        return no_such("bond");
    }
    chosen.member = member_named(*chosen.bond, member);
    if (chosen.member == nullptr) {
        return no_such("member");
    }
    return chosen;
}

Result<std::string> set_active(const CommandContext& context, const Arguments& arguments) {
    const auto chosen = choose(context, arguments[0], arguments[1]);
    if (!chosen) {
        return tl::unexpected(chosen.error());
    }
    if (!chosen->member->enabled) {
        return tl::unexpected(std::string("cannot make disabled member active"));
    }
    if (chosen->bond->active() == chosen->member) {
        return std::string("no change");
    }
    chosen->bond->set_active(chosen->member->input.port);
    context.switch_.on_bond_changed();
    return std::string("done");
}

Result<std::string>
enable_member(const CommandContext& context, const Arguments& arguments, bool enabled) {
    const auto chosen = choose(context, arguments[0], arguments[1]);
    if (!chosen) {
        return tl::unexpected(chosen.error());
    }
    chosen->bond->enable(chosen->member->input.port, enabled);
    context.switch_.on_bond_changed();
    return std::string(enabled ? "enabled" : "disabled");
}

Result<std::string> migrate(const CommandContext& context, const Arguments& arguments) {
    Bond* bond = context.switch_.find_bond(arguments[0]);
    if (bond == nullptr) {
        return no_such("bond");
    }
    if (bond->config().mode != BondMode::balance_slb) {
        return tl::unexpected(std::string("not an SLB bond"));
    }
    const std::string& text = arguments[1];
    std::uint32_t hash = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hash);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return tl::unexpected(std::string("bad hash"));
    }
    const BondMember* member = member_named(*bond, arguments[2]);
    if (member == nullptr) {
        return no_such("member");
    }
    if (!member->enabled) {
        return tl::unexpected(std::string("cannot migrate to disabled member"));
    }
    bond->migrate(hash % dataplane::kBondBuckets, member->input.port);
    context.switch_.on_bond_changed();
    return std::string("migrated");
}

}  // namespace

std::string bond_text(const Bond& bond, std::uint64_t now_ms) {
    const BondConfig& config = bond.config();
    std::string text = fmt::format(
        "---- {} ----\n"
        "bond_mode: {}\n"
        "bond may use recirculation: no, Recirc-ID : -1\n"
        "bond-hash-basis: {}\n"
        "lb_output action: disabled, bond-id: -1\n",
        config.name,
        word_of(kBondModeWords, config.mode),
        config.hash_basis
    );
    if (config.mode == BondMode::balance_slb) {
        text += "all members active: false\n";
    }
    text +=
        fmt::format("updelay: {} ms\ndowndelay: {} ms\n", config.updelay_ms, config.downdelay_ms);
    if (bond.rebalances()) {
        text += fmt::format("next rebalance: {} ms\n", ms_until(bond.next_rebalance_ms(), now_ms));
    }
    text += fmt::format(
        "lacp_status: {}\nlacp_fallback_ab: {}\n", word(bond.lacp()), word(config.lacp_fallback_ab)
    );
    const bool unknown = !config.primary.empty() && member_named(bond, config.primary) == nullptr;
    text += fmt::format(
        "active-backup primary: {}{}\n",
        config.primary.empty() ? "<none>" : config.primary,
        unknown ? " (no such member)" : ""
    );
    text += fmt::format(
        "active member mac: {}({})\n",
        bond.active_mac().to_string(),
        bond.active() == nullptr ? "none" : bond.active()->input.name
    );
    for (const BondMember* member : by_name(bond.members())) {
        text += member_text(bond, *member, now_ms);
    }
    return text + "\n";
}

std::string lacp_text(const std::string& name, const Lacp& lacp) {
    const auto key = lacp.key();
    std::string text = fmt::format(
        "---- {} ----\n"
        "  status: {}{}\n"
        "  sys_id: {}\n"
        "  sys_priority: {}\n"
        "  aggregation key: {}\n"
        "  lacp_time: {}\n",
        name,
        lacp.settings().active ? "active" : "passive",
        lacp.negotiated() ? " negotiated" : "",
        lacp.settings().system_id.to_string(),
        lacp.settings().system_priority,
        key ? std::to_string(*key) : "none",
        word_of(kLacpTimeWords, lacp.settings().fast)
    );
    for (const LacpMember* member : by_name(lacp.members())) {
        text += fmt::format(
            "\nmember: {}: {} {}\n"
            "  port_id: {}\n"
            "  port_priority: {}\n"
            "  may_enable: {}\n",
            member->input.name,
            word(member->status),
            member->attached ? "attached" : "detached",
            member->input.port_id,
            member->input.port_priority,
            word(lacp.may_enable(*member))
        );
        text += "\n" + info_text("actor", lacp.actor(*member));
        text += "\n" + info_text("partner", member->partner);
    }
    return text;
}

void add_bond_commands(std::map<std::string, Command>& commands, const CommandContext& context) {
    const auto with = [context](Result<std::string> (*run)(const CommandContext&, const Arguments&)
                      ) {
        return [context, run](const Arguments& arguments) { return run(context, arguments); };
    };
    commands["bond/show"] = {"[BOND]", 0, 1, with(show_bonds)};
    commands["bond/list"] = {"", 0, 0, [context](const Arguments&) { return list_bonds(context); }};
    commands["lacp/show"] = {"[BOND]", 0, 1, with(show_lacp)};
    commands["bond/migrate"] = {"BOND HASH MEMBER", 3, 3, with(migrate)};
    for (const char* name : {"bond/set-active-member", "bond/set-active-slave"}) {
        commands[name] = {"BOND MEMBER", 2, 2, with(set_active)};
    }
    for (const char* noun : {"member", "slave"}) {
        for (const bool enabled : {true, false}) {
            const std::string verb = enabled ? "bond/enable-" : "bond/disable-";
            commands[verb + noun] = {
                "BOND MEMBER", 2, 2, [context, enabled](const Arguments& arguments) {
                    return enable_member(context, arguments, enabled);
                }};
        }
    }
}

}  // namespace culvert::ctl
