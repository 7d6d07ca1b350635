// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guard's thread, with a firewall in memory: what it reads and when, the automatic rules, and
// what becomes of failures.

#include "firewall/guard.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

namespace culvert::firewall {

namespace {

using testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(30);

bool wait_until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

bool is_readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return poll(&entry, 1, 0) == 1;
}

/// The kernel's side: what tests change, and backends read.
struct FakeKernel {
    std::mutex mutex;
    Ruleset rules;
    std::uint64_t generation = 1;
    bool unreadable = false;
    bool unwritable = false;
    bool throws = false;
    unsigned reads = 0;
    unsigned attempts = 0;  ///< To write.
    unsigned written = 0;

    FakeKernel() {
        rules.chains.push_back({.name = "INPUT", .table = "filter", .rules = {}});
        rules.input.push_back({.chain = 0, .drops_by_policy = true});
    }
    void change(const std::function<void(FakeKernel&)>& how) {
        const std::lock_guard lock(mutex);
        how(*this);
        ++generation;
    }
    template <class T>
    T get(T FakeKernel::*member) {
        const std::lock_guard lock(mutex);
        return this->*member;
    }
    std::vector<std::string> comments() {
        const std::lock_guard lock(mutex);
        std::vector<std::string> all;
        for (const Rule& rule : rules.chains[0].rules) {
            all.push_back(rule.comment);
        }
        return all;
    }
};

Match equal(Field field, Value value) {
    return {{{field}}, std::make_shared<const TupleSet>(1, std::vector<Interval>{{value, value}})};
}

Rule commented(const std::string& comment) {
    Rule rule;
    rule.comment = comment;
    return rule;
}

Rule rule_of(const Edit& edit) {
    Rule rule;
    rule.steps.emplace_back(equal(Field::protocol, edit.selector.protocol));
    rule.action = Action::accept;
    rule.comment = edit.comment;
    rule.text = "-p " + std::to_string(edit.selector.protocol) + " -j ACCEPT";
    return rule;
}

class FakeBackend final : public Backend {
public:
    explicit FakeBackend(std::shared_ptr<FakeKernel> kernel) : kernel_(std::move(kernel)) {}

    [[nodiscard]] std::string_view name() const override { return "iptables-legacy"; }
    [[nodiscard]] Answer<Ruleset> read() override {
        const std::lock_guard lock(kernel_->mutex);
        ++kernel_->reads;
        if (kernel_->throws) {
            throw std::runtime_error("out of order");
        }
        if (kernel_->unreadable) {
            return tl::unexpected(Trouble{Trouble::Kind::failed, "it cannot be read"});
        }
        return kernel_->rules;
    }
    [[nodiscard]] Answer<std::uint64_t> generation() override {
        const std::lock_guard lock(kernel_->mutex);
        return kernel_->generation;
    }
    [[nodiscard]] Answer<void> change(const Planner& planner, bool create) override {
        EXPECT_FALSE(create) << "tables are not made";
        const std::lock_guard lock(kernel_->mutex);
        ++kernel_->attempts;
        if (kernel_->unwritable) {
            return tl::unexpected(Trouble{Trouble::Kind::failed, "it cannot be written"});
        }
        const auto plan = planner(kernel_->rules);
        if (!plan) {
            return tl::unexpected(Trouble{Trouble::Kind::failed, plan.error()});
        }
        auto& rules = kernel_->rules.chains[0].rules;
        const std::vector<Rule> before = rules;
        std::vector<bool> erased(before.size());
        rules.clear();
        for (const Edit& edit : *plan) {
            if (edit.kind == Edit::Kind::erase) {
                erased.at(edit.rule) = true;
            } else {
                rules.insert(rules.begin(), rule_of(edit));
            }
        }
        for (std::size_t i = 0; i < before.size(); ++i) {
            if (!erased[i]) {
                rules.push_back(before[i]);
            }
        }
        ++kernel_->written;
        ++kernel_->generation;
        return {};
    }
    [[nodiscard]] std::string command_of(const Ruleset&, const Edit&) const override { return ""; }

private:
    std::shared_ptr<FakeKernel> kernel_;
};

class GuardTest : public testing::Test {
protected:
    std::unique_ptr<HostFirewall> make() {
        std::vector<std::unique_ptr<Backend>> backends;
        backends.push_back(std::make_unique<FakeBackend>(kernel));
        return std::make_unique<HostFirewall>(std::move(backends));
    }
    Guard::Factory factory() {
        return [this] { return make(); };
    }
    /// Takes messages until one has `text` in it; all of them up to then.
    std::vector<Guard::Message> messages_until(Guard& guard, const std::string& text) {
        std::vector<Guard::Message> all;
        EXPECT_TRUE(wait_until([&] {
            for (auto& message : guard.take_messages()) {
                all.push_back(std::move(message));
            }
            return std::any_of(all.begin(), all.end(), [&](const auto& message) {
                return message.text.find(text) != std::string::npos;
            });
        })) << text;
        return all;
    }
    /// Lets the thread look around a few times.
    void wait_for_looks() {
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1000);
        EXPECT_TRUE(wait_until([&] { return std::chrono::steady_clock::now() > until; }));
    }

    const Selector gre{};
    const Selector vxlan = [] {
        Selector selector;
        selector.protocol = kProtocolUdp;
        selector.destination_port = 4789;
        return selector;
    }();
    std::shared_ptr<FakeKernel> kernel = std::make_shared<FakeKernel>();
};

TEST_F(GuardTest, HasAPolicyFromTheStart) {
    Guard guard(factory());
    EXPECT_TRUE(is_readable(guard.fd()));
    const auto policy = guard.take();
    ASSERT_NE(policy, nullptr);
    EXPECT_TRUE(policy->readable);
    EXPECT_TRUE(policy->rules.has_policy());
    EXPECT_FALSE(is_readable(guard.fd()));
    EXPECT_EQ(guard.take(), policy) << "the same until something changes";
}

TEST_F(GuardTest, SeesAChangeAndReadsOnlyThen) {
    Guard guard(factory());
    const auto first = guard.take();
    wait_for_looks();
    EXPECT_EQ(kernel->get(&FakeKernel::reads), 1U);
    kernel->change([](FakeKernel& k) { k.rules.input[0].drops_by_policy = false; });
    EXPECT_TRUE(wait_until([&] { return is_readable(guard.fd()); }));
    const auto second = guard.take();
    EXPECT_NE(second, first);
    EXPECT_FALSE(second->rules.has_policy());
    EXPECT_TRUE(first->rules.has_policy()) << "what was handed out does not change";
}

TEST_F(GuardTest, WithoutKeepNothingIsWritten) {
    Guard guard(factory());
    kernel->change([](FakeKernel& k) {
        k.rules.chains[0].rules.push_back(commented("culvert auto gre"));
    });
    wait_for_looks();
    EXPECT_EQ(kernel->get(&FakeKernel::attempts), 0U);
}

TEST_F(GuardTest, KeepsRulesAndPutsThemBack) {
    Guard guard(factory());
    guard.keep({gre});
    const auto told = messages_until(guard, "let in gre (IPv4)");
    ASSERT_EQ(told.size(), 1U);
    EXPECT_FALSE(told[0].is_warning);
    EXPECT_THAT(told[0].text, HasSubstr("filter INPUT"));
    EXPECT_EQ(kernel->comments(), std::vector<std::string>{"culvert auto gre"});
    EXPECT_TRUE(wait_until([&] { return !guard.take()->rules.chains[0].rules.empty(); }))
        << "what it wrote is read too";
    kernel->change([](FakeKernel& k) { k.rules.chains[0].rules.clear(); });
    EXPECT_TRUE(wait_until([&] { return kernel->comments().size() == 1; }));
}

// The generation of iptables' tables is a fingerprint of them.
TEST_F(GuardTest, PutsBackWhatIsTakenAwayAtOnce) {
    Guard guard(factory());
    const auto before = kernel->get(&FakeKernel::generation);
    guard.keep({gre});
    EXPECT_TRUE(wait_until([&] { return kernel->comments().size() == 1; }));
    kernel->change([&](FakeKernel& k) {
        k.rules.chains[0].rules.clear();
        k.generation = before - 1;
    });
    EXPECT_TRUE(wait_until([&] { return kernel->comments().size() == 1; }));
}

TEST_F(GuardTest, ErasesWhatIsNotWantedAnyMore) {
    kernel->rules.chains[0].rules.push_back(commented("the operator's"));
    Guard guard(factory());
    guard.keep({gre});
    EXPECT_TRUE(wait_until([&] { return kernel->comments().size() == 2; }));
    guard.keep({});
    messages_until(guard, "removed the rule -p 47 -j ACCEPT");
    EXPECT_EQ(kernel->comments(), std::vector<std::string>{"the operator's"});
}

TEST_F(GuardTest, RetriesWhatFailsAndTellsItOnce) {
    kernel->unwritable = true;
    Guard guard(factory());
    guard.keep({gre});
    EXPECT_TRUE(wait_until([&] { return kernel->get(&FakeKernel::attempts) >= 2; }));
    const auto told = messages_until(guard, "it cannot be written");
    EXPECT_EQ(told.size(), 1U);
    EXPECT_TRUE(told[0].is_warning);
    kernel->change([](FakeKernel& k) { k.unwritable = false; });
    EXPECT_TRUE(wait_until([&] { return kernel->get(&FakeKernel::written) == 1; }));
    for (const auto& message : messages_until(guard, "let in gre")) {
        EXPECT_FALSE(message.is_warning) << message.text;
    }
}

TEST_F(GuardTest, AnUnreadableFirewallIsToldInThePolicyAndReadAgain) {
    kernel->unreadable = true;
    Guard guard(factory());
    const auto policy = guard.take();
    EXPECT_FALSE(policy->readable);
    EXPECT_EQ(policy->troubles, std::vector<std::string>{"it cannot be read"});
    EXPECT_TRUE(wait_until([&] { return kernel->get(&FakeKernel::reads) >= 3; }));
    EXPECT_EQ(guard.take(), policy) << "the same until something changes";
    {
        const std::lock_guard lock(kernel->mutex);
        kernel->unreadable = false;  // Without a new generation.
    }
    EXPECT_TRUE(wait_until([&] { return guard.take()->readable; }));
}

TEST_F(GuardTest, ExceptionsEndNothing) {
    kernel->throws = true;
    Guard guard(factory());
    EXPECT_FALSE(guard.take()->readable);
    EXPECT_THAT(guard.take()->troubles.at(0), HasSubstr("out of order"));
    kernel->change([](FakeKernel& k) { k.throws = false; });
    EXPECT_TRUE(wait_until([&] { return guard.take()->readable; }));
    kernel->change([](FakeKernel& k) { k.throws = true; });
    messages_until(guard, "out of order");
    EXPECT_TRUE(guard.take()->readable) << "the last one stays";
}

TEST_F(GuardTest, AFirewallThatCannotBeOpenedIsOpenedLater) {
    std::atomic<bool> refuses = true;
    Guard guard([&]() -> std::unique_ptr<HostFirewall> {
        if (refuses) {
            throw std::runtime_error("no netlink");
        }
        return make();
    });
    EXPECT_THAT(guard.take()->troubles.at(0), HasSubstr("no netlink"));
    refuses = false;
    EXPECT_TRUE(wait_until([&] { return guard.take()->readable; }));
}

TEST_F(GuardTest, EndsWhileItIsBusy) {
    kernel->unwritable = true;
    for (int i = 0; i < 20; ++i) {
        Guard guard(factory());
        guard.keep({gre, vxlan});
        kernel->change([](FakeKernel&) {});
    }
}

}  // namespace

}  // namespace culvert::firewall
