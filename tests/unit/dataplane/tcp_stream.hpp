// SPDX-License-Identifier: GPL-2.0-or-later
//
// A TCP connection between the kernels of two network namespaces that carries a known stream of
// bytes, driven step by step from the test's own thread. One thread.
#pragma once

#include <cerrno>
#include <cstdint>
#include <vector>

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <gtest/gtest.h>

#include "tests/unit/dataplane/private_netns.hpp"

namespace culvert::testing {

class TcpStream {
public:
    /// Sends `bytes` from a socket in `client` to one that listens on `to` in `server`.
    TcpStream(
        const PrivateNetns& client,
        const PrivateNetns& server,
        const sockaddr_in& to,
        std::size_t bytes
    )
        : bytes_(bytes) {
        {
            const PrivateNetns::Scope scope(server);
            listener_ = open();
            require(
                ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
                    ::listen(listener_.get(), 1) == 0,
                "listen"
            );
        }
        const PrivateNetns::Scope scope(client);
        client_ = open();
        require(
            ::connect(client_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ||
                errno == EINPROGRESS,
            "connect"
        );
    }

    /// Writes and reads what the sockets take now.
    void step() {
        if (!server_.is_open()) {
            server_ = Descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
        }
        std::vector<std::uint8_t> data(std::min<std::size_t>(bytes_ - sent_, 1U << 18U));
        for (std::size_t i = 0; i < data.size(); ++i) {
            data[i] = byte_at(sent_ + i);
        }
        const ssize_t sent = data.empty() ? 0 : ::send(client_.get(), data.data(), data.size(), 0);
        sent_ += sent > 0 ? static_cast<std::size_t>(sent) : 0;
        data.resize(1U << 18U);
        const ssize_t got =
            server_.is_open() ? ::recv(server_.get(), data.data(), data.size(), 0) : 0;
        for (ssize_t i = 0; i < got; ++i) {
            intact_ = intact_ && data[static_cast<std::size_t>(i)] == byte_at(received_);
            ++received_;
        }
    }

    [[nodiscard]] bool done() const { return received_ == bytes_; }
    [[nodiscard]] bool intact() const { return intact_; }

    /// True when the TCP frame of the client, with its IPv4 header at `ip`, carries the bytes of
    /// the stream that its sequence number says. The SYN has to come first.
    [[nodiscard]] bool matches_tcp_segment(const std::vector<std::uint8_t>& frame, std::size_t ip) {
        const std::size_t tcp = ip + std::size_t{frame[ip]} % 16 * 4;
        const std::size_t payload = tcp + std::size_t{frame[tcp + 12]} / 16 * 4;
        std::uint32_t sequence = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            sequence = (sequence << 8U) | frame[tcp + 4 + i];
        }
        if ((frame[tcp + 13] & kSyn) != 0) {
            first_ = sequence + 1;
        }
        const std::uint32_t at = sequence - first_;
        for (std::size_t i = payload; i < frame.size(); ++i) {
            if (frame[i] != byte_at(at + i - payload)) {
                return false;
            }
        }
        return true;
    }

private:
    static constexpr std::uint8_t kSyn = 2;

    static Descriptor open() {
        return Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    }
    static std::uint8_t byte_at(std::size_t at) {
        return static_cast<std::uint8_t>(at * 31 + at / 251);
    }

    std::size_t bytes_;
    std::size_t sent_ = 0;
    std::size_t received_ = 0;
    bool intact_ = true;
    std::uint32_t first_ = 0;  ///< Sequence number of the first byte.
    Descriptor listener_;
    Descriptor client_;
    Descriptor server_;
};

}  // namespace culvert::testing
