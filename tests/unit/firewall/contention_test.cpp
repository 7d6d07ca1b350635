// SPDX-License-Identifier: GPL-2.0-or-later
//
// Backends on tables that are huge, or that another program keeps changing meanwhile: what is read
// is one state of the table or another, never a mixture, and what is written is not lost. Each test
// has a network namespace of its own. Needs root.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "firewall/backend.hpp"
#include "tests/unit/net_namespace.hpp"

namespace culvert::firewall {
namespace {

using culvert::test::run;
using culvert::test::succeeds;

constexpr unsigned kHugeRules = 20'000;
constexpr unsigned kReadings = 60;
constexpr unsigned kInserted = 15;

void feed(const std::string& command, const std::string& input) {
    FILE* const pipe = popen(command.c_str(), "w");
    culvert::test::require(pipe != nullptr, command + " cannot be run");
    const bool is_written = std::fwrite(input.data(), 1, input.size(), pipe) == input.size();
    if (pclose(pipe) != 0 || !is_written) {
        throw std::runtime_error("the command failed: " + command);
    }
}

// Calls `work` in a thread, in this namespace, until it is destroyed; between two calls it rests.
class Repeatedly {
public:
    explicit Repeatedly(std::function<void()> work, std::chrono::nanoseconds rest = {})
        : thread_([this, work = std::move(work), rest] {
              while (!stopped_) {
                  work();
                  ++rounds_;
                  std::this_thread::sleep_for(rest);
              }
          }) {}
    ~Repeatedly() {
        stopped_ = true;
        thread_.join();
    }
    Repeatedly(const Repeatedly&) = delete;
    Repeatedly& operator=(const Repeatedly&) = delete;

    [[nodiscard]] unsigned rounds() const { return rounds_; }

private:
    std::atomic<bool> stopped_ = false;
    std::atomic<unsigned> rounds_ = 0;
    std::thread thread_;
};

// Rules of the chain that the hook calls in table "filter", whoever made it.
const Chain& input_of(const Ruleset& rules) {
    for (const BaseChain& base : rules.input) {
        const Chain& chain = rules.chains.at(base.chain);
        if (chain.table.find("filter") != std::string::npos &&
            covers(chain.families, Family::ipv4)) {
            return chain;
        }
    }
    throw std::runtime_error("there is no chain on the hook INPUT");
}

Ruleset must_read(Backend& backend) {
    auto rules = backend.read();
    if (!rules) {
        throw std::runtime_error(rules.error().text);
    }
    return std::move(*rules);
}

void must_insert(Backend& backend, std::uint16_t port) {
    const auto outcome = backend.change(
        [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
            const Chain* const input = &input_of(rules);
            Edit edit;
            edit.chain = static_cast<std::uint32_t>(input - rules.chains.data());
            edit.selector.protocol = kProtocolUdp;
            edit.selector.destination_port = port;
            edit.comment = "culvert udp/" + std::to_string(port);
            return Plan{edit};
        },
        false
    );
    if (!outcome) {
        throw std::runtime_error(outcome.error().text);
    }
}

// How long a reading takes that nobody disturbs.
std::chrono::nanoseconds reading_time(Backend& backend) {
    must_read(backend);
    const auto start = std::chrono::steady_clock::now();
    must_read(backend);
    return std::chrono::steady_clock::now() - start;
}

std::set<std::string> comments_of(const Chain& chain) {
    std::set<std::string> comments;
    for (const Rule& rule : chain.rules) {
        comments.insert(rule.comment);
    }
    return comments;
}

std::string legacy_table(unsigned rules) {
    std::string text = "*filter\n:INPUT ACCEPT [0:0]\n";
    for (unsigned rule = 0; rule < rules; ++rule) {
        text += "-A INPUT -s 10." + std::to_string(rule / 65536) + "." +
                std::to_string(rule / 256 % 256) + "." + std::to_string(rule % 256) +
                "/32 -p udp -m udp --dport 4789 -j ACCEPT\n";
    }
    return text + "COMMIT\n";
}

std::string nft_table(unsigned rules) {
    std::string text =
        "table inet filter\ndelete table inet filter\ntable inet filter {\n  chain input {\n"
        "    type filter hook input priority 0; policy accept;\n";
    for (unsigned rule = 0; rule < rules; ++rule) {
        text += "    ip saddr 10.0." + std::to_string(rule / 256) + "." +
                std::to_string(rule % 256) + " udp dport 4789 accept\n";
    }
    return text + "  }\n}\n";
}

class ContentionTest : public ::testing::Test {
protected:
    // Readings meet one of the two sizes, and both are met.
    static void
    read_while(Backend& backend, std::size_t small, std::size_t large, Repeatedly& writer) {
        std::set<std::size_t> sizes;
        for (unsigned i = 0; i < kReadings || writer.rounds() < 4; ++i) {
            const Ruleset rules = must_read(backend);
            const std::size_t size = input_of(rules).rules.size();
            ASSERT_TRUE(size == small || size == large) << size;
            sizes.insert(size);
        }
    }
    // Inserted rules stand beside those that the writer inserts and deletes.
    static void insert_while(Backend& backend, Repeatedly& writer) {
        const unsigned before = writer.rounds();
        for (unsigned i = 0; i < kInserted || writer.rounds() < before + 4; ++i) {
            must_insert(backend, static_cast<std::uint16_t>(5000 + i % kInserted));
        }
    }
    static void expect_inserted(Backend& backend) {
        const Ruleset rules = must_read(backend);
        const std::set<std::string> comments = comments_of(input_of(rules));
        for (unsigned i = 0; i < kInserted; ++i) {
            EXPECT_TRUE(comments.contains("culvert udp/" + std::to_string(5000 + i))) << i;
        }
    }

private:
    culvert::test::PrivateNetwork network_;
};

TEST_F(ContentionTest, LegacyIsReadInOneStateOrAnother) {
    const std::string small = legacy_table(3);
    const std::string large = legacy_table(500);
    feed("iptables-legacy-restore -w", small);
    const auto backend = make_legacy_backend();
    Repeatedly writer([&] {
        feed("iptables-legacy-restore -w", large);
        feed("iptables-legacy-restore -w", small);
    });
    read_while(*backend, 3, 500, writer);
}

TEST_F(ContentionTest, LegacyRulesInsertedBesideAnotherWriterStay) {
    feed("iptables-legacy-restore -w", legacy_table(3));
    const auto backend = make_legacy_backend();
    {
        Repeatedly writer([] {
            run("iptables-legacy -w -A INPUT -p 99 -j DROP");
            run("iptables-legacy -w -D INPUT -p 99 -j DROP");
        });
        insert_while(*backend, writer);
    }
    expect_inserted(*backend);
}

TEST_F(ContentionTest, NftIsReadInOneStateOrAnother) {
    const std::string small = nft_table(3);
    const std::string large = nft_table(500);
    feed("nft -f -", small);
    const auto backend = make_nft_backend();
    Repeatedly writer([&] {
        feed("nft -f -", large);
        feed("nft -f -", small);
    });
    read_while(*backend, 3, 500, writer);
}

TEST_F(ContentionTest, NftRulesInsertedBesideAnotherWriterStay) {
    feed("nft -f -", nft_table(3));
    const auto backend = make_nft_backend();
    // A reader that is slower than the writer, as under a sanitizer, would never get on.
    const auto rest = 2 * reading_time(*backend);
    {
        Repeatedly writer(
            [] {
                run("nft add rule inet filter input meta l4proto 99 drop");
                run("nft delete rule inet filter input handle "
                    "$(nft -a list chain inet filter input | "
                    "sed -n 's/.*l4proto 99 drop # handle //p')");
            },
            rest
        );
        insert_while(*backend, writer);
    }
    expect_inserted(*backend);
}

TEST_F(ContentionTest, TheRulesOfAHugeTableStayWhereTheyAre) {
    feed("iptables-legacy-restore -w", legacy_table(kHugeRules));
    const auto backend = make_legacy_backend();
    const Ruleset before = must_read(*backend);
    ASSERT_EQ(input_of(before).rules.size(), kHugeRules);
    must_insert(*backend, 5000);
    const Ruleset after = must_read(*backend);
    ASSERT_EQ(input_of(after).rules.size(), kHugeRules + 1);
    EXPECT_EQ(input_of(after).rules.front().comment, "culvert udp/5000");
    EXPECT_EQ(input_of(after).rules.back().text, input_of(before).rules.back().text);
}

TEST_F(ContentionTest, AHugeSetIsReadWhole) {
    std::string elements;
    for (unsigned i = 0; i < kHugeRules; ++i) {  // Every other address, so that none are merged.
        const Address address{Family::ipv4, 0x0a000000 + Value{2} * i};
        elements += (i == 0 ? "" : ", ") + to_string(address);
    }
    feed(
        "nft -f -",
        "table ip filter {\n  set peers { type ipv4_addr; flags interval; elements = { " +
            elements +
            " } }\n  chain input {\n    type filter hook input priority 0; policy drop;\n"
            "    ip saddr @peers accept\n  }\n}\n"
    );
    const Ruleset rules = must_read(*make_nft_backend());
    const Rule& rule = input_of(rules).rules.at(0);
    const auto match = std::find_if(rule.steps.begin(), rule.steps.end(), [](const Step& step) {
        return std::holds_alternative<Match>(step) &&
               std::get<Match>(step).set->size() == kHugeRules;
    });
    ASSERT_NE(match, rule.steps.end());
}

// nft 1.0.6 ends by an assertion where it lists the ports of GRE, which it takes from a file.
TEST_F(ContentionTest, ARulesetThatLibnftablesCannotListIsToldOf) {
    const std::string table = "table inet filter {\n  chain input {\n"
                              "    type filter hook input priority 0; policy drop;\n";
    feed("nft -f -", table + "  }\n}\n");
    const auto backend = make_nft_backend();
    const Ruleset rules = must_read(*backend);
    feed("nft -f -", table + "    meta l4proto gre th dport 1-1000\n  }\n}\n");
    // More often than libnftables may fail in one process: it is not asked again about the same.
    for (int i = 0; i < 200; ++i) {
        const auto unreadable = backend->read();
        if (unreadable) {
            break;  // Another version of nft.
        }
        EXPECT_EQ(unreadable.error().kind, Trouble::Kind::failed);
        EXPECT_NE(unreadable.error().text.find("assertion"), std::string::npos);
    }
    run("nft flush chain inet filter input");
    EXPECT_TRUE(input_of(must_read(*backend)).rules.empty());
}

}  // namespace
}  // namespace culvert::firewall
