// SPDX-License-Identifier: GPL-2.0-or-later
//
// Words to selectors. What iptables would refuse only when the rule is made (a port of GRE) is
// refused here, with its reason.
#include "ctl/packet_options.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "ctl/escape.hpp"
#include "firewall/describe.hpp"

namespace culvert::ctl {

using firewall::Family;
using firewall::Prefix;
using firewall::Selector;

namespace {

template <class T>
tl::unexpected<LocalRefusal> pass_on(const Checked<T>& failed) {
    return tl::unexpected(failed.error());
}

tl::unexpected<LocalRefusal> refusal(int status, std::string sentence) {
    return tl::unexpected(LocalRefusal{status, std::move(sentence)});
}

std::string in_quotes(std::string_view text) {
    return "\"" + escape_controls(text) + "\"";
}

/// What a tunnel type or a protocol is, before ports and sources.
struct Base {
    std::uint8_t protocol = firewall::kProtocolGre;
    std::optional<std::uint16_t> destination_port;
};

/// IPsec is ESP, the key exchange, and both in UDP where an address is translated on the way.
Words types_of(const std::string& word) {
    return word == "esp" ? Words{"esp", "ike", "esp-udp"} : Words{word};
}

Checked<std::vector<Base>> read_bases(const LocalCall& call) {
    std::vector<Base> bases;
    for (const std::string& word : call.arguments) {
        for (const std::string& name : types_of(word)) {
            const firewall::TunnelType* type = firewall::find_tunnel_type(name);
            if (type == nullptr) {
                return refusal(kStatusUsage, "there is no tunnel type " + in_quotes(word));
            }
            bases.push_back({type->protocol, type->destination_port});
        }
    }
    for (const std::string& word : call.values("--protocol")) {
        const auto protocol = read_protocol(word);
        if (!protocol.has_value()) {
            return pass_on(protocol);
        }
        bases.push_back({*protocol, std::nullopt});
    }
    if (bases.empty()) {
        bases.emplace_back();
    }
    return bases;
}

Checked<std::vector<Prefix>> read_sources(const LocalCall& call) {
    std::vector<Prefix> sources;
    for (const std::string& value : call.values("--source")) {
        for (std::size_t at = 0; at <= value.size();) {
            const std::size_t end = std::min(value.find(',', at), value.size());
            const auto prefix =
                firewall::parse_prefix(std::string_view(value).substr(at, end - at));
            if (!prefix.has_value()) {
                return refusal(kStatusUsage, "--source: " + escape_controls(prefix.error()));
            }
            if (std::find(sources.begin(), sources.end(), *prefix) == sources.end()) {
                sources.push_back(*prefix);
            }
            if (sources.size() > kSourcesMax) {
                return refusal(
                    kStatusUsage,
                    "--source: at most " + std::to_string(kSourcesMax) + " of them in one command"
                );
            }
            at = end + 1;
        }
    }
    return sources;
}

void add_once(std::vector<Selector>& all, const Selector& selector) {
    if (std::find(all.begin(), all.end(), selector) == all.end()) {
        all.push_back(selector);
    }
}

}  // namespace

bool takes_ports(std::uint8_t protocol) {
    firewall::Header header;
    header.protocol = protocol;
    // iptables has no words for the ports of UDP-Lite; with such a rule it could not list its
    // table.
    return header.has_ports() && protocol != firewall::kProtocolUdpLite;
}

Checked<std::uint8_t> read_protocol(const std::string& word) {
    const auto protocol = firewall::parse_protocol(word);
    if (!protocol.has_value()) {
        return refusal(kStatusRefused, escape_controls(protocol.error()));
    }
    if (*protocol == 0) {
        return refusal(
            kStatusRefused,
            "protocol " + in_quotes(word) + " stands for every protocol; valid: one of them"
        );
    }
    return *protocol;
}

Checked<std::optional<std::uint16_t>> read_port(const LocalCall& call, std::string_view option) {
    const auto word = call.value(option);
    if (!word.has_value()) {
        return std::nullopt;
    }
    std::uint16_t port = 0;
    const char* end = word->data() + word->size();
    const auto [stop, error] = std::from_chars(word->data(), end, port);
    if (error != std::errc{} || stop != end || port == 0) {
        return refusal(
            kStatusUsage,
            std::string(option) + " " + in_quotes(*word) + " is no port; valid: 1 to 65535"
        );
    }
    return port;
}

Checked<firewall::BackendChoice> read_backend(const LocalCall& call) {
    const std::string word = call.value("--backend").value_or("auto");
    const auto choice = firewall::parse_backend(word);
    if (!choice.has_value()) {
        return refusal(
            kStatusUsage,
            "--backend " + in_quotes(word) + " is none; valid: auto, iptables-legacy, nftables"
        );
    }
    return *choice;
}

Checked<std::string> read_comment(const LocalCall& call) {
    const std::string text = call.value("--comment").value_or("");
    // Quotes and backslashes are the tools' own in what they print and read back.
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return c >= ' ' && c <= '~' && c != '"' && c != '\\';
    });
    if (!plain || text.size() > kCommentBytesMax) {
        return refusal(
            kStatusUsage,
            "--comment " + in_quotes(text) + " does not fit a rule; valid: at most " +
                std::to_string(kCommentBytesMax) +
                " ASCII characters, no double quotes and no backslashes"
        );
    }
    return text;
}

Checked<std::vector<Selector>> read_selectors(const LocalCall& call) {
    const auto to_port = read_port(call, "--dport");
    const auto from_port = read_port(call, "--sport");
    if (!to_port.has_value() || !from_port.has_value()) {
        return pass_on(to_port.has_value() ? from_port : to_port);
    }
    const auto sources = read_sources(call);
    if (!sources.has_value()) {
        return pass_on(sources);
    }
    const auto bases = read_bases(call);
    if (!bases.has_value()) {
        return pass_on(bases);
    }
    std::vector<Selector> selectors;
    for (const Base& base : *bases) {
        Selector selector;
        selector.protocol = base.protocol;
        if ((to_port->has_value() || from_port->has_value()) && !takes_ports(base.protocol)) {
            return refusal(
                kStatusRefused,
                firewall::protocol_name(base.protocol) +
                    " has no ports that rules can ask for; valid with --dport and --sport: tcp, "
                    "udp, sctp, dccp"
            );
        }
        selector.destination_port = to_port->has_value() ? *to_port : base.destination_port;
        selector.source_port = *from_port;
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            selector.family = family;
            selector.source.reset();
            if (sources->empty()) {
                add_once(selectors, selector);
            }
            for (const Prefix& source : *sources) {
                if (source.address.family == family) {
                    selector.source = source.bits == 0 ? std::nullopt : std::optional(source);
                    add_once(selectors, selector);
                }
            }
        }
    }
    return selectors;
}

std::string name_of(const Selector& selector) {
    Selector bare = selector;
    bare.source.reset();
    return firewall::to_string(bare);
}

std::string_view name_of(Family family) {
    return family == Family::ipv4 ? "IPv4" : "IPv6";
}

std::string names_of(const std::vector<Selector>& selectors) {
    Words names;
    for (const Selector& selector : selectors) {
        std::string name = name_of(selector);
        if (std::find(names.begin(), names.end(), name) == names.end()) {
            names.push_back(std::move(name));
        }
    }
    std::string all;
    for (std::size_t i = 0; i < names.size(); ++i) {
        all += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
    }
    return all;
}

LocalAnswer refuse(const LocalRefusal& refusal) {
    return {refusal.status, {}, {refusal.sentence}};
}

void complain_of(const Words& troubles, LocalAnswer& answer) {
    for (const std::string& trouble : troubles) {
        answer.complaints.push_back(firewall::on_one_line(trouble));
    }
}

}  // namespace culvert::ctl
