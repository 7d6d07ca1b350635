// SPDX-License-Identifier: GPL-2.0-or-later
//
// Packets that stand for all that a selector means, and what becomes of them.
#include "ctl/admission.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include "ctl/packet_options.hpp"
#include "firewall/describe.hpp"

namespace culvert::ctl {

using firewall::Address;
using firewall::Family;
using firewall::Header;
using firewall::Judgement;
using firewall::Selector;
using firewall::Value;

namespace {

/// More of a host's addresses than these are not tried.
constexpr std::size_t kEntrancesMax = 32;
/// Senders that stand for all: of public networks, as rules against forged senders drop addresses
/// that were never given out.
constexpr std::array<Value, 2> kStrangers4 = {0x40730364, 0xb9c94d09};
constexpr std::array<Value, 2> kStrangers6 = {
    (Value{0x2620000008610005} << 64U) | 0x77U, (Value{0x2a0104f800770005} << 64U) | 0x9U};
/// Addresses that stand for the host's where it has none (RFC 5737, RFC 3849).
constexpr Value kDestination4 = 0xc0000202;
constexpr Value kDestination6 = (Value{0x20010db800000000} << 64U) | 2U;

std::optional<Address> address_of(const sockaddr* any) {
    if (any == nullptr) {
        return std::nullopt;
    }
    if (any->sa_family == AF_INET) {
        sockaddr_in four{};
        std::memcpy(&four, any, sizeof(four));
        return Address{Family::ipv4, ntohl(four.sin_addr.s_addr)};
    }
    if (any->sa_family == AF_INET6) {
        sockaddr_in6 six{};
        std::memcpy(&six, any, sizeof(six));
        const Address address = {Family::ipv6, firewall::value_of(six.sin6_addr.s6_addr, 16)};
        const bool is_link_local = (address.value >> 118U) == 0x3fa;  // fe80::/10
        return is_link_local ? std::nullopt : std::optional(address);
    }
    return std::nullopt;
}

/// The hosts at both ends of the selector's source.
std::vector<Address> senders_of(const Selector& selector) {
    std::vector<Address> senders;
    if (!selector.source.has_value()) {
        const auto& strangers = selector.family == Family::ipv4 ? kStrangers4 : kStrangers6;
        for (const Value value : strangers) {
            senders.push_back({selector.family, value});
        }
        return senders;
    }
    const Value low = selector.source->address.value;
    const unsigned free_bits = firewall::bits_of(selector.family) - selector.source->bits;
    const Value span = firewall::max_value(free_bits);
    // The ends of a network are no hosts.
    const Value edge = span > 1 ? 1 : 0;
    senders.push_back({selector.family, low + edge});
    if (span > 0) {
        senders.push_back({selector.family, low + span - edge});
    }
    return senders;
}

void add_once(Words& words, std::string word) {
    if (std::find(words.begin(), words.end(), word) == words.end()) {
        words.push_back(std::move(word));
    }
}

Admission::Verdict verdict_of(const Judgement& judgement) {
    if (judgement.is_unknown()) {
        return Admission::Verdict::depends;
    }
    return judgement.accepted() ? Admission::Verdict::admitted : Admission::Verdict::dropped;
}

}  // namespace

std::vector<Entrance> entrances() {
    std::vector<Entrance> all;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) == 0) {
        for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
            const auto address = address_of(entry->ifa_addr);
            if (address.has_value() && (entry->ifa_flags & IFF_LOOPBACK) == 0 &&
                all.size() < kEntrancesMax) {
                all.push_back({*address, entry->ifa_name});
            }
        }
        ::freeifaddrs(list);
    }
    const auto has = [&all](Family family) {
        return std::any_of(all.begin(), all.end(), [family](const Entrance& entrance) {
            return entrance.destination.family == family;
        });
    };
    if (!has(Family::ipv4)) {
        all.push_back({{Family::ipv4, kDestination4}, ""});
    }
    if (!has(Family::ipv6)) {
        all.push_back({{Family::ipv6, kDestination6}, ""});
    }
    return all;
}

Admission Admissions::of(const Selector& selector) const {
    Admission all;
    bool is_first = true;
    for (const Entrance& entrance : entrances_) {
        if (entrance.destination.family != selector.family) {
            continue;
        }
        Header header = firewall::header_of(selector, entrance.destination);
        header.interface_in = firewall::value_of_interface(entrance.interface);
        if (header.has_ports() && header.source_port == 0) {
            header.source_port = kSenderPort;
        }
        for (const Address& sender : senders_of(selector)) {
            header.source = sender;
            add(all, is_first, header);
        }
    }
    return all;
}

void Admissions::add(Admission& all, bool& is_first, const Header& header) const {
    firewall::Trace trace;
    const Judgement judgement = policy_.judge(header, &trace);
    const auto verdict = verdict_of(judgement);
    if (verdict == Admission::Verdict::depends) {
        for (const firewall::TraceStep& step : trace) {
            if (step.outcome == firewall::TraceStep::Outcome::unknown && !step.unknown.empty()) {
                add_once(all.unknown, firewall::on_one_line(step.unknown));
            }
        }
        for (const std::string& trouble : policy_.troubles) {
            add_once(all.unknown, firewall::on_one_line(trouble));
        }
    }
    if (is_first) {
        all.verdict = verdict;
        all.decider = judgement.decider;
    } else if (verdict != all.verdict) {
        if (all.verdict == Admission::Verdict::admitted) {
            all.decider = judgement.decider;  // What keeps some of them out says more.
        }
        all.verdict = Admission::Verdict::depends;
    }
    is_first = false;
}

std::string Admissions::sentence(
    const Selector& selector, const Admission& admission, std::string_view families
) const {
    const std::string what = firewall::to_string(selector) + " (" + std::string(families) + ")";
    const std::string rule = admission.decider.has_value()
                                 ? firewall::describe(policy_.rules, *admission.decider)
                                 : "nothing filters it";
    switch (admission.verdict) {
    case Admission::Verdict::admitted:
        return "INPUT admits " + what + ": " + rule;
    case Admission::Verdict::dropped:
        return "INPUT drops " + what + ": " + rule;
    case Admission::Verdict::depends:
        break;
    }
    if (admission.unknown.empty()) {
        return "INPUT drops some of " + what + ": " + rule;
    }
    std::string unknown;
    for (const std::string& word : admission.unknown) {
        unknown += (unknown.empty() ? "" : ", ") + word;
    }
    return "INPUT may drop " + what + ", which depends on what cannot be evaluated here (" +
           unknown + ")" + (admission.decider.has_value() ? ": " + rule : "");
}

}  // namespace culvert::ctl
