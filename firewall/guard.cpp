// SPDX-License-Identifier: GPL-2.0-or-later
//
// The thread that follows the host's firewall: asks for its generation, reads it when that differs,
// brings the automatic rules about. Whatever fails there ends in a message, never in the thread's
// end. See guard.hpp.

#include "firewall/guard.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "firewall/describe.hpp"
#include "firewall/plan.hpp"

namespace culvert::firewall {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPollInterval = std::chrono::milliseconds(400);
/// A firewall that is there and cannot be read is tried anew this often, whatever its generation.
constexpr auto kRereadInterval = std::chrono::seconds(2);
/// After the first failure to write, and at most; doubled in between.
constexpr auto kRetryMin = std::chrono::seconds(1);
constexpr auto kRetryMax = std::chrono::seconds(60);
/// Messages that nobody took; further ones are left out.
constexpr std::size_t kMessagesMax = 256;

/// "filter INPUT: let in gre from 10.0.0.2 (IPv4)".
std::string edit_text(const Ruleset& rules, const Edit& edit) {
    const Chain& chain = rules.chains.at(edit.chain);
    if (edit.kind == Edit::Kind::erase) {
        return to_string(chain) + ": removed the rule " +
               on_one_line(chain.rules.at(edit.rule).text);
    }
    const std::string_view family = edit.selector.family == Family::ipv4 ? "IPv4" : "IPv6";
    return to_string(chain) + ": let in " + to_string(edit.selector) + " (" + std::string(family) +
           ")";
}

Policy unreadable(std::string text) {
    Policy policy;
    policy.troubles.push_back(std::move(text));
    return policy;
}

}  // namespace

struct Guard::Shared {
    explicit Shared(Factory factory) : make(std::move(factory)) {
        if (fd < 0) {
            throw std::system_error(
                errno, std::generic_category(), "the event descriptor of the firewall's guard"
            );
        }
    }
    ~Shared() { close(fd); }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;

    // The guard's thread.
    void run();
    void start_reading();
    void follow();
    void read();
    void keep_rules();
    void keep_rules_of(
        const HostFirewall::Target& target,
        const std::vector<Selector>& selectors,
        std::vector<std::string>& troubles
    );
    void note_keeping(const std::vector<std::string>& troubles);
    void publish(Policy policy);
    void tell(bool is_warning, std::string text);
    void signal() const;

    const Factory make;
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    std::mutex mutex;  ///< Of the next ones.
    std::condition_variable woken;
    bool stops = false;
    std::shared_ptr<const Policy> policy;
    std::vector<Message> messages;
    std::optional<std::vector<Selector>> wanted;
    bool wanted_changed = false;

    // Of the guard's thread alone.
    std::unique_ptr<HostFirewall> host;
    std::uint64_t generation = 0;
    std::vector<std::string> published;  ///< The troubles of what was published last.
    bool is_outdated = true;             ///< That is of another generation.
    bool has_troubles = false;           ///< What was read last is not all there is.
    /// Since `generation` was asked for. Who takes our rule away at once makes the tables what they
    /// were then, and iptables' fingerprint with them.
    bool has_written = false;
    Clock::time_point read_at;
    bool is_keeping = false;  ///< Something may have to be inserted or erased.
    Clock::duration retry_after{};
    Clock::time_point retry_at;
    std::string told;  ///< The failure that was told last.

    std::thread thread;
};

void Guard::Shared::run() {
    pthread_setname_np(pthread_self(), "culvert-fw");
    start_reading();
    std::unique_lock lock(mutex);
    while (!stops) {
        woken.wait_for(lock, kPollInterval, [this] { return stops || wanted_changed; });
        if (stops) {
            break;
        }
        if (std::exchange(wanted_changed, false)) {
            is_keeping = true;
            retry_after = {};
            retry_at = {};
        }
        lock.unlock();
        follow();
        lock.lock();
    }
}

/// The first policy, whatever becomes of it: the constructor waits for it.
void Guard::Shared::start_reading() {
    try {
        host = make();
        generation = host->generation();
        read();
        return;
    } catch (const std::exception& error) {
        publish(unreadable(std::string("the host's firewall cannot be read: ") + error.what()));
    } catch (...) {
        publish(unreadable("the host's firewall cannot be read"));
    }
    has_troubles = true;
    read_at = Clock::now();
}

void Guard::Shared::follow() {
    try {
        if (host == nullptr) {
            if (Clock::now() - read_at < kRereadInterval) {
                return;
            }
            read_at = Clock::now();
            host = make();
        }
        // Asked before it is read: a change in between is seen at the next look.
        const std::uint64_t now = host->generation();
        is_outdated = is_outdated || now != generation || has_written;
        if (now != generation || has_written ||
            (has_troubles && Clock::now() - read_at >= kRereadInterval)) {
            generation = now;
            has_written = false;
            is_keeping = true;
            read();
        }
        keep_rules();
    } catch (const std::exception& error) {
        has_troubles = true;  // It is read again, although the generation was taken note of.
        note_keeping({std::string("the host's firewall cannot be followed: ") + error.what()});
    } catch (...) {
        has_troubles = true;
        note_keeping({"the host's firewall cannot be followed"});
    }
}

/// That tables go on being unreadable is no news: what is published makes workers ask again.
void Guard::Shared::read() {
    read_at = Clock::now();
    Policy next = host->read();
    has_troubles = !next.troubles.empty();
    if (is_outdated || next.troubles != published) {
        published = next.troubles;
        publish(std::move(next));
        is_outdated = false;
    }
}

void Guard::Shared::keep_rules() {
    std::vector<Selector> selectors;
    {
        const std::lock_guard lock(mutex);
        if (!wanted || !is_keeping || Clock::now() < retry_at) {
            return;
        }
        selectors = *wanted;
    }
    const HostFirewall::Targets targets = host->targets();
    // Without a firewall there is nothing to open, and with one that cannot be listed nothing that
    // could be done safely.
    std::vector<std::string> troubles = targets.troubles;
    for (const HostFirewall::Target& target : targets.targets) {
        keep_rules_of(target, selectors, troubles);
    }
    note_keeping(troubles);
}

void Guard::Shared::keep_rules_of(
    const HostFirewall::Target& target,
    const std::vector<Selector>& selectors,
    std::vector<std::string>& troubles
) {
    if (plan_automatic(target.rules, selectors).empty()) {
        return;
    }
    std::vector<std::string> done;
    const auto planner = [&](const Ruleset& rules) -> tl::expected<Plan, std::string> {
        Plan plan = plan_automatic(rules, selectors);
        done.clear();
        for (const Edit& edit : plan) {
            done.push_back(edit_text(rules, edit));
        }
        return plan;
    };
    // Tables that are missing are not made: what filters nothing need not be opened.
    const Answer<void> changed = target.backend->change(planner, false);
    if (!changed) {
        if (changed.error().kind != Trouble::Kind::absent) {
            troubles.push_back(changed.error().text);
        }
        return;
    }
    has_written = has_written || !done.empty();
    for (std::string& text : done) {
        tell(false, std::string(target.backend->name()) + " " + std::move(text));
    }
}

/// Plans the next attempt. A failure that goes on is told once.
void Guard::Shared::note_keeping(const std::vector<std::string>& troubles) {
    is_keeping = !troubles.empty();
    if (troubles.empty()) {
        retry_after = {};
        told.clear();
        return;
    }
    retry_after = std::clamp<Clock::duration>(retry_after * 2, kRetryMin, kRetryMax);
    retry_at = Clock::now() + retry_after;
    std::string text;
    for (const std::string& trouble : troubles) {
        text += (text.empty() ? "" : "; ") + trouble;
    }
    if (text != told) {
        told = text;
        tell(true, std::move(text));
    }
}

void Guard::Shared::publish(Policy next) {
    const std::lock_guard lock(mutex);
    policy = std::make_shared<const Policy>(std::move(next));
    signal();
    woken.notify_all();  // The constructor waits for the first.
}

void Guard::Shared::tell(bool is_warning, std::string text) {
    const std::lock_guard lock(mutex);
    if (messages.size() < kMessagesMax) {
        messages.push_back({is_warning, std::move(text)});
    }
    signal();
}

void Guard::Shared::signal() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(fd, &one, sizeof one);
}

Guard::Guard(Factory make) : shared_(std::make_unique<Shared>(std::move(make))) {
    std::unique_lock lock(shared_->mutex);
    shared_->thread = std::thread([shared = shared_.get()] { shared->run(); });
    shared_->woken.wait(lock, [&] { return shared_->policy != nullptr; });
}

Guard::~Guard() {
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->stops = true;
    }
    shared_->woken.notify_all();
    shared_->thread.join();
}

int Guard::fd() const {
    return shared_->fd;
}

std::shared_ptr<const Policy> Guard::take() {
    std::uint64_t value = 0;
    // Before the policy: what is published in between makes the descriptor readable again.
    [[maybe_unused]] const ssize_t got = ::read(shared_->fd, &value, sizeof value);
    const std::lock_guard lock(shared_->mutex);
    return shared_->policy;
}

std::vector<Guard::Message> Guard::take_messages() {
    const std::lock_guard lock(shared_->mutex);
    return std::exchange(shared_->messages, {});
}

void Guard::keep(std::vector<Selector> wanted) {
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->wanted = std::move(wanted);
        shared_->wanted_changed = true;
    }
    shared_->woken.notify_all();
}

}  // namespace culvert::firewall
