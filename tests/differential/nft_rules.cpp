// SPDX-License-Identifier: GPL-2.0-or-later
//
// See nft_rules.hpp. Intervals of a set are disjoint, as nft refuses others.
#include "tests/differential/nft_rules.hpp"

#include <algorithm>
#include <array>

#include "tests/differential/kernel_input.hpp"

namespace culvert::test {

using firewall::Address;
using firewall::Family;
using firewall::Value;

namespace {

constexpr unsigned kChainsMax = 5;
constexpr unsigned kRulesMax = 5;

std::string hex(unsigned value) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "0x%x", value);
    return text.data();
}

struct Table {
    std::string family;  ///< "ip", "ip6", "inet".
    std::string name;

    [[nodiscard]] bool covers(const Universe& universe) const {
        return family == "inet" || family == (universe.is_ipv4() ? "ip" : "ip6");
    }
};

// Writes the chains and named sets of one universe in one table.
class Writer {
public:
    Writer(Random& random, const Universe& universe, const Table& table, std::string prefix)
        : random_(random), universe_(universe), table_(table), prefix_(std::move(prefix)),
          ip_(universe.is_ipv4() ? "ip" : "ip6") {}

    void write() {
        count_ = random_.between(1, kChainsMax);
        for (unsigned chain = 0; chain < count_; ++chain) {
            rules_ += "  chain " + name(chain) + " {\n";
            for (unsigned rules = random_.between(1, kRulesMax); rules > 0; --rules) {
                rules_ += "    " + rule(chain) + "\n";
            }
            rules_ += "  }\n";
        }
    }
    [[nodiscard]] std::string name(unsigned chain) const { return prefix_ + std::to_string(chain); }
    [[nodiscard]] std::string text() const { return sets_ + rules_; }
    [[nodiscard]] bool is_supported() const { return is_supported_; }

private:
    // Conditions in front of one another; a verdict map may stand for the verdict. nft refuses
    // rules whose protocols cannot be met at once, so each has but one.
    std::string rule(unsigned chain) {
        transport_ = random_.word({"", "", "udp", "udp", "tcp", "th"});
        has_protocol_ = false;
        has_port_ = false;
        std::string text;
        if (transport_ == "th") {
            text += "meta l4proto { tcp, udp } ";
        } else if (!transport_.empty() && random_.chance(20)) {
            text += "meta l4proto " + transport_ + " ";
        }
        for (unsigned matches = random_.below(4); matches > 0; --matches) {
            text += match() + " ";
        }
        if (random_.chance(20)) {
            text += "counter ";
        }
        if (random_.chance(15)) {
            text += verdict_map(chain);
        } else {
            text += statement(chain);
        }
        if (random_.chance(10)) {
            text += " comment \"a b" + std::to_string(random_.below(100)) + "\"";
        }
        return text;
    }

    std::string match() {
        switch (random_.below(10)) {
        case 0:
        case 1:
            return address();
        case 2:
        case 3:
        case 4:
            return !transport_.empty() ? ports() : has_protocol_ ? state() : protocol();
        case 5:
            return "iifname " + negation() +
                   random_.word(
                       {"\"cvin0\"",
                        "\"cv*\"",
                        "\"cvin\"",
                        "\"eth0\"",
                        "{ \"cvin0\", \"eth0\" }",
                        "{ \"lo\", \"eth0\" }"}
                   );
        case 6:
            return state();
        case 7:
            return mark();
        case 8:
            return tuple();
        default:
            return random_.chance(80) ? "limit rate 10000/second burst 1000 packets" : other();
        }
    }
    std::string negation() { return random_.chance(25) ? "!= " : ""; }

    std::string address() {
        if (random_.chance(8)) {
            return ip_ + " daddr " + negation() + prefix(universe_.destination);
        }
        const std::string field = ip_ + " saddr ";
        const Address near = random_source(random_, universe_);
        switch (random_.below(6)) {
        case 0: {
            // nft lists masks of leading ones in another way.
            const unsigned width = bits_of(near.family);
            const Value mask = random_.chance(50)
                                   ? random_mask(random_, near.family)
                                   : firewall::prefix_mask(width, random_.below(width));
            const Value value = random_.chance(85) ? near.value & mask : near.value;
            return field + "& " + to_string(Address{near.family, mask}) + " " +
                   random_.word({"==", "!="}) + " " + to_string(Address{near.family, value});
        }
        case 1:
            return field + negation() + address_range();
        case 2:
            return field + negation() + "{ " + join(address_keys(false)) + " }";
        case 3:
            return field + negation() + "@" +
                   named_set(address_type(), true, join(address_keys(false)));
        default:
            return field + negation() + prefix(near);
        }
    }
    [[nodiscard]] std::string address_type() const {
        return universe_.is_ipv4() ? "ipv4_addr" : "ipv6_addr";
    }
    std::string prefix(const Address& near) { return to_string(random_prefix(random_, near)); }
    std::string address_range() {
        Address low = random_source(random_, universe_);
        Address high = flip_low_bits(random_, low);
        if (low.value > high.value) {
            std::swap(low, high);
        }
        return to_string(low) + "-" + to_string(high);
    }

    std::string ports() {
        const std::string field = transport_ + random_.word({" dport ", " sport "});
        const std::string negated = negation();
        const unsigned which = random_.below(6);
        // What nft lists of two such comparisons may be what it lists of something else.
        is_supported_ =
            is_supported_ && (!has_port_ || (transport_ != "th" && negated.empty() && which != 0));
        has_port_ = true;
        switch (which) {
        case 0:
            return field + random_.word({"<", "<=", ">", ">="}) + " " +
                   std::to_string(std::clamp<unsigned>(random_port(random_, universe_), 1, 65534));
        case 1:
            return field + negated + "{ " + join(port_keys()) + " }";
        case 2:
            return field + negated + "@" + named_set("inet_service", true, join(port_keys()));
        case 3: {
            const unsigned mask = random_.below(0x10000);
            return field + "& " + hex(mask) + " == " + hex(mask & random_port(random_, universe_));
        }
        default:
            return field + negated + port_range();
        }
    }
    std::string port_range() {
        const auto [low, high] = random_port_range(random_, universe_);
        return low == high ? std::to_string(low) : std::to_string(low) + "-" + std::to_string(high);
    }

    std::string protocol() {
        if (table_.family == "inet" && random_.chance(10)) {
            return std::string("meta nfproto ") + (universe_.is_ipv4() ? "ipv4" : "ipv6");
        }
        has_protocol_ = true;
        const std::string field = random_.chance(60)
                                      ? "meta l4proto "
                                      : (universe_.is_ipv4() ? "ip protocol " : "ip6 nexthdr ");
        return field + negation() +
               random_.word(
                   {"udp",
                    "gre",
                    "47",
                    "esp",
                    "tcp",
                    "112",
                    "{ gre, esp }",
                    "{ udp, tcp }",
                    "40-60",
                    "{ 10-47, 112 }"}
               );
    }

    std::string state() {
        return "ct state " + random_.word(
                                 {"new",
                                  "established",
                                  "established,related",
                                  "!= new",
                                  "!= established",
                                  "{ established, related }",
                                  "{ new, untracked }",
                                  "invalid",
                                  "!= { invalid }",
                                  "untracked",
                                  "invalid,new",
                                  "new,untracked"}
                             );
    }

    std::string mark() {
        const std::string value = hex(random_.below(8));
        switch (random_.below(4)) {
        case 0:
            return "meta mark & " +
                   random_.word({hex(random_.below(8)), "0xfffffffe", "0xfffffffc"}) + " " +
                   random_.word({"==", "!="}) + " " + value;
        case 1:
            return "meta mark { 1-3, 6 }";
        default:
            return "meta mark " + negation() + value;
        }
    }

    // Several fields at once, against a set of tuples.
    std::string tuple() {
        std::string elements;
        for (const std::string& key : address_keys(false)) {
            elements += (elements.empty() ? "" : ", ") + key + " . " + port_range();
        }
        if (!transport_.empty()) {
            const std::string fields = ip_ + " saddr . " + transport_ + " dport " + negation();
            return fields +
                   (random_.chance(50)
                        ? "{ " + elements + " }"
                        : "@" + named_set(address_type() + " . inet_service", true, elements));
        }
        if (has_protocol_) {
            return state();
        }
        has_protocol_ = true;
        return "meta l4proto . " + ip_ + " saddr { udp . " +
               to_string(random_source(random_, universe_)) + ", gre . " +
               to_string(random_source(random_, universe_)) + " }";
    }

    // What the evaluator is not asked to know.
    std::string other() {
        is_supported_ = false;
        if (transport_.empty() && !has_protocol_ && random_.chance(20)) {
            has_protocol_ = true;  // nft 1.0.6 cannot list the next line behind some protocols.
            return "th dport 1-1000";
        }
        return random_.word({
            universe_.is_ipv4() ? "ip ttl 64" : "ip6 hoplimit 64",
            universe_.is_ipv4() ? "ip ttl < 64" : "ip6 hoplimit < 64",
            "meta length < 40",
            "meta length >= 40",
            transport_ == "tcp" ? "tcp flags syn" : "meta length 0-100",
            "ct mark 1",
            "meta pkttype host",
            "fib daddr type local",
            "limit rate over 10000/second burst 1000 packets",
            "meta cpu 0",
            "iif lo",
            "numgen inc mod 2 0",
        });
    }

    std::string
    named_set(const std::string& type, bool has_intervals, const std::string& elements) {
        std::string set = prefix_ + "set" + std::to_string(sets_count_++);
        sets_ += "  set " + set + " {\n    type " + type +
                 (has_intervals ? "; flags interval" : "") + "\n    elements = { " + elements +
                 " }\n  }\n";
        return set;
    }

    // Disjoint: sorted bounds, of which pairs are intervals and single ones points.
    std::vector<std::string> port_keys() {
        std::vector<unsigned> bounds;
        for (unsigned i = random_.between(1, 6); i > 0; --i) {
            bounds.push_back(random_port(random_, universe_));
        }
        std::sort(bounds.begin(), bounds.end());
        bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
        std::vector<std::string> keys;
        for (std::size_t at = 0; at < bounds.size(); ++at) {
            std::string key = std::to_string(bounds[at]);
            if (at + 1 < bounds.size() && random_.chance(40)) {
                key += "-" + std::to_string(bounds[++at]);
            }
            keys.push_back(key);
        }
        return keys;
    }
    std::vector<std::string> address_keys(bool only_points) {
        std::vector<Address> bounds;
        for (unsigned i = random_.between(1, 5); i > 0; --i) {
            bounds.push_back(random_source(random_, universe_));
        }
        const auto less = [](const Address& one, const Address& other) {
            return one.value < other.value;
        };
        std::sort(bounds.begin(), bounds.end(), less);
        bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
        std::vector<std::string> keys;
        for (std::size_t at = 0; at < bounds.size(); ++at) {
            std::string key = to_string(bounds[at]);
            if (!only_points && at + 1 < bounds.size() && random_.chance(40)) {
                key += "-" + to_string(bounds[++at]);
            }
            keys.push_back(key);
        }
        return keys;
    }
    static std::string join(const std::vector<std::string>& words) {
        std::string text;
        for (const std::string& word : words) {
            text += (text.empty() ? "" : ", ") + word;
        }
        return text;
    }

    std::string verdict(unsigned chain) {
        const bool has_deeper = chain + 1 < count_;
        const unsigned which = random_.below(100);
        if (which < 25 && has_deeper) {
            return (which < 17 ? "jump " : "goto ") + name(random_.between(chain + 1, count_ - 1));
        }
        return which < 55 ? "accept" : which < 80 ? "drop" : which < 92 ? "return" : "continue";
    }

    std::string verdict_map(unsigned chain) {
        const auto with_verdicts = [&](const std::vector<std::string>& keys) {
            std::string text;
            for (const std::string& key : keys) {
                text += (text.empty() ? "" : ", ") + key + " : " + verdict(chain);
            }
            return text;
        };
        const unsigned which = random_.below(5);
        if (!transport_.empty() && which < 3) {
            const std::string field = transport_ + random_.word({" dport", " sport"});
            if (which == 0) {
                return field + " vmap { " + with_verdicts(port_keys()) + " }";
            }
            if (which == 1) {
                std::vector<std::string> keys = address_keys(true);
                for (std::string& key : keys) {
                    key += " . " + port_range();
                }
                return ip_ + " saddr . " + field + " vmap { " + with_verdicts(keys) + " }";
            }
            const std::string map = prefix_ + "map" + std::to_string(sets_count_++);
            sets_ += "  map " + map + " {\n    type inet_service : verdict; flags interval\n" +
                     "    elements = { " + with_verdicts(port_keys()) + " }\n  }\n";
            return field + " vmap @" + map;
        }
        if (which == 3) {
            return "ct state vmap { " +
                   with_verdicts({"new", "established", "invalid", "untracked"}) + " }";
        }
        return transport_.empty() && !has_protocol_
                   ? "meta l4proto vmap { " + with_verdicts({"udp", "gre", "50-60"}) + " }"
                   : ip_ + " saddr vmap { " + with_verdicts(address_keys(false)) + " }";
    }

    std::string statement(unsigned chain) {
        const unsigned which = random_.below(100);
        if (which < 12) {
            const std::string value = hex(random_.below(8));
            return random_.word(
                {"meta mark set " + value,
                 "meta mark set mark | " + value,
                 "meta mark set mark & " + value,
                 "meta mark set mark ^ " + value,
                 "meta mark set mark & " + value + " | 4"}
            );
        }
        if (which < 17) {
            return random_.word({"log prefix \"x y\"", "log group 3", "counter"});
        }
        if (which < 22) {
            return random_.word(
                {"reject",
                 universe_.is_ipv4() ? "reject with icmp type admin-prohibited"
                                     : "reject with icmpv6 type admin-prohibited"}
            );
        }
        return verdict(chain);
    }

    Random& random_;
    const Universe& universe_;
    const Table& table_;
    std::string prefix_;
    std::string ip_;
    std::string sets_;
    std::string rules_;
    std::string transport_;      ///< Of the rule: "", "udp", "tcp", or "th" for both.
    bool has_protocol_ = false;  ///< The rule asks for one.
    bool has_port_ = false;      ///< The rule compares one.
    unsigned sets_count_ = 0;
    unsigned count_ = 0;  ///< Chains.
    bool is_supported_ = true;
};

// A base chain in a table of its own, entered by some of the universes.
class BaseChain {
public:
    BaseChain(Random& random, unsigned number, unsigned drops_percent) : random_(random) {
        const bool is_main = number == 0;
        table_.family = is_main ? "inet" : random.word({"inet", "ip", "ip6"});
        table_.name = "t" + std::to_string(number);
        is_main_ = is_main;
        priority_ = is_main ? "filter" : random.word({"-150", "-10", "0", "5", "10", "security"});
        drops_ = random.chance(is_main ? drops_percent : 8);
        is_dormant_ = !is_main && random.chance(10);
    }

    // Appends to what the batch holds of the universe.
    void add(const Universe& universe, std::size_t index, NftBatch& batch) {
        if (!table_.covers(universe) || !(is_main_ || random_.chance(30))) {
            return;
        }
        const std::string prefix = "c" + std::to_string(index) + "_";
        Writer writer(random_, universe, table_, prefix);
        writer.write();
        const std::string verdict = (random_.chance(75) ? "jump " : "goto ") + writer.name(0);
        const std::string destination = to_string(universe.destination);
        if (random_.chance(30)) {
            auto& map = universe.is_ipv4() ? map_ : map6_;
            map += (map.empty() ? "" : ", ") + destination + " : " + verdict;
        } else {
            entries_ += "    " + ip(universe) + " daddr " + destination + " " + verdict + "\n";
        }
        chains_ += writer.text();
        batch.excerpts[index] += head() + "\n" + writer.text() + "  entered by " + verdict + "\n";
        batch.is_supported[index] = batch.is_supported[index] && writer.is_supported();
    }

    [[nodiscard]] std::string text() const {
        std::string text = head() + chains_ + "  chain base {\n    " + hook() + "\n";
        if (table_.family != "ip6") {
            text += std::string("    ip daddr ") + kProbeDestination + " accept\n";
        }
        text += entries_;
        text += map_.empty() ? "" : "    ip daddr vmap { " + map_ + " }\n";
        text += map6_.empty() ? "" : "    ip6 daddr vmap { " + map6_ + " }\n";
        return text + "  }\n}\n";
    }

private:
    [[nodiscard]] static std::string ip(const Universe& universe) {
        return universe.is_ipv4() ? "ip" : "ip6";
    }
    [[nodiscard]] std::string head() const {
        return "table " + table_.family + " " + table_.name + " {  # " + hook() + "\n" +
               (is_dormant_ ? "  flags dormant\n" : "");
    }
    [[nodiscard]] std::string hook() const {
        return "type filter hook input priority " + priority_ + "; policy " +
               (drops_ ? "drop" : "accept") + ";";
    }

    Random& random_;
    Table table_;
    std::string priority_;
    std::string chains_;
    std::string entries_;
    std::string map_;
    std::string map6_;
    bool is_main_ = false;
    bool drops_ = false;
    bool is_dormant_ = false;
};

}  // namespace

NftBatch
random_nft_batch(Random& random, const std::vector<Universe>& universes, unsigned drops_percent) {
    NftBatch batch;
    batch.excerpts.resize(universes.size());
    batch.is_supported.assign(universes.size(), true);
    batch.text = std::string("flush ruleset\n") + "table inet track {\n  chain early {\n" +
                 "    type filter hook prerouting priority -300; policy accept;\n" +
                 "    ip saddr " + kUntrackedNetwork + " notrack\n" + "    ip6 saddr " +
                 kUntrackedNetwork6 + " notrack\n" + "    ct state invalid counter\n  }\n" +
                 "  chain other_hook {\n" +
                 "    type filter hook forward priority 0; policy drop;\n  }\n}\n";
    const unsigned count = random.between(1, 3);
    for (unsigned number = 0; number < count; ++number) {
        BaseChain base(random, number, drops_percent);
        for (std::size_t index = 0; index < universes.size(); ++index) {
            base.add(universes[index], index, batch);
        }
        batch.text += base.text();
    }
    return batch;
}

}  // namespace culvert::test
