// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tells whether a table of iptables has changed without reading what is in it: the kernel's copy
// of it, counters left out, becomes one number. libiptc would build lists of every rule for that.
// One thread.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>

#include <sys/socket.h>
#include <unistd.h>

#include "firewall/iptc.hpp"
#include "firewall/legacy_table.hpp"

namespace culvert::firewall {

namespace {

// Between the two questions another program may change the table's size.
constexpr unsigned kSnapshotTries = 64;

class Fingerprint {
public:
    void add(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            std::uint64_t word = 0;
            const std::size_t count = std::min(bytes.size(), sizeof word);
            std::memcpy(&word, bytes.data(), count);
            state_ = std::rotl(state_ ^ word, 29) * kFactor;
            bytes = bytes.subspan(count);
        }
    }
    [[nodiscard]] std::uint64_t value() const { return state_ ^ (state_ >> 32U); }

private:
    static constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;  // 2^64 by the golden ratio.
    std::uint64_t state_ = kFactor;
};

class Socket {
public:
    explicit Socket(int family) : fd_(socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)) {}
    ~Socket() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    [[nodiscard]] int fd() const { return fd_; }

private:
    int fd_;
};

LegacyError error_of(int error) {
    return {error, std::strerror(error)};
}

template <class Iptc>
std::uint64_t fingerprint_of(std::span<const std::byte> table) {
    using Entry = typename Iptc::Entry;
    constexpr std::size_t kCounters = offsetof(Entry, counters);
    constexpr std::size_t kBehindCounters = kCounters + sizeof(xt_counters);
    Fingerprint fingerprint;
    while (table.size() >= sizeof(Entry)) {
        Entry entry;
        std::memcpy(&entry, table.data(), sizeof entry);
        const std::size_t size = entry.next_offset;
        if (size < sizeof(Entry) || size > table.size()) {
            break;
        }
        fingerprint.add(table.first(kCounters));
        fingerprint.add(table.first(size).subspan(kBehindCounters));
        table = table.subspan(size);
    }
    fingerprint.add(table);
    return fingerprint.value();
}

// The table's bytes; EAGAIN when its size changed between the questions.
template <class Iptc>
tl::expected<std::uint64_t, LegacyError> ask(int fd, const char* name) {
    typename Iptc::Info info{};
    std::strncpy(info.name, name, sizeof info.name - 1);
    socklen_t size = sizeof info;
    if (getsockopt(fd, Iptc::kSocketLevel, Iptc::kGetInfo, &info, &size) != 0) {
        return tl::unexpected(error_of(errno));
    }
    using Entries = typename Iptc::Entries;
    std::vector<std::byte> bytes(sizeof(Entries) + info.size);
    Entries request{};
    std::strncpy(request.name, name, sizeof request.name - 1);
    request.size = info.size;
    std::memcpy(bytes.data(), &request, sizeof request);
    size = static_cast<socklen_t>(bytes.size());
    if (getsockopt(fd, Iptc::kSocketLevel, Iptc::kGetEntries, bytes.data(), &size) != 0) {
        return tl::unexpected(error_of(errno));
    }
    return fingerprint_of<Iptc>(std::span<const std::byte>(bytes).subspan(sizeof(Entries)));
}

template <class Iptc>
tl::expected<std::uint64_t, LegacyError> fingerprint(const char* name) {
    const Socket socket(Iptc::kSocketFamily);
    if (socket.fd() < 0) {
        return tl::unexpected(error_of(errno));
    }
    auto answer = ask<Iptc>(socket.fd(), name);
    for (unsigned i = 1; i < kSnapshotTries && !answer && answer.error().error == EAGAIN; ++i) {
        answer = ask<Iptc>(socket.fd(), name);
    }
    return answer;
}

}  // namespace

tl::expected<std::uint64_t, LegacyError>
legacy_fingerprint(Family family, const LegacyTableName& name) {
    return family == Family::ipv4 ? fingerprint<Iptc4>(name.name) : fingerprint<Iptc6>(name.name);
}

}  // namespace culvert::firewall
