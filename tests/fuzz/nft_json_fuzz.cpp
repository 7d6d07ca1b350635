// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary text to the reader of nftables' listings, and judges packets by what comes out.
// Beside memory safety it checks that every index in the rules is one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "firewall/evaluate.hpp"
#include "firewall/nft_json.hpp"

namespace {

using namespace culvert::firewall;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

void check(const Ruleset& rules) {
    for (const BaseChain& base : rules.input) {
        require(base.chain < rules.chains.size());
    }
    for (const Chain& chain : rules.chains) {
        for (const Rule& rule : chain.rules) {
            const bool goes_on = rule.action == Action::jump || rule.action == Action::go_to;
            require(!goes_on || rule.chain < rules.chains.size());
            for (const Step& step : rule.steps) {
                const auto* match = std::get_if<Match>(&step);
                require(
                    match == nullptr ||
                    (match->set && match->set->width() == match->operands.size())
                );
            }
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(data, data + size);
    const auto document = parse_nft_json(text);
    if (!document) {
        return 0;
    }
    const auto tables = nft_tables_with_extensions(*document);
    const Ruleset rules = read_nft_json(*document, nullptr);
    require(rules.input.empty() || !rules.chains.empty());
    require(tables.size() <= size);
    check(rules);
    Header header;
    header.source = {Family::ipv4, 0x0a000001};
    header.destination = {Family::ipv4, 0x0a000002};
    header.protocol = kProtocolUdp;
    header.destination_port = 4789;
    const Judgement judgement = evaluate(rules, header);
    require(judgement.may_pass || judgement.may_drop);
    return 0;
}
