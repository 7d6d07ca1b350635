// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules as the host's tools take them on their command lines. Pure; any thread.
#include "firewall/command.hpp"

#include <algorithm>
#include <string_view>

namespace culvert::firewall {

std::string shell_word(const std::string& text) {
    const auto is_plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./:,+%@").find(c) != std::string_view::npos;
    };
    if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) {
        return text;
    }
    std::string word = "'";
    for (const char c : text) {
        if (c == '\'') {
            word += "'\\''";
        } else {
            word += c;
        }
    }
    return word + "'";
}

std::string iptables_words(const Selector& selector, const std::string& comment) {
    const std::string protocol = protocol_name(selector.protocol);
    std::string words;
    if (selector.source) {
        words += "-s " + to_string(*selector.source) + ' ';
    }
    words += "-p " + protocol;
    if (selector.source_port || selector.destination_port) {
        words += " -m " + protocol;
    }
    if (selector.source_port) {
        words += " --sport " + std::to_string(*selector.source_port);
    }
    if (selector.destination_port) {
        words += " --dport " + std::to_string(*selector.destination_port);
    }
    if (!comment.empty()) {
        words += " -m comment --comment " + shell_word(comment);
    }
    return words + " -j ACCEPT";
}

std::string nft_words(const Selector& selector, const std::string& comment, bool says_family) {
    const bool is_ipv4 = selector.family == Family::ipv4;
    std::string words;
    if (says_family && !selector.source) {
        words += is_ipv4 ? "meta nfproto ipv4 " : "meta nfproto ipv6 ";
    }
    if (selector.source) {
        words += (is_ipv4 ? "ip saddr " : "ip6 saddr ") + to_string(*selector.source) + ' ';
    }
    words += "meta l4proto " + std::to_string(selector.protocol);
    if (selector.source_port) {
        words += " th sport " + std::to_string(*selector.source_port);
    }
    if (selector.destination_port) {
        words += " th dport " + std::to_string(*selector.destination_port);
    }
    words += " counter accept";
    if (!comment.empty()) {
        words += " comment " + shell_word('"' + comment + '"');
    }
    return words;
}

}  // namespace culvert::firewall
