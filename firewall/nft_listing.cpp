// SPDX-License-Identifier: GPL-2.0-or-later
//
// The text listing of nftables: tables at the margin, chains one tab in, rules two tabs in, each
// with its handle at the end. A jump into a chain without a name goes on over several lines, of
// which only the last has the handle that counts. Pure; any thread.
#include "firewall/nft_listing.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>
#include <utility>

namespace culvert::firewall {

namespace {

constexpr std::string_view kHandle = " # handle ";

// Cuts the handle off a line.
std::optional<std::uint64_t> take_handle(std::string_view& line) {
    const std::size_t at = line.rfind(kHandle);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view digits = line.substr(at + kHandle.size());
    std::uint64_t handle = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), handle);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        return std::nullopt;
    }
    line = line.substr(0, at);
    return handle;
}

// The words of a line, of which there may be three: "table inet filter".
std::string_view word(std::string_view line, unsigned index) {
    for (; index > 0; --index) {
        const std::size_t blank = line.find(' ');
        line.remove_prefix(blank == std::string_view::npos ? line.size() : blank + 1);
    }
    return line.substr(0, line.find(' '));
}

}  // namespace

std::map<NftRuleKey, std::string> nft_rule_texts(std::string_view listing) {
    std::map<NftRuleKey, std::string> texts;
    NftRuleKey at;
    bool is_chain = false;
    while (!listing.empty()) {
        std::string_view line = listing.substr(0, listing.find('\n'));
        listing.remove_prefix(std::min(line.size() + 1, listing.size()));
        if (line.starts_with("table ")) {
            at.table = {std::string(word(line, 1)), std::string(word(line, 2))};
            is_chain = false;
        } else if (line.starts_with("\t\t") && !line.starts_with("\t\t\t") && is_chain) {
            line.remove_prefix(2);
            if (const auto handle = take_handle(line)) {
                at.handle = *handle;
                texts[at] = line == "}" ? "jump { ... }" : std::string(line);
            }
        } else if (line.starts_with("\t") && !line.starts_with("\t\t")) {
            line.remove_prefix(1);
            is_chain = line.starts_with("chain ");
            at.chain = std::string(word(line, 1));
        }
    }
    return texts;
}

std::string_view nft_family_of(const Chain& chain) {
    switch (chain.families) {
    case Families::ipv4:
        return "ip";
    case Families::ipv6:
        return "ip6";
    case Families::both:
        break;
    }
    return "inet";
}

void set_nft_texts(std::string_view listing, Ruleset& rules) {
    const auto texts = nft_rule_texts(listing);
    for (Chain& chain : rules.chains) {
        NftRuleKey key{{std::string(nft_family_of(chain)), chain.table}, chain.name, 0};
        for (Rule& rule : chain.rules) {
            key.handle = rule.handle;
            const auto found = texts.find(key);
            if (found != texts.end()) {
                rule.text = found->second;
            }
        }
    }
}

}  // namespace culvert::firewall
