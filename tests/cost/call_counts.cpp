// SPDX-License-Identifier: GPL-2.0-or-later
//
// Definitions that stand in for the C library's. See call_counts.hpp.
#include "tests/cost/call_counts.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

#include <dlfcn.h>
#include <pthread.h>

#include <rte_malloc.h>

namespace {

std::atomic<std::uint64_t> heap_calls{0};
std::atomic<std::uint64_t> lock_calls{0};
// The thread that runs static initialisers is the main one.
const pthread_t kMainThread = ::pthread_self();

void note(std::atomic<std::uint64_t>& calls) noexcept {
    if (::pthread_self() != kMainThread) {
        calls.fetch_add(1, std::memory_order_relaxed);
    }
}

/// Counts, and calls the C library's function of this name.
template <class Lock>
int take(std::atomic<int (*)(Lock*)>& cached, const char* name, Lock* lock) noexcept {
    note(lock_calls);
    int (*function)(Lock*) = cached.load(std::memory_order_relaxed);
    if (function == nullptr) {
        function = reinterpret_cast<int (*)(Lock*)>(::dlsym(RTLD_NEXT, name));
        cached.store(function, std::memory_order_relaxed);
    }
    return function(lock);
}

std::atomic<int (*)(pthread_mutex_t*)> mutex_lock{nullptr};
std::atomic<int (*)(pthread_mutex_t*)> mutex_trylock{nullptr};
std::atomic<int (*)(pthread_rwlock_t*)> rwlock_rdlock{nullptr};
std::atomic<int (*)(pthread_rwlock_t*)> rwlock_wrlock{nullptr};
std::atomic<int (*)(volatile pthread_spinlock_t*)> spin_lock{nullptr};

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the C library's names.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* old, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* old);

void* malloc(std::size_t bytes) noexcept {
    note(heap_calls);
    return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
    note(heap_calls);
    return __libc_calloc(count, bytes);
}
void* realloc(void* old, std::size_t bytes) noexcept {
    note(heap_calls);
    return __libc_realloc(old, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
    note(heap_calls);
    return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
    note(heap_calls);
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** made, std::size_t alignment, std::size_t bytes) noexcept {
    note(heap_calls);
    *made = __libc_memalign(alignment, bytes);
    return *made == nullptr ? ENOMEM : 0;
}
void free(void* old) noexcept {
    note(heap_calls);
    __libc_free(old);
}

int pthread_mutex_lock(pthread_mutex_t* lock) noexcept {
    return take(mutex_lock, "pthread_mutex_lock", lock);
}
int pthread_mutex_trylock(pthread_mutex_t* lock) noexcept {
    return take(mutex_trylock, "pthread_mutex_trylock", lock);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
    return take(rwlock_rdlock, "pthread_rwlock_rdlock", lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
    return take(rwlock_wrlock, "pthread_rwlock_wrlock", lock);
}
int pthread_spin_lock(volatile pthread_spinlock_t* lock) noexcept {
    return take(spin_lock, "pthread_spin_lock", lock);
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

namespace culvert::testing {

namespace {

template <class Function>
std::uintptr_t address(Function* function) {
    return reinterpret_cast<std::uintptr_t>(function);
}

}  // namespace

CallCounts call_counts() noexcept {
    return {heap_calls.load(), lock_calls.load()};
}

std::vector<std::uintptr_t> heap_functions() {
    return {
        address(&::malloc),
        address(&::calloc),
        address(&::realloc),
        address(&::free),
        address(&::aligned_alloc),
        address(&::posix_memalign),
        address(&::__libc_malloc),
        address(&::__libc_calloc),
        address(&::__libc_realloc),
        address(&::__libc_memalign),
        address(&::__libc_free),
        address(&::rte_malloc_socket),
        address(&::rte_zmalloc_socket),
        address(&::rte_realloc_socket),
        address(&::rte_free)};
}

std::vector<std::uintptr_t> lock_functions() {
    return {
        address(&::pthread_mutex_lock),
        address(&::pthread_mutex_trylock),
        address(&::pthread_rwlock_rdlock),
        address(&::pthread_rwlock_wrlock),
        address(&::pthread_spin_lock)};
}

}  // namespace culvert::testing
