// SPDX-License-Identifier: GPL-2.0-or-later
//
// The loop of one worker thread.

#include "dataplane/worker_loop.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include <rte_lcore.h>
#include <rte_pause.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dataplane/clock.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/pipeline.hpp"
#include "dataplane/train.hpp"

namespace culvert::dataplane {

namespace {

constexpr unsigned kIdleRoundsBeforeSleep = 32;
/// With packets of polled devices at hand and none of the kernel's: every so many rounds.
constexpr unsigned kRoundsBetweenLooks = 16;
constexpr std::uint64_t kExchangesPerSecond = 50000;
constexpr std::uint32_t kShortestSleepUs = 10;
constexpr std::uint32_t kLongestSleepUs =
    100000;  // Without polled ports: a packet or wake() ends it.
/// Packets that wait for a key are looked at as often.
constexpr std::uint32_t kLookAtWaitingUs = 10000;
constexpr std::size_t kEventsMax = 64;
constexpr std::uint32_t kWakeEvent = 0xffffffff;
// All that may wait: held packets leave before any that arrives later.
constexpr std::size_t kDecisionsPerRound = kReturnQueueSlots;

int wait_events(int epoll_fd, epoll_event* events, std::uint32_t timeout_us) noexcept {
    const timespec timeout{
        .tv_sec = static_cast<time_t>(timeout_us / 1000000U),
        .tv_nsec = static_cast<long>(timeout_us % 1000000U) * 1000L};
    const long got = syscall(SYS_epoll_pwait2, epoll_fd, events, kEventsMax, &timeout, nullptr, 0);
    if (got < 0 && errno == ENOSYS) {
        // Kernels before 5.11 count in milliseconds.
        return epoll_wait(
            epoll_fd, events, kEventsMax, static_cast<int>((timeout_us + 999U) / 1000U)
        );
    }
    return static_cast<int>(got);
}

}  // namespace

WorkerLoop::WorkerLoop(WorkerShared& shared, unsigned index)
    : shared_(shared), counters_(std::make_unique<WorkerCounters>()),
      context_(std::make_unique<Context>()),
      exchange_cycles_(rte_get_tsc_hz() / kExchangesPerSecond) {
    context_->worker = index;
    context_->flows = shared.flows;
    context_->pools = shared.pools;
    context_->counters = counters_.get();
    context_->upcalls = &upcalls;
    // Workers of one tunnel start apart, so that their identifications do not meet for a long time.
    constexpr std::uint32_t kShare = 65536U / kWorkersMax;
    context_->next_ip_id = static_cast<std::uint16_t>(index * kShare);
    // Of IPv6 all bits count, of IPv4 the lower 16.
    context_->next_fragment_id = index * (kShare << 16U | kShare);
    context_->tx.resize(kPortsMax);
    context_->tx_ports.reserve(kPortsMax);
    context_->targets.reserve(kPortsMax);
    for (const auto& queue : shared.spread) {
        context_->spread.push_back(queue.get());
    }
    context_->spread_out.resize(shared.spread.size());
    context_->reassembler =
        Reassembler::create(rte_get_tsc_hz(), SOCKET_ID_ANY, shared.pools.packets);
}

WorkerLoop::~WorkerLoop() {
    join();
    Upcall upcall;
    while (upcalls.pop(upcall)) {
        // The packet of a miss is only lent.
        if (upcall.kind != Upcall::Kind::miss) {
            rte_pktmbuf_free(upcall.packet);
        }
    }
    Decision decision;
    while (decisions.pop(decision)) {
        rte_pktmbuf_free(decision.packet);
    }
    for (std::uint16_t slot = 0; slot < kPendingFlowsMax; ++slot) {
        context_->pending.for_each(slot, [](const HeldPacket& held) {
            rte_pktmbuf_free(held.packet);
        });
    }
    if (epoll_fd_ >= 0) {
        close(epoll_fd_);
    }
    if (wake_fd_ >= 0) {
        close(wake_fd_);
    }
}

Result<void> WorkerLoop::start() {
    epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = kWakeEvent;
    if (epoll_fd_ < 0 || wake_fd_ < 0 ||
        epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0) {
        return tl::unexpected(
            std::string("worker: cannot create its event descriptors: ") + std::strerror(errno)
        );
    }
    thread_ = std::thread([this] { run(); });
    return {};
}

void WorkerLoop::join() {
    if (thread_.joinable()) {
        wake();
        thread_.join();
    }
}

void WorkerLoop::wake() noexcept {
    // Pairs with idle(): either the worker sees what was published, or this sees that it sleeps.
    // Exchanges alone write to `sleeping_`, so that each one acquires all before it;
    // ThreadSanitizer does not know fences.
    if (sleeping_.exchange(false, std::memory_order_acq_rel)) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
    }
}

void WorkerLoop::run() noexcept {
    const std::string name = "culvert-w" + std::to_string(context_->worker);
    pthread_setname_np(pthread_self(), name.c_str());
    if (!shared_.options.cpus.empty()) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(shared_.options.cpus[context_->worker], &set);
        pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
    // By default the kernel may end a sleep 50 us late. Nothing is gained by it: nobody else wakes
    // this CPU at that moment.
    prctl(PR_SET_TIMERSLACK, 1UL);
    rte_thread_register();  // For the buffer pools' per-thread caches.
    rte_rcu_qsbr_thread_register(shared_.qsbr, context_->worker);
    rte_rcu_qsbr_thread_online(shared_.qsbr, context_->worker);
    LoopCounters& loop = counters_->loop;
    std::uint64_t before = rte_rdtsc();
    while (!shared_.stop.load(std::memory_order_relaxed)) {
        rte_rcu_qsbr_quiescent(shared_.qsbr, context_->worker);
        std::size_t work = 0;
        const std::uint64_t adopted = version_;
        if (adopt()) {
            // What was held for a snapshot leaves before anything that is forwarded by it.
            context_->clock.begin_round(loop);
            const bool exchanges = version_ != adopted || exchanges_now(before);
            if (exchanges) {
                work = take_decisions();
            }
            work += process_waiting(*context_, version_ != adopted);
            work += take_spread();
            received_ = poll_ports();
            work += received_;
            flush(*context_);
            wake_spread();
            if (exchanges || received_ < kBurstMax) {
                signal_upcalls();
            }
        }
        const std::uint64_t now = rte_rdtsc();
        (work != 0 ? loop.busy_cycles : loop.idle_cycles).add(now - before);
        before = now;
        const std::uint32_t now_s = coarse_clock_s(now);
        if (now_s != context_->now_s) {
            context_->now_s = now_s;
            expire_fragments(now);
        }
        if (work != 0) {
            idle_rounds_ = 0;
        } else {
            idle();
        }
    }
    rte_rcu_qsbr_thread_offline(shared_.qsbr, context_->worker);
    rte_rcu_qsbr_thread_unregister(shared_.qsbr, context_->worker);
    rte_thread_unregister();
}

/// Whether this round looks for answers of the slow path. A worker that has its hands full does so,
/// and signals its upcalls, now and then only: what passes between two CPUs costs less by the
/// dozen.
bool WorkerLoop::exchanges_now(std::uint64_t now_cycles) noexcept {
    if (received_ < kBurstMax || now_cycles - exchanged_at_ >= exchange_cycles_) {
        exchanged_at_ = now_cycles;
        return true;
    }
    return false;
}

void WorkerLoop::expire_fragments(std::uint64_t now_cycles) noexcept {
    if (!context_->reassembler) {
        return;
    }
    const std::uint32_t expired = context_->reassembler->expire(now_cycles);
    if (expired != 0) {
        // Of which port they came is not known any more.
        counters_->drop(DropReason::outer_fragment, kPortNone, expired);
    }
}

bool WorkerLoop::adopt() noexcept {
    const Snapshot* newest = shared_.snapshot.load(std::memory_order_acquire);
    if (newest == nullptr) {
        return false;
    }
    // By version: while this worker slept, a later snapshot may have got the address of an earlier
    // one.
    if (newest->version != version_) {
        version_ = newest->version;
        context_->snapshot = newest;
        watch_ports();
    }
    return true;
}

void WorkerLoop::watch_ports() {
    for (const Polled& queue : watched_) {
        // By number, as the device may be gone. Its descriptor has left the set then, and this
        // fails.
        epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, queue.fd, nullptr);
    }
    watched_.clear();
    polled_.clear();
    for (const RxQueue& rx : context_->snapshot->rx[context_->worker]) {
        const Polled queue{rx.device.get(), rx.port, rx.queue, rx.device->wake_fd(rx.queue)};
        if (queue.fd < 0) {
            polled_.push_back(queue);
            continue;
        }
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u32 = static_cast<std::uint32_t>(watched_.size());
        watched_.push_back(queue);
        epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, queue.fd, &event);
    }
}

std::size_t WorkerLoop::take_decisions() noexcept {
    std::size_t taken = 0;
    for (const Decision* next = decisions.front();
         next != nullptr && taken < kDecisionsPerRound && next->version <= version_;
         next = decisions.front()) {
        apply_decision(*context_, *next);
        decisions.pop();
        ++taken;
    }
    return taken;
}

std::size_t WorkerLoop::poll_queue(const Polled& queue) noexcept {
    std::array<rte_mbuf*, kBurstMax> burst;
    context_->clock.mark();
    const std::size_t received = queue.device->receive(queue.queue, burst);
    if (received != 0) {
        context_->clock.lap(Stage::receive);
        context_->clock.count(received);
        process_received(*context_, queue.port, std::span(burst).first(received));
    }
    return received;
}

std::size_t WorkerLoop::take_spread() noexcept {
    if (shared_.spread.empty()) {
        return 0;
    }
    std::array<rte_mbuf*, kBurstMax> burst;
    const std::size_t taken = shared_.spread[context_->worker]->pop(burst);
    if (taken != 0) {
        context_->clock.mark();
        context_->clock.count(taken);
        process_spread(*context_, std::span(burst).first(taken));
    }
    return taken;
}

void WorkerLoop::wake_spread() noexcept {
    while (context_->spread_wake != 0) {
        const int worker = std::countr_zero(context_->spread_wake);
        context_->spread_wake &= context_->spread_wake - 1;
        shared_.loops[static_cast<std::size_t>(worker)]->wake();
    }
}

std::size_t WorkerLoop::poll_ports() noexcept {
    std::size_t received = 0;
    for (const Polled& queue : polled_) {
        received += poll_queue(queue);
    }
    // Whether the kernel has packets is a system call, which costs as much as a packet or more.
    if (watched_.empty() ||
        (received != 0 && watched_quiet_ && ++rounds_unwatched_ < kRoundsBetweenLooks)) {
        return received;
    }
    rounds_unwatched_ = 0;
    std::array<epoll_event, kEventsMax> events;
    const int ready = wait_events(epoll_fd_, events.data(), 0);
    watched_quiet_ = true;
    for (int i = 0; i < ready; ++i) {
        const std::uint32_t index = events[static_cast<std::size_t>(i)].data.u32;
        if (index < watched_.size()) {
            watched_quiet_ = false;
            received += poll_queue(watched_[index]);
        }
    }
    return received;
}

void WorkerLoop::signal_upcalls() noexcept {
    if (!context_->upcall_sent) {
        return;
    }
    context_->upcall_sent = false;
    // One write until the slow path arms the signal again, however many packets it is about.
    if (!shared_.upcall_signalled.exchange(true, std::memory_order_seq_cst)) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t written = write(shared_.upcall_wake_fd, &one, sizeof one);
    }
}

void WorkerLoop::idle() noexcept {
    const WorkerOptions& options = shared_.options;
    if (!options.idle_sleep || ++idle_rounds_ < kIdleRoundsBeforeSleep) {
        rte_pause();
        return;
    }
    std::uint32_t sleep_us = kLongestSleepUs;
    if (!polled_.empty()) {
        const unsigned doublings = std::min(idle_rounds_ - kIdleRoundsBeforeSleep, 16U);
        sleep_us = std::min(options.idle_sleep_us, kShortestSleepUs << doublings);
    }
    if (!context_->waiting.empty()) {
        sleep_us = std::min(sleep_us, kLookAtWaitingUs);
    }
    static_cast<void>(sleeping_.exchange(true, std::memory_order_acq_rel));
    const Snapshot* newest = shared_.snapshot.load(std::memory_order_acquire);
    const bool nothing_new =
        (newest == nullptr ? 0 : newest->version) == version_ && decisions.empty() &&
        (shared_.spread.empty() || shared_.spread[context_->worker]->empty()) &&
        !shared_.stop.load(std::memory_order_relaxed);
    if (nothing_new) {
        counters_->loop.sleeps.add(1);
        rte_rcu_qsbr_thread_offline(shared_.qsbr, context_->worker);
        std::array<epoll_event, kEventsMax> events;
        const int ready = wait_events(epoll_fd_, events.data(), sleep_us);
        rte_rcu_qsbr_thread_online(shared_.qsbr, context_->worker);
        for (int i = 0; i < ready; ++i) {
            if (events[static_cast<std::size_t>(i)].data.u32 == kWakeEvent) {
                std::uint64_t value = 0;
                [[maybe_unused]] const ssize_t got = read(wake_fd_, &value, sizeof value);
            }
        }
    }
    static_cast<void>(sleeping_.exchange(false, std::memory_order_acq_rel));
}

}  // namespace culvert::dataplane
