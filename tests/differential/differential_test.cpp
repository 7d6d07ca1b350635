// SPDX-License-Identifier: GPL-2.0-or-later
//
// The evaluator against the kernel: random rule sets are loaded by the host's tools, read by the
// backends, and tried with packets, and what evaluate() says of a packet has to be what became of
// it. Where all matches of a rule set are of those that the evaluator knows, it has to say
// something; and it has to say the same of any packet that differs only in fields that it did not
// read. Needs root.
//
// CULVERT_DIFFERENTIAL_SEED=N tries other rule sets, CULVERT_DIFFERENTIAL_TIMES=N more of them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "firewall/backend.hpp"
#include "firewall/evaluate.hpp"
#include "tests/differential/iptables_rules.hpp"
#include "tests/differential/kernel_input.hpp"
#include "tests/differential/nft_rules.hpp"
#include "tests/differential/universe.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::test {
namespace {

using firewall::Family;
using firewall::Header;
using firewall::Judgement;
using firewall::Ruleset;
using firewall::TraceStep;

constexpr std::size_t kHeaders = 8;       // A rule set.
constexpr std::size_t kSetsInBatch = 25;  // Loaded by one process, and read at once.
constexpr unsigned kDisagreementsMax = 5;

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// Runs `command` with `input`; throws, with both, when it fails.
void feed(const std::string& command, const std::string& input) {
    FILE* const pipe = popen(command.c_str(), "w");
    require(pipe != nullptr, command + " cannot be run");
    const bool is_written = std::fwrite(input.data(), 1, input.size(), pipe) == input.size();
    if (pclose(pipe) != 0 || !is_written) {
        throw std::runtime_error("failed: " + command + "\n" + input);
    }
}

// One rule set of a batch.
struct Case {
    std::string text;  // For people.
    bool is_supported = true;
    std::vector<Header> headers;
};

struct Counts {
    std::size_t sets = 0;
    std::size_t packets = 0;
    std::size_t delivered = 0;
    std::size_t supported = 0;
    std::size_t unknown = 0;
};

class Differential : public ::testing::Test {
protected:
    Differential()
        : seed_(number_of("CULVERT_DIFFERENTIAL_SEED", 20260101)), random_(seed_), pool_(random_) {
        std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    }
    ~Differential() override {
        std::printf(
            "%zu rule sets (%zu of known matches), %zu packets, %zu delivered, %zu unknown\n",
            counts_.sets,
            counts_.supported,
            counts_.packets,
            counts_.delivered,
            counts_.unknown
        );
    }

    static std::size_t batches(std::size_t sets) {
        return sets / kSetsInBatch * number_of("CULVERT_DIFFERENTIAL_TIMES", 1);
    }
    std::vector<Universe> universes(Family family) {
        std::vector<Universe> made;
        for (std::size_t i = 0; i < kSetsInBatch; ++i) {
            made.emplace_back(random_, pool_, family, next_number_++);
        }
        return made;
    }

    // Loads a batch of both families by PROGRAM and what stands behind it.
    std::vector<Case> load_iptables(const std::string& suffix) {
        std::vector<Case> cases;
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            std::vector<IptablesSet> sets;
            for (const Universe& universe : universes(family)) {
                sets.push_back(random_iptables_set(random_, universe, unsigned(sets.size())));
                Case made;
                for (const auto& [name, table] : sets.back().tables) {
                    made.text += "*" + name + "\n" + table.rules;
                }
                made.is_supported = sets.back().is_supported;
                made.headers = random_headers(random_, universe, kHeaders);
                cases.push_back(made);
            }
            const std::string program = family == Family::ipv4 ? "iptables" : "ip6tables";
            feed(program + suffix, iptables_batch(random_, family, sets, drops_percent_));
        }
        return cases;
    }
    std::vector<Case> load_nft() {
        std::vector<Universe> both = universes(Family::ipv4);
        const std::vector<Universe> others = universes(Family::ipv6);
        both.insert(both.end(), others.begin(), others.end());
        const NftBatch batch = random_nft_batch(random_, both, drops_percent_);
        feed("nft -f -", batch.text);
        std::vector<Case> cases;
        for (std::size_t i = 0; i < both.size(); ++i) {
            cases.push_back(
                {batch.excerpts[i],
                 batch.is_supported[i],
                 random_headers(random_, both[i], kHeaders)}
            );
        }
        return cases;
    }
    void load_ipsets() { feed("ipset restore", random_ipsets(random_, pool_)); }

    static Ruleset read(firewall::Backend& backend) {
        auto rules = backend.read();
        if (!rules) {
            throw std::runtime_error(rules.error().text);
        }
        return std::move(*rules);
    }

    void judge(const Ruleset& rules, const std::vector<Case>& cases) {
        std::vector<Header> headers;
        for (const Case& one : cases) {
            headers.insert(headers.end(), one.headers.begin(), one.headers.end());
        }
        const std::vector<bool> delivered = kernel_.deliver(headers);
        auto arrived = delivered.begin();
        for (const Case& one : cases) {
            ++counts_.sets;
            counts_.supported += one.is_supported ? 1U : 0U;
            for (const Header& header : one.headers) {
                compare(rules, one, header, *arrived++);
                if (disagreements_ == kDisagreementsMax) {
                    return;
                }
            }
        }
    }
    // Policies of drop, of the batches from now on.
    void set_drops(unsigned percent) { drops_percent_ = percent; }
    [[nodiscard]] bool may_go_on() const { return disagreements_ < kDisagreementsMax; }

    KernelInput& kernel() { return kernel_; }

private:
    void compare(const Ruleset& rules, const Case& one, const Header& header, bool delivered) {
        const Judgement judgement = evaluate(rules, header);
        ++counts_.packets;
        counts_.delivered += delivered ? 1U : 0U;
        counts_.unknown += judgement.is_unknown() ? 1U : 0U;
        std::string fault;
        if (delivered ? !judgement.may_pass : !judgement.may_drop) {
            fault = delivered ? "the kernel delivered it" : "the kernel dropped it";
        } else if (judgement.is_unknown() && one.is_supported) {
            fault = "the verdict is unknown though every match is of a known kind";
        }
        for (int i = 0; i < 2 && fault.empty(); ++i) {
            const Header other = change_unread(random_, header, judgement.read);
            const Judgement again = evaluate(rules, other);
            if (again.may_pass != judgement.may_pass || again.may_drop != judgement.may_drop) {
                fault = "it depends on a field that it does not name: " + to_string(other);
            }
        }
        if (!fault.empty()) {
            ++disagreements_;
            ADD_FAILURE() << "seed " << seed_ << ": " << fault << "\n"
                          << to_string(header) << "\n"
                          << one.text << trace_of(rules, header);
        }
    }

    static std::string trace_of(const Ruleset& rules, const Header& header) {
        firewall::Trace trace;
        const Judgement judgement = evaluate(rules, header, &trace);
        std::string text = std::string("evaluated:") + (judgement.may_pass ? " may pass" : "") +
                           (judgement.may_drop ? " may drop" : "") + ", reads " +
                           judgement.read.to_string() + "\n";
        for (const TraceStep& step : trace) {
            const firewall::Chain& chain = rules.chains[step.at.chain];
            const bool is_policy = step.at.rule >= chain.rules.size();
            // Rules that send other rule sets' packets elsewhere are too many to be shown.
            if (step.depth == 0 && step.outcome == TraceStep::Outcome::not_matched) {
                continue;
            }
            text += std::string(std::size_t{2} * step.depth, ' ') + to_string(chain) + " " +
                    (is_policy ? "policy" : chain.rules[step.at.rule].text) + ": " +
                    (step.outcome == TraceStep::Outcome::matched       ? "matched"
                     : step.outcome == TraceStep::Outcome::not_matched ? "not matched"
                                                                       : "unknown, ") +
                    step.unknown + "\n";
        }
        return text;
    }

    std::uint64_t seed_;
    Random random_;
    Pool pool_;
    unsigned next_number_ = 0;
    PrivateNetwork network_;
    KernelInput kernel_;
    Counts counts_;
    unsigned drops_percent_ = 50;
    unsigned disagreements_ = 0;
};

TEST_F(Differential, TheHarnessSeesWhatTheKernelDoes) {
    const auto headers = [&](const char* source, const char* destination) {
        std::vector<Header> made;
        for (const std::uint8_t protocol : kProtocols) {
            Header header;
            header.source = *firewall::parse_address(source);
            header.destination = *firewall::parse_address(destination);
            header.protocol = protocol;
            header.source_port = header.has_ports() ? 1000 : 0;
            header.destination_port = header.has_ports() ? 4789 : 0;
            made.push_back(header);
        }
        return made;
    };
    const auto ipv4 = headers("192.0.2.5", "10.99.0.1");
    const auto ipv6 = headers("2001:db8::5", "fd99::1");
    const std::vector<bool> all(std::size(kProtocols), true);
    const std::vector<bool> none(std::size(kProtocols), false);
    EXPECT_EQ(kernel().deliver(ipv4), all);
    EXPECT_EQ(kernel().deliver(ipv6), all);
    run("iptables-legacy -A INPUT -d " + std::string(kProbeDestination) + " -j ACCEPT");
    run("iptables-legacy -P INPUT DROP");
    EXPECT_EQ(kernel().deliver(ipv4), none);
    EXPECT_EQ(kernel().deliver(ipv6), all);
    run("ip6tables-legacy -P INPUT DROP");
    EXPECT_EQ(kernel().deliver(ipv6), none);
    run("iptables-legacy -A INPUT -p gre -j ACCEPT");
    EXPECT_EQ(kernel().deliver(ipv4), (std::vector<bool>{false, true, false, false, false}));
}

// By the state of the first of `kProtocols`: what a rule that asks for it lets pass.
TEST_F(Differential, TheHarnessMakesStatesOfConntrack) {
    using firewall::State;
    const std::pair<State, const char*> states[] = {
        {State::fresh, "NEW"},
        {State::established, "ESTABLISHED"},
        {State::invalid, "INVALID"},
        {State::untracked, "UNTRACKED"},
    };
    for (const auto& [asked, name] : states) {
        run("iptables-legacy -F INPUT; ip6tables-legacy -F INPUT; iptables-legacy -P INPUT DROP; "
            "iptables-legacy -t raw -F; iptables-legacy -t raw -A PREROUTING -s " +
            std::string(kUntrackedNetwork) + " -j CT --notrack; iptables-legacy -A INPUT -d " +
            kProbeDestination + " -j ACCEPT; iptables-legacy -A INPUT -m conntrack --ctstate " +
            name + " -j ACCEPT");
        for (const auto& [state, other] : states) {
            Header header;
            header.source =
                *firewall::parse_address(state == State::untracked ? "172.31.0.9" : "192.0.2.9");
            header.destination = *firewall::parse_address("10.99.0.2");
            header.protocol = firewall::kProtocolUdp;
            header.source_port = static_cast<std::uint16_t>(state);
            header.destination_port = 4789;
            header.state = state;
            EXPECT_EQ(kernel().deliver({header})[0], state == asked) << name << " of " << other;
        }
    }
}

TEST_F(Differential, IptablesLegacy) {
    load_ipsets();
    const auto backend = firewall::make_legacy_backend();
    for (std::size_t i = 0; i < batches(400) && may_go_on(); ++i) {
        const std::vector<Case> cases = load_iptables("-legacy-restore");
        judge(read(*backend), cases);
    }
}

TEST_F(Differential, IptablesNft) {
    load_ipsets();
    const auto backend = firewall::make_nft_backend();
    for (std::size_t i = 0; i < batches(300) && may_go_on(); ++i) {
        const std::vector<Case> cases = load_iptables("-nft-restore");
        judge(read(*backend), cases);
    }
}

TEST_F(Differential, Nft) {
    const auto backend = firewall::make_nft_backend();
    for (std::size_t i = 0; i < batches(500) && may_go_on(); ++i) {
        const std::vector<Case> cases = load_nft();
        judge(read(*backend), cases);
    }
}

// Packets to the one's destinations meet the policies of the other as well.
TEST_F(Differential, BothAtOnce) {
    load_ipsets();
    set_drops(15);
    const auto legacy = firewall::make_legacy_backend();
    const auto nft = firewall::make_nft_backend();
    for (std::size_t i = 0; i < batches(100) && may_go_on(); ++i) {
        std::vector<Case> cases = load_iptables("-legacy-restore");
        const std::vector<Case> others = load_nft();
        cases.insert(cases.end(), others.begin(), others.end());
        Ruleset rules = read(*legacy);
        rules.add(read(*nft));
        judge(rules, cases);
    }
}

}  // namespace
}  // namespace culvert::test
