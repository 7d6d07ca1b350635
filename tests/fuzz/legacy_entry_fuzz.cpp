// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary bytes to the reader of iptables' rules: the first one chooses the family. Beside
// memory safety it checks that whatever is read can be evaluated and shown on a terminal.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "firewall/evaluate.hpp"
#include "firewall/legacy_entry.hpp"

namespace {

using namespace culvert::firewall;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

// Sets of several kinds, by index.
class Sets final : public IpsetReader {
public:
    [[nodiscard]] std::shared_ptr<const Ipset> find(std::string_view /*name*/) override {
        return nullptr;
    }
    [[nodiscard]] std::shared_ptr<const Ipset> find(std::uint16_t index) override {
        auto set = std::make_shared<Ipset>();
        set->name = "set";
        switch (index % 4) {
        case 0:
            return nullptr;
        case 1:
            return set;
        case 2:
            set->parts = {Ipset::Part::address, Ipset::Part::interface};
            set->family = Family::ipv4;
            set->tuples = std::make_shared<TupleSet>(2, std::vector<Interval>{{1, 9}, {0, 7}});
            return set;
        default:
            set->parts = {Ipset::Part::port};
            set->tuples = std::make_shared<TupleSet>(2, std::vector<Interval>{{6, 6}, {0, 7}});
            return set;
        }
    }
};

void check(Rule rule, Family family) {
    for (const Step& step : rule.steps) {
        if (const auto* match = std::get_if<Match>(&step)) {
            require(match->set != nullptr && match->set->width() == match->operands.size());
        }
    }
    require(std::none_of(rule.text.begin(), rule.text.end(), [](char c) {
        return static_cast<unsigned char>(c) < ' ' || c == '\x7f';
    }));
    require(rule.action != Action::unknown || !rule.unknown.empty());

    Ruleset rules;
    rules.chains.resize(2);
    rules.chains[0].families = family == Family::ipv4 ? Families::ipv4 : Families::ipv6;
    rules.chains[1].families = rules.chains[0].families;
    rule.chain = 1;
    rules.chains[0].rules.push_back(std::move(rule));
    rules.input.push_back({0, 0, true, true});
    Header header;
    header.source.family = family;
    header.destination.family = family;
    header.protocol = kProtocolUdp;
    const Judgement judgement = evaluate(rules, header);
    require(judgement.may_pass || judgement.may_drop);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const Family family = (data[0] & 1U) == 0 ? Family::ipv4 : Family::ipv6;
    Sets sets;
    LegacyEntryReader reader(family, sets);
    if (auto rule = reader.read(std::as_bytes(std::span(data, size)).subspan(1))) {
        check(*std::move(rule), family);
    } else {
        require(!rule.error().empty());
    }
    return 0;
}
