// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finds the reader for a match or target of iptables. Targets are here, and the matches that ask
// for nothing; the others are in xt_*.cpp. Limits count as not reached: whether a packet is over
// one is decided by packets that are not seen here. Pure but for the sets; any thread.
#include "firewall/extension.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <linux/netfilter/xt_CONNMARK.h>
#include <linux/netfilter/xt_comment.h>
#include <linux/netfilter/xt_hashlimit.h>
#include <linux/netfilter/xt_limit.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_set.h>

#include "firewall/xt_match.hpp"

namespace culvert::firewall {

namespace xt {

void say(Rule& rule, std::string_view text) {
    if (!rule.text.empty()) {
        rule.text += ' ';
    }
    rule.text += text;
}

void where(Rule& rule, Field field, std::vector<Interval> intervals, bool negated, Value mask) {
    auto set = std::make_shared<TupleSet>(1, std::move(intervals));
    rule.steps.emplace_back(Match{{{field, mask}}, std::move(set), negated});
}

void never(Rule& rule) {
    where(rule, Field::protocol, {});
}

void Reading::where_protocol(std::initializer_list<std::uint8_t> protocols) const {
    const auto asks_for_it = [&](const Step& step) {
        const auto* asked = std::get_if<Match>(&step);
        if (asked == nullptr || asked->negated || asked->operands.size() != 1 ||
            asked->operands.front().field != Field::protocol ||
            (asked->operands.front().mask & 0xff) != 0xff) {
            return false;
        }
        for (std::size_t i = 0; i < asked->set->size(); ++i) {
            const Interval& interval = asked->set->tuple(i).front();
            if (interval.low != interval.high ||
                std::find(protocols.begin(), protocols.end(), interval.low) == protocols.end()) {
                return false;
            }
        }
        return true;
    };
    if (std::any_of(rule.steps.begin(), rule.steps.end(), asks_for_it)) {
        return;
    }
    std::vector<Interval> intervals;
    for (const std::uint8_t protocol : protocols) {
        intervals.push_back({protocol, protocol});
    }
    where(Field::protocol, std::move(intervals));
}

void Reading::unknown(std::string_view part) const {
    std::string what = "match " + printable(match.name);
    if (!part.empty()) {
        what += ' ';
        what += part;
    }
    rule.steps.emplace_back(UnknownMatch{std::move(what)});
}

std::string printable(std::string_view bytes) {
    std::string text(bytes.substr(0, bytes.find('\0')));
    std::replace_if(
        text.begin(),
        text.end(),
        [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; },
        '?'
    );
    return text;
}

std::string quoted(std::string_view text) {
    const auto is_plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
    };
    if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) {
        return std::string(text);
    }
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\' || c == '\'') {
            result += '\\';
        }
        result += c;
    }
    return result + '"';
}

std::string hexadecimal(std::uint32_t value) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string digits;
    do {
        digits.insert(digits.begin(), kDigits[value & 15U]);
        value >>= 4U;
    } while (value != 0);
    return "0x" + digits;
}

bool read_comment(const Reading& reading) {
    const auto info = info_of<xt_comment_info>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    const std::string_view bytes(info->comment, sizeof info->comment);
    reading.rule.comment = bytes.substr(0, bytes.find('\0'));
    reading.say("-m comment --comment " + quoted(printable(bytes)));
    return true;
}

namespace {

// As iptables writes a limit's rate.
std::string rate_text(std::uint32_t period) {
    struct Unit {
        std::uint32_t ticks;
        std::string_view name;
    };
    constexpr std::uint32_t kSecond = XT_LIMIT_SCALE;
    constexpr std::array<Unit, 4> kUnits = {
        {{kSecond * 24 * 60 * 60, "day"},
         {kSecond * 60 * 60, "hour"},
         {kSecond * 60, "min"},
         {kSecond, "sec"}}};
    if (period == 0) {
        return "inf";
    }
    std::size_t unit = 0;
    for (std::size_t i = 1; i < kUnits.size(); ++i) {
        const std::uint32_t ticks = kUnits.at(i).ticks;
        if (period > ticks || ticks / period < ticks % period) {
            break;
        }
        unit = i;
    }
    return std::to_string(kUnits.at(unit).ticks / period) + '/' + std::string(kUnits.at(unit).name);
}

}  // namespace

bool read_limit(const Reading& reading) {
    const auto info = info_of<xt_rateinfo>(reading.match.info);
    if (reading.match.revision != 0 || !info) {
        return false;
    }
    constexpr std::uint32_t kBurstOfIptables = 5;
    reading.say("-m limit --limit " + rate_text(info->avg));
    if (info->burst != kBurstOfIptables) {
        reading.say("--limit-burst " + std::to_string(info->burst));
    }
    return true;
}

bool read_hashlimit(const Reading& reading) {
    const auto bytes = reading.match.info;
    std::optional<std::uint32_t> mode;
    std::string name;
    const auto take = [&](const auto& info) {
        if (info) {
            mode = info->cfg.mode;
            name = printable({info->name, sizeof info->name});
        }
    };
    switch (reading.match.revision) {
    case 1:
        take(info_of<xt_hashlimit_mtinfo1>(bytes));
        break;
    case 2:
        take(info_of<xt_hashlimit_mtinfo2>(bytes));
        break;
    case 3:
        take(info_of<xt_hashlimit_mtinfo3>(bytes));
        break;
    default:
        break;
    }
    if (!mode) {
        return false;
    }
    const bool is_above = (*mode & XT_HASHLIMIT_INVERT) != 0;
    reading.say(
        is_above ? "-m hashlimit --hashlimit-above ..." : "-m hashlimit --hashlimit-upto ..."
    );
    reading.say("--hashlimit-name " + name);
    if (is_above) {
        reading.never();
    }
    return true;
}

}  // namespace xt

namespace {

struct MatchReader {
    std::string_view name;
    bool (*read)(const xt::Reading&);
};
constexpr std::array<MatchReader, 18> kMatchReaders = {{
    {"tcp", xt::read_tcp},
    {"udp", xt::read_udp},
    {"udplite", xt::read_udp},
    {"sctp", xt::read_sctp},
    {"dccp", xt::read_dccp},
    {"multiport", xt::read_multiport},
    {"conntrack", xt::read_conntrack},
    {"state", xt::read_state},
    {"mark", xt::read_mark},
    {"set", xt::read_set},
    {"addrtype", xt::read_addrtype},
    {"iprange", xt::read_iprange},
    {"icmp", xt::read_icmp},
    {"icmp6", xt::read_icmp},
    {"esp", xt::read_esp},
    {"comment", xt::read_comment},
    {"limit", xt::read_limit},
    {"hashlimit", xt::read_hashlimit},
}};

// Targets after which the packet goes on to the next rule, with nothing changed that a rule of ours
// reads.
constexpr std::array<std::string_view, 18> kTargetsThatGoOn = {
    "LOG",
    "NFLOG",
    "ULOG",
    "TRACE",
    "AUDIT",
    "CLASSIFY",
    "CHECKSUM",
    "SECMARK",
    "CONNSECMARK",
    "DSCP",
    "TOS",
    "TTL",
    "HL",
    "ECN",
    "TEE",
    "IDLETIMER",
    "LED",
    "RATEEST"};

constexpr std::uint32_t kEveryBit = 0xffffffff;

// SET adds to and takes from sets, and from revision 3 on may take the mark from one.
bool sets_mark_of_set(const Extension& target) {
    if (target.revision < 3) {
        return false;
    }
    const auto info = xt::info_of<xt_set_info_target_v3>(target.info);
    return target.revision > 3 || !info || (info->flags & IPSET_FLAG_MAP_SKBMARK) != 0;
}

void read_mark_target(const Extension& target, Rule& rule) {
    const auto info = xt::info_of<xt_mark_tginfo2>(target.info);
    if (target.revision == 2 && info) {
        rule.steps.emplace_back(SetMark{info->mask, Value{info->mark}});
        rule.text +=
            " --set-xmark " + xt::hexadecimal(info->mark) + '/' + xt::hexadecimal(info->mask);
    } else {
        rule.steps.emplace_back(SetMark{kEveryBit, std::nullopt});
    }
}

bool restores_mark(const Extension& target) {
    if (target.revision == 1) {
        const auto info = xt::info_of<xt_connmark_tginfo1>(target.info);
        return !info || info->mode == XT_CONNMARK_RESTORE;
    }
    const auto info = xt::info_of<xt_connmark_tginfo2>(target.info);
    return target.revision != 2 || !info || info->mode == XT_CONNMARK_RESTORE;
}

}  // namespace

void read_match(const Extension& match, Family family, IpsetReader& sets, Rule& rule) {
    const xt::Reading reading{match, family, sets, rule};
    const auto* const known =
        std::find_if(kMatchReaders.begin(), kMatchReaders.end(), [&match](const auto& reader) {
            return reader.name == match.name;
        });
    if (known != kMatchReaders.end() && known->read(reading)) {
        return;
    }
    reading.say("-m " + xt::printable(match.name) + " ...");
    reading.unknown(
        known == kMatchReaders.end() ? "" : "of revision " + std::to_string(match.revision)
    );
}

void read_target(const Extension& target, Rule& rule) {
    const std::string name = xt::printable(target.name);
    rule.text += rule.text.empty() ? "-j " : " -j ";
    rule.text += name;
    rule.action = Action::none;
    if (name == "REJECT") {
        rule.action = Action::drop;
    } else if (name == "MARK") {
        read_mark_target(target, rule);
    } else if (name == "HMARK" || (name == "CONNMARK" && restores_mark(target)) || (name == "SET" && sets_mark_of_set(target))) {
        rule.steps.emplace_back(SetMark{kEveryBit, std::nullopt});
    } else if (name != "CONNMARK" && name != "SET" &&
               std::find(kTargetsThatGoOn.begin(), kTargetsThatGoOn.end(), name) ==
                   kTargetsThatGoOn.end()) {
        rule.action = Action::unknown;
        rule.unknown = name;
    }
}

}  // namespace culvert::firewall
