// SPDX-License-Identifier: GPL-2.0-or-later
//
// See iptables_rules.hpp. Matches that the evaluator is not asked to know are a few among the
// others: what it answers all the same has to be right.
#include "tests/differential/iptables_rules.hpp"

#include <array>

#include "tests/differential/kernel_input.hpp"

namespace culvert::test {

using firewall::Address;
using firewall::Family;

namespace {

constexpr unsigned kChainsMax = 5;
constexpr unsigned kRulesMax = 5;

std::string hex(unsigned value) {
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "0x%x", value);
    return text.data();
}

// Writes the rules of one table of one set.
class Writer {
public:
    Writer(Random& random, const Universe& universe, IptablesSet& set, std::string table)
        : random_(random), universe_(universe), set_(set), table_(std::move(table)) {}

    void write(unsigned number) {
        prefix_ = table_.substr(0, 1) + std::to_string(number) + "_";
        count_ = random_.between(1, kChainsMax);
        for (unsigned chain = 0; chain < count_; ++chain) {
            own().chains += ":" + name(chain) + " - [0:0]\n";
        }
        own().rules += "-A INPUT -d " + to_string(universe_.destination) +
                       (random_.chance(75) ? " -j " : " -g ") + name(0) + "\n";
        for (unsigned chain = 0; chain < count_; ++chain) {
            for (unsigned rules = random_.between(1, kRulesMax); rules > 0; --rules) {
                own().rules += "-A " + name(chain) + rule(chain) + "\n";
            }
        }
    }

private:
    IptablesSet::Table& own() { return set_.tables[table_]; }
    [[nodiscard]] std::string name(unsigned chain) const { return prefix_ + std::to_string(chain); }
    /// "! " in a part of the cases.
    std::string negation() { return random_.chance(25) ? " !" : ""; }

    std::string rule(unsigned chain) {
        protocol_.clear();
        std::string text;
        if (random_.chance(30)) {
            text += negation() + " -s " + address(random_source(random_, universe_));
        }
        if (random_.chance(5)) {
            text += negation() + " -d " + address(universe_.destination);
        }
        if (random_.chance(15)) {
            text += negation() + " -i " +
                    random_.word({kInterface, "cv+", "cvin+", "cvin", "eth0", "+", "cvin00"});
        }
        text += protocol();
        for (unsigned matches = random_.below(3); matches > 0; --matches) {
            text += match();
        }
        return text + target(chain);
    }

    std::string address(const Address& near) {
        if (random_.chance(70)) {
            const auto prefix = random_prefix(random_, near);
            return firewall::to_string(prefix.address) + "/" + std::to_string(prefix.bits);
        }
        const Address mask{near.family, random_mask(random_, near.family)};
        return firewall::to_string(near) + "/" + firewall::to_string(mask);
    }

    std::string protocol() {
        if (random_.chance(40)) {
            return "";
        }
        if (random_.chance(20)) {
            return " ! -p " + random_.word({"udp", "tcp", "gre", "50", "112"});
        }
        protocol_ = random_.word({"udp", "udp", "udp", "tcp", "gre", "esp", "112"});
        std::string text = " -p " + protocol_;
        if (has_ports() && random_.chance(50)) {
            text += " -m " + protocol_;
            const std::string source = negation();
            const std::string destination = negation();
            const unsigned which = random_.below(4);
            text += which != 0 ? source + " --sport " + range(":") : "";
            text += which > 1 ? destination + " --dport " + range(":") : "";
            // iptables-nft asks for another pair of ports then, and lists it as what was meant.
            if (which > 1 && !source.empty() && !destination.empty()) {
                set_.is_supported = false;
            }
        }
        return text;
    }
    [[nodiscard]] bool has_ports() const { return protocol_ == "udp" || protocol_ == "tcp"; }

    std::string range(const std::string& separator) {
        const auto [low, high] = random_port_range(random_, universe_);
        return low == high ? std::to_string(low)
                           : std::to_string(low) + separator + std::to_string(high);
    }

    std::string match() {
        switch (random_.below(8)) {
        case 0:
            return has_ports() ? multiport() : state();
        case 1:
            return state();
        case 2:
            return " -m mark" + negation() + " --mark " + hex(random_.below(8)) +
                   (random_.chance(70) ? "/" + hex(random_.below(8)) : "");
        case 3:
            return " -m comment --comment \"a b" + std::to_string(random_.below(100)) + "\"";
        case 4:
            return " -m limit --limit 10000/sec --limit-burst 10000";
        case 5:
            return ipset();
        case 6:
            return addresses();
        default:
            return random_.chance(15) ? unsupported() : state();
        }
    }

    std::string multiport() {
        std::string text = " -m multiport" + negation() +
                           random_.word({" --dports ", " --sports ", " --ports "}) + range(":");
        for (unsigned more = random_.below(4); more > 0; --more) {
            text += "," + range(":");
        }
        return text;
    }

    std::string state() {
        const std::string states = random_.word(
            {"NEW",
             "ESTABLISHED",
             "RELATED,ESTABLISHED",
             "INVALID",
             "NEW,UNTRACKED",
             "UNTRACKED",
             "INVALID,NEW"}
        );
        return random_.chance(70) ? " -m conntrack" + negation() + " --ctstate " + states
                                  : " -m state" + negation() + " --state " + states;
    }

    std::string ipset() {
        const std::string family = universe_.is_ipv4() ? "4" : "6";
        const std::string of_one = random_.word({"src", "dst"});
        const std::string of_two = random_.word({"src,dst", "src,src", "dst,dst", "dst,src"});
        const std::string match = " -m set" + negation() + " --match-set ";
        switch (random_.below(7)) {
        case 0:
            return match + "net" + family + " " + of_one;
        case 1:
            return match + "ip" + family + " " + of_one;
        case 2:
            return match + "ipport" + family + " " + of_two;
        case 3:
            return match + "netport" + family + " " + of_two;
        case 4:
            return match + "port " + of_one;
        case 5:
            return match + "ipportnet" + family + " " +
                   random_.word({"src,dst,dst", "src,src,src"});
        default:
            set_.is_supported = false;
            return random_.chance(50) ? match + "but" + family + " " + of_one
                                      : match + "other" + family + " " + of_two;
        }
    }

    std::string addresses() {
        const bool is_source = random_.chance(80);
        Address low = is_source ? random_source(random_, universe_) : universe_.destination;
        Address high = flip_low_bits(random_, low);
        if (low.value > high.value) {
            std::swap(low, high);
        }
        return " -m iprange" + negation() + (is_source ? " --src-range " : " --dst-range ") +
               firewall::to_string(low) + "-" + firewall::to_string(high);
    }

    std::string unsupported() {
        set_.is_supported = false;
        const bool is_ipv4 = universe_.is_ipv4();
        return random_.word({
            is_ipv4 ? " -m ttl --ttl-eq 64" : " -m hl --hl-eq 64",
            is_ipv4 ? " -m ttl --ttl-lt 64" : " -m hl --hl-lt 64",
            " -m length --length 0:40",
            " -m length ! --length 0:40",
            " -m dscp --dscp 0",
            " -m u32 --u32 0=1",
            " -m statistic --mode nth --every 2 --packet 0",
            " -m addrtype --dst-type LOCAL",
            " -m connmark --mark 1",
        });
    }

    std::string target(unsigned chain) {
        const unsigned which = random_.below(100);
        const bool has_deeper = chain + 1 < count_;
        if (which < 25 && has_deeper) {
            return (which < 17 ? " -j " : " -g ") + name(random_.between(chain + 1, count_ - 1));
        }
        if (which < 45) {
            return " -j ACCEPT";
        }
        if (which < 65) {
            return table_ == "filter" && random_.chance(30) ? " -j REJECT" + reject() : " -j DROP";
        }
        if (which < 75) {
            return " -j RETURN";
        }
        if (which < 94) {
            return " -j MARK" + mark();
        }
        return random_.word({"", " -j NFLOG", " -j LOG --log-prefix \"x y\""});
    }

    std::string reject() {
        if (protocol_ == "tcp" && random_.chance(30)) {
            return " --reject-with tcp-reset";
        }
        if (random_.chance(50)) {
            return "";
        }
        return universe_.is_ipv4() ? " --reject-with icmp-admin-prohibited"
                                   : " --reject-with icmp6-adm-prohibited";
    }

    std::string mark() {
        const std::string value = hex(random_.below(8));
        return random_.word(
                   {" --set-mark ", " --set-xmark ", " --and-mark ", " --or-mark ", " --xor-mark "}
               ) +
               value;
    }

    Random& random_;
    const Universe& universe_;
    IptablesSet& set_;
    std::string table_;
    std::string prefix_;
    std::string protocol_;  ///< Of the rule that is being written, unless negated.
    unsigned count_ = 0;    ///< Chains.
};

// By the first part of their names: types of sets of a family.
const std::pair<std::string, std::string> kIpsets[] = {
    {"net", "net"},
    {"ip", "ip"},
    {"ipport", "ip,port"},
    {"netport", "net,port"},
    {"ipportnet", "ip,port,net"},
    {"but", "net"},        // Some elements are exceptions.
    {"other", "ip,port"},  // Of a protocol without ports.
};

std::string several(Random& random, const std::vector<Address>& from, unsigned count, auto line) {
    std::string lines;
    for (unsigned i = 0; i < count; ++i) {
        lines += line(random.pick(from)) + "\n";
    }
    return lines;
}

}  // namespace

IptablesSet random_iptables_set(Random& random, const Universe& universe, unsigned number) {
    IptablesSet set;
    Writer(random, universe, set, "filter").write(number);
    if (random.chance(40)) {
        Writer(random, universe, set, "mangle").write(number);
    }
    if (random.chance(10)) {
        Writer(random, universe, set, "security").write(number);
    }
    return set;
}

std::string iptables_batch(
    Random& random, Family family, const std::vector<IptablesSet>& sets, unsigned drops_percent
) {
    const bool is_ipv4 = family == Family::ipv4;
    std::string text = std::string("*raw\n-A PREROUTING -s ") +
                       (is_ipv4 ? kUntrackedNetwork : kUntrackedNetwork6) +
                       " -j CT --notrack\nCOMMIT\n";
    for (const std::string table : {"mangle", "filter", "security"}) {
        const bool drops = random.chance(table == "filter" ? drops_percent : 10);
        std::string chains = std::string(":INPUT ") + (drops ? "DROP" : "ACCEPT") + " [0:0]\n";
        std::string rules;
        if (is_ipv4) {
            rules += std::string("-A INPUT -d ") + kProbeDestination + " -j ACCEPT\n";
        }
        for (const IptablesSet& set : sets) {
            if (const auto own = set.tables.find(table); own != set.tables.end()) {
                chains += own->second.chains;
                rules += own->second.rules;
            }
        }
        text.append("*").append(table).append("\n").append(chains).append(rules);
        if (table == "mangle") {  // Conntrack starts with the first rule that asks for it.
            text += "-A PREROUTING -m conntrack --ctstate INVALID\n";
        }
        text += "COMMIT\n";
    }
    return text;
}

std::string random_ipsets(Random& random, const Pool& pool) {
    const auto port = [&] { return std::to_string(random.pick(pool.ports)); };
    const auto protocol = [&] { return random.word({"udp:", "udp:", "tcp:"}); };
    const auto ports = [&] { return protocol() + port(); };
    const auto net = [&](const Address& address) {
        return to_string(random_prefix(random, address));
    };
    std::string text;
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        const bool is_ipv4 = family == Family::ipv4;
        const auto& from = is_ipv4 ? pool.sources : pool.sources6;
        const std::string digit = is_ipv4 ? "4" : "6";
        const std::string tail =
            std::string(" family ") + (is_ipv4 ? "inet" : "inet6") + " -exist\n";
        for (const auto& entry : kIpsets) {
            const std::string kind(entry.first);
            const std::string type(entry.second);
            const std::string name = kind + digit;
            text.append("create ").append(name).append(" hash:").append(type).append(tail);
            text += several(random, from, 6, [&](const Address& address) {
                std::string element = type.starts_with("ip") ? to_string(address) : net(address);
                if (kind == "other") {
                    element += ",gre:0";
                } else if (type.find("port") != std::string::npos) {
                    element += "," + ports();
                }
                if (kind == "ipportnet") {
                    element += "," + net(is_ipv4 ? *firewall::parse_address("10.99.1.0")
                                                 : *firewall::parse_address("fd99::"));
                }
                std::string line = "add ";
                line.append(name).append(" ").append(element).append(" -exist");
                line += kind == "but" && random.chance(40) ? " nomatch" : "";
                return line;
            });
        }
    }
    text += "create port bitmap:port range 0-65535 -exist\n";
    for (int i = 0; i < 5; ++i) {
        text += "add port " + port() + " -exist\n";
    }
    return text;
}

}  // namespace culvert::test
