// SPDX-License-Identifier: GPL-2.0-or-later
//
// The instruments themselves: a thread that does per "packet" what a worker must not is found out,
// and one that does nothing of it is not.
#include "tests/cost/tracer.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cost/call_counts.hpp"

namespace culvert::testing {
namespace {

/// Does `work` over and over, and counts.
class Busy {
public:
    explicit Busy(std::function<void()> work)
        : work_(std::move(work)), thread_([this] {
              pthread_setname_np(pthread_self(), "busy");
              while (!stop_.load(std::memory_order_relaxed)) {
                  work_();
                  counter_.add(1);
              }
          }) {
        while (counter_.read() == 0) {
            std::this_thread::yield();
        }
    }
    ~Busy() {
        stop_.store(true);
        thread_.join();
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

    [[nodiscard]] Trace step(std::uint64_t packets) const {
        return testing::step(find_thread("busy"), counter_, packets);
    }
    [[nodiscard]] Trace watch(std::uint64_t packets) const {
        return watch_system_calls(find_thread("busy"), counter_, packets);
    }

private:
    std::function<void()> work_;
    dataplane::Counter counter_;
    std::atomic<bool> stop_{false};
    std::thread thread_;  ///< Last: it uses the others.
};

constexpr std::uint64_t kPackets = 20;
// Looking begins and ends in the middle of one.
constexpr std::uint64_t kWhole = kPackets - 1;

TEST(CostTracer, SeesNothingWhereThereIsNothing) {
    const Busy busy([] {});
    const CallCounts before = call_counts();
    const Trace watched = busy.watch(1000);
    const Trace stepped = busy.step(kPackets);
    EXPECT_GE(watched.packets, 1000U);
    EXPECT_GE(stepped.packets, kPackets);
    EXPECT_GT(stepped.instructions, kPackets);
    for (const Trace& trace : {watched, stepped}) {
        EXPECT_EQ(trace.error, 0);
        EXPECT_EQ(trace.acts, decltype(trace.acts){}) << trace.describe();
    }
    EXPECT_EQ(call_counts().heap, before.heap);
    EXPECT_EQ(call_counts().locks, before.locks);
}

TEST(CostTracer, SeesSystemCalls) {
    const Busy busy([] { syscall(SYS_getppid); });
    const Trace watched = busy.watch(kPackets);
    EXPECT_GE(watched.count(Act::system_call), kWhole) << watched.describe();
    const Trace stepped = busy.step(kPackets);
    EXPECT_GE(stepped.count(Act::system_call), kWhole) << stepped.describe();
    EXPECT_NE(stepped.describe().find("x system call in syscall, libc.so"), std::string::npos)
        << stepped.describe();
}

TEST(CostTracer, SeesLockedInstructions) {
    std::atomic<unsigned> value{0};
    const Busy adds([&] { value.fetch_add(1, std::memory_order_relaxed); });
    EXPECT_GE(adds.step(kPackets).count(Act::locked_instruction), kWhole);
}

TEST(CostTracer, SeesExchangesWithMemory) {
    std::atomic<unsigned> value{0};
    const Busy busy([&] { value.exchange(1, std::memory_order_relaxed); });
    EXPECT_GE(busy.step(kPackets).count(Act::locked_instruction), kWhole);
}

TEST(CostTracer, SeesTheHeap) {
    const CallCounts before = call_counts();
    const Busy busy([] {
        void* volatile made = ::operator new(1);
        ::operator delete(made);
    });
    const Trace stepped = busy.step(kPackets);
    EXPECT_GE(stepped.count(Act::heap_call), 2 * kWhole) << stepped.describe();
    EXPECT_GE(call_counts().heap - before.heap, 2 * kWhole);
}

TEST(CostTracer, SeesLocks) {
    const CallCounts before = call_counts();
    std::mutex mutex;
    const Busy busy([&] { const std::scoped_lock lock(mutex); });
    const Trace stepped = busy.step(kPackets);
    EXPECT_GE(stepped.count(Act::lock_call), kWhole) << stepped.describe();
    EXPECT_GE(call_counts().locks - before.locks, kWhole);
}

}  // namespace
}  // namespace culvert::testing
