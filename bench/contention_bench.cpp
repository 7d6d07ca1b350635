// SPDX-License-Identifier: GPL-2.0-or-later
//
// What workers share, while others are at it: look-ups in the flow cache beside a writer that
// inserts and erases (as the slow path does under a flood of new flows) and beside a second reader;
// the same with rte_hash's lock-free mode; the adoption of snapshots; the queue between two
// workers; a transmit queue of one's own beside one that is shared under a lock. Every figure is of
// one reader or worker, the main thread. With fewer CPUs than threads they take turns, and the
// median chunk (measure.hpp) is still one in which the main thread ran.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_pause.h>
#include <rte_rcu_qsbr.h>
#include <rte_spinlock.h>
#include <sched.h>
#include <unistd.h>

#include "bench/benches.hpp"
#include "bench/environment.hpp"
#include "bench/flow_set.hpp"
#include "bench/measure.hpp"
#include "dataplane/spread.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowAction;
using dataplane::FlowCache;
using dataplane::FlowEntry;
using dataplane::FlowKey;
using dataplane::kBurstMax;
using dataplane::SpreadQueue;

constexpr std::size_t kFlows = 100'000;
constexpr std::size_t kTableFlows = 262'144;  // The daemon's default.
constexpr std::uint64_t kChangesPerSecond = 400'000;
constexpr std::size_t kChangesAtOnce = 32;
constexpr std::uint32_t kThreadsMax = 4;

struct FreeMemory {
    void operator()(rte_rcu_qsbr* memory) const noexcept { std::free(memory); }
};

/// Grace periods of the readers of one bench.
std::unique_ptr<rte_rcu_qsbr, FreeMemory> make_quiescence(std::uint32_t readers) {
    const std::size_t bytes = rte_rcu_qsbr_get_memsize(kThreadsMax);
    std::unique_ptr<rte_rcu_qsbr, FreeMemory> made(
        static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (bytes + 63) & ~std::size_t{63}))
    );
    rte_rcu_qsbr_init(made.get(), kThreadsMax);
    for (std::uint32_t reader = 0; reader < readers; ++reader) {
        rte_rcu_qsbr_thread_register(made.get(), reader);
        rte_rcu_qsbr_thread_online(made.get(), reader);
    }
    return made;
}

/// A thread that calls `round` until this goes.
class Beside {
public:
    explicit Beside(std::function<void()> round)
        : thread_([this, home = sched_getcpu(), round = std::move(round)] {
              leave(home);
              while (!stop_.load(std::memory_order_relaxed)) {
                  round();
                  rounds_.fetch_add(1, std::memory_order_relaxed);
              }
          }) {
        while (rounds() == 0) {
            std::this_thread::yield();
        }
    }
    ~Beside() {
        stop_.store(true);
        thread_.join();
    }
    Beside(const Beside&) = delete;
    Beside& operator=(const Beside&) = delete;

    [[nodiscard]] std::uint64_t rounds() const { return rounds_.load(std::memory_order_relaxed); }

private:
    /// Goes to any CPU but the main thread's, where the EAL has put it. One CPU alone is shared.
    static void leave(int home) {
        cpu_set_t others;
        CPU_ZERO(&others);
        const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        for (int cpu = 0; cpu < cpus; ++cpu) {
            if (cpu != home) {
                CPU_SET(cpu, &others);
            }
        }
        static_cast<void>(pthread_setaffinity_np(pthread_self(), sizeof others, &others));
    }

    alignas(64) std::atomic<bool> stop_{false};
    alignas(64) std::atomic<std::uint64_t> rounds_{0};
    std::thread thread_;
};

/// Lets kChangesPerSecond through, in bursts.
class Pace {
public:
    void wait() {
        next_ += rte_get_tsc_hz() * kChangesAtOnce / kChangesPerSecond;
        while (rte_rdtsc() < next_) {
            rte_pause();
        }
        next_ = std::max(next_, rte_rdtsc() - rte_get_tsc_hz() / 1000);  // Never catches up more.
    }

private:
    std::uint64_t next_ = rte_rdtsc();
};

/// Keys that come and go: the absent ones of the set, a few thousand at a time.
class ChurningKeys {
public:
    explicit ChurningKeys(std::span<const FlowKey> keys) : keys_(keys) {}
    [[nodiscard]] const FlowKey& next() { return keys_[at_++ % keys_.size()]; }
    [[nodiscard]] const FlowKey& oldest() { return keys_[gone_++ % keys_.size()]; }
    [[nodiscard]] bool enough() const { return at_ - gone_ >= kPresent; }

private:
    static constexpr std::size_t kPresent = 8192;
    std::span<const FlowKey> keys_;
    std::size_t at_ = 0;
    std::size_t gone_ = 0;
};

/// The flow cache as the control thread writes to it and workers read it.
class OurTable {
public:
    explicit OurTable(rte_rcu_qsbr* quiescence) : quiescence_(quiescence), cache_(kTableFlows) {
        for (const FlowKey& key : flow_set(kFlows).present()) {
            cache_.insert(key, {}, 1, 0);
        }
    }
    void insert(const FlowKey& key) { static_cast<void>(cache_.insert(key, {}, 1, 0)); }
    void erase(const FlowKey& key) { static_cast<void>(cache_.erase(key)); }
    void reclaim() {
        if (waits_ && rte_rcu_qsbr_check(quiescence_, token_, false) == 1) {
            cache_.reclaim(epoch_);
            waits_ = false;
        }
        if (!waits_) {
            epoch_ = cache_.next_epoch();
            token_ = rte_rcu_qsbr_start(quiescence_);
            waits_ = true;
        }
    }
    [[nodiscard]] std::size_t find(std::span<const FlowKey, kBurstMax> keys) const {
        std::array<std::uint32_t, kBurstMax> hashes;
        std::array<const FlowEntry*, kBurstMax> entries;
        for (std::size_t i = 0; i < kBurstMax; ++i) {
            hashes[i] = dataplane::hash(keys[i]);
        }
        cache_.find_burst(keys, hashes, entries);
        std::size_t found = 0;
        for (const FlowEntry* entry : entries) {
            found += entry != nullptr && entry->generation == 1 ? 1U : 0U;
        }
        return found;
    }

private:
    rte_rcu_qsbr* quiescence_;
    FlowCache cache_;
    std::uint64_t epoch_ = 0;
    std::uint64_t token_ = 0;
    bool waits_ = false;
};

/// rte_hash in its lock-free mode, with grace periods of its own.
class RivalTable {
public:
    explicit RivalTable(rte_rcu_qsbr* quiescence) {
        rte_hash_parameters parameters{};
        parameters.name = "contended";
        parameters.entries = kTableFlows;
        parameters.key_len = sizeof(FlowKey);
        parameters.hash_func = rte_hash_crc;
        parameters.socket_id = Environment::get().large_page_socket();
        parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF;
        table_.reset(::rte_hash_create(&parameters));
        rte_hash_rcu_config reclamation{};
        reclamation.v = quiescence;
        reclamation.mode = RTE_HASH_QSBR_MODE_DQ;
        if (!table_ || ::rte_hash_rcu_qsbr_add(table_.get(), &reclamation) != 0) {
            throw std::runtime_error("no memory for rte_hash with grace periods.");
        }
        for (const FlowKey& key : flow_set(kFlows).present()) {
            insert(key);
        }
    }
    void insert(const FlowKey& key) {
        static_cast<void>(::rte_hash_add_key_data(table_.get(), &key, nullptr));
    }
    void erase(const FlowKey& key) { static_cast<void>(::rte_hash_del_key(table_.get(), &key)); }
    void reclaim() {}
    [[nodiscard]] std::size_t find(std::span<const FlowKey, kBurstMax> keys) const {
        std::array<const void*, kBurstMax> pointers;
        std::array<std::int32_t, kBurstMax> positions;
        for (std::size_t i = 0; i < kBurstMax; ++i) {
            pointers[i] = &keys[i];
        }
        ::rte_hash_lookup_bulk(table_.get(), pointers.data(), kBurstMax, positions.data());
        std::size_t found = 0;
        for (const std::int32_t position : positions) {
            found += position >= 0 ? 1U : 0U;
        }
        return found;
    }

private:
    RteHash table_;
};

/// A table and its readers' grace periods, one for all cases: whether the kernel has large pages
/// for a table differs from table to table, and matters more than what is compared here.
template <class Table>
struct Shared {
    static constexpr std::uint32_t kReaders = 2;
    std::unique_ptr<rte_rcu_qsbr, FreeMemory> quiescence = make_quiescence(kReaders);
    Table table{quiescence.get()};
    ChurningKeys churning{flow_set(kFlows).absent()};

    void set_online(std::uint32_t reader, bool online) {
        if (online) {
            rte_rcu_qsbr_thread_online(quiescence.get(), reader);
        } else {
            rte_rcu_qsbr_thread_offline(quiescence.get(), reader);
        }
    }
    std::size_t read(KeyRing& ring, std::uint32_t reader) {
        const std::size_t found = table.find(ring.next());
        rte_rcu_qsbr_quiescent(quiescence.get(), reader);
        return found;
    }
    void change() {
        for (std::size_t i = 0; i < kChangesAtOnce; ++i) {
            if (churning.enough() && i % 2 == 0) {
                table.erase(churning.oldest());
            } else {
                table.insert(churning.next());
            }
        }
        table.reclaim();
    }
};

template <class Table>
void measure_readers(
    benchmark::State& state, Shared<Table>& shared, unsigned readers, bool writer
) {
    KeyRing second(flow_set(kFlows).present());
    Pace pace;
    for (std::uint32_t reader = 0; reader < readers; ++reader) {
        shared.set_online(reader, true);
    }
    {
        std::vector<std::unique_ptr<Beside>> others;
        if (readers > 1) {
            others.push_back(std::make_unique<Beside>([&] {
                benchmark::DoNotOptimize(shared.read(second, 1));
            }));
        }
        if (writer) {
            others.push_back(std::make_unique<Beside>([&] {
                shared.change();
                pace.wait();
            }));
        }
        KeyRing ring(flow_set(kFlows).present());
        std::size_t lost = 0;
        measure(state, kBurstMax, [&] { lost += kBurstMax - shared.read(ring, 0); });
        static_cast<void>(require(state, lost == 0, "a key that nobody touched was not found"));
    }
    // Without readers every grace period is over: rte_hash leaks its queue when one is not.
    for (std::uint32_t reader = 0; reader < readers; ++reader) {
        shared.set_online(reader, false);
    }
}

/// The table, made when the first case wants it.
template <class Table>
std::function<Shared<Table>&()> one_for_all() {
    return [made = std::make_shared<std::unique_ptr<Shared<Table>>>()]() -> Shared<Table>& {
        if (!*made) {
            *made = std::make_unique<Shared<Table>>();
            for (std::uint32_t reader = 0; reader < Shared<Table>::kReaders; ++reader) {
                (*made)->set_online(reader, false);
            }
        }
        return **made;
    };
}

void add_readers(Suite& suite) {
    struct Case {
        const char* name;
        unsigned readers;
        bool writer;
    };
    const auto ours_table = one_for_all<OurTable>();
    const auto rival_table = one_for_all<RivalTable>();
    for (const Case& one :
         {Case{"alone", 1, false}, Case{"writer", 1, true}, Case{"reader_writer", 2, true}}) {
        const std::string ours = std::string("contention/flow_cache/") + one.name;
        suite.add(ours, [=](benchmark::State& state) {
            measure_readers(state, ours_table(), one.readers, one.writer);
        });
        suite.add_beside(
            ours,
            std::string("rival/contention/rte_hash_lf/") + one.name,
            [=](benchmark::State& state) {
                measure_readers(state, rival_table(), one.readers, one.writer);
            }
        );
    }
}

/// A round of a worker that has nothing to do but to look for a new snapshot.
void measure_adoption(benchmark::State& state, bool publisher) {
    struct Published {
        std::uint64_t version = 0;
    };
    const auto quiescence = make_quiescence(1);
    const std::array<Published, 2> versions{{{1}, {2}}};
    alignas(64) std::atomic<const Published*> current{versions.data()};
    std::unique_ptr<Beside> other;
    Pace pace;
    if (publisher) {
        other = std::make_unique<Beside>([&, turn = std::size_t{0}]() mutable {
            current.exchange(&versions[++turn % 2], std::memory_order_acq_rel);
            pace.wait();
        });
    }
    std::uint64_t sum = 0;
    measure(state, 1, [&] {
        rte_rcu_qsbr_quiescent(quiescence.get(), 0);
        sum += current.load(std::memory_order_acquire)->version;
    });
    benchmark::DoNotOptimize(sum);
    rte_rcu_qsbr_thread_offline(quiescence.get(), 0);
}

/// Hands packets to a worker that takes them at once, and waits when its queue is full: what limits
/// is the slower of the two ends.
void measure_spread(benchmark::State& state) {
    SpreadQueue queue(2);
    std::vector<rte_mbuf> packets(kBurstMax);
    std::array<rte_mbuf*, kBurstMax> burst{};
    for (std::size_t i = 0; i < kBurstMax; ++i) {
        burst[i] = &packets[i];
    }
    {
        std::array<rte_mbuf*, kBurstMax> taken{};
        const Beside consumer([&] { benchmark::DoNotOptimize(queue.pop(taken)); });
        measure(state, kBurstMax, [&] {
            std::size_t pushed = 0;
            while (pushed < kBurstMax) {
                pushed += queue.push(0, std::span(burst).subspan(pushed));
            }
        });
    }
    std::array<rte_mbuf*, kBurstMax> rest{};
    while (queue.pop(rest) != 0) {
    }
}

/// A transmit queue that costs nothing but what sharing costs: a ring of descriptors.
struct alignas(64) SendQueue {
    rte_spinlock_t lock = RTE_SPINLOCK_INITIALIZER;
    std::size_t at = 0;
    std::array<rte_mbuf*, 1024> ring{};

    void send(std::span<rte_mbuf* const> burst) {
        for (rte_mbuf* packet : burst) {
            ring[at++ % ring.size()] = packet;
        }
    }
};

void measure_transmit(benchmark::State& state, bool shared) {
    const auto queues = std::make_unique<std::array<SendQueue, 2>>();
    const std::array<rte_mbuf*, kBurstMax> burst{};
    const auto send = [&](SendQueue& queue) {
        if (!shared) {
            queue.send(burst);
            return;
        }
        rte_spinlock_lock(&queue.lock);
        queue.send(burst);
        rte_spinlock_unlock(&queue.lock);
    };
    const Beside other([&] { send((*queues)[shared ? 0 : 1]); });
    measure(state, kBurstMax, [&] { send((*queues)[0]); });
}

}  // namespace

void add_contention_benches(Suite& suite) {
    add_readers(suite);
    suite.add("contention/snapshot/publisher", [](benchmark::State& state) {
        measure_adoption(state, true);
    });
    suite.add_beside(
        "contention/snapshot/publisher",
        "floor/contention/snapshot/alone",
        [](benchmark::State& state) { measure_adoption(state, false); }
    );
    suite.add("contention/spread_queue", measure_spread);
    suite.add("contention/transmit/shared_queue", [](benchmark::State& state) {
        measure_transmit(state, true);
    });
    suite.add_beside(
        "contention/transmit/shared_queue",
        "floor/contention/transmit/own_queue",
        [](benchmark::State& state) { measure_transmit(state, false); }
    );
}

}  // namespace culvert::bench
