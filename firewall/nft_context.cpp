// SPDX-License-Identifier: GPL-2.0-or-later
//
// What has to be done around libnftables 1.0.6 so that a daemon can use it. One thread at a time.
#include "firewall/nft_context.hpp"

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <nftables/libnftables.h>

#include "firewall/abort_guard.hpp"
#include "firewall/error_text.hpp"

namespace culvert::firewall {

namespace {

using Outcome = tl::expected<void, std::string>;

// libnftables ends the process when it gets no socket, so this asks first.
Outcome check_netlink() {
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0) {
        return tl::unexpected(
            "nftables cannot be reached by netlink: " + error_text(errno) +
            "; it needs a kernel with CONFIG_NF_TABLES and CONFIG_NETFILTER_NETLINK."
        );
    }
    close(fd);
    return {};
}

// libnftables opens its socket without close-on-exec. A program that this process starts would
// inherit it and keep the owned tables alive after this process was killed. Returns the one that
// was not closed on exec so far.
int close_netfilter_sockets_on_exec() {
    int newest = -1;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
        const std::string name = entry.path().filename().string();
        int fd = -1;
        std::from_chars(name.data(), name.data() + name.size(), fd);
        int domain = 0;
        int protocol = 0;
        socklen_t domain_bytes = sizeof(domain);
        socklen_t protocol_bytes = sizeof(protocol);
        if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_bytes) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_bytes) == 0 &&
            domain == AF_NETLINK && protocol == NETLINK_NETFILTER) {
            newest = (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0 ? fd : newest;
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    return newest;
}

// libnftables keeps contexts apart, but not the extensions of iptables and the names of protocols
// that it looks up in the C library: one thread at a time, whichever context it has.
std::mutex& library() {
    static std::mutex mutex;
    return mutex;
}

// A context that an assertion ended keeps what it had allocated, some 800 KB; after so many of them
// libnftables is left alone. Under library().
constexpr unsigned kBrokenMax = 100;
unsigned broken = 0;

}  // namespace

NftContext::State::~State() {
    if (is_broken) {
        close(socket);  // And the rest of it stays in memory.
        return;
    }
    const std::lock_guard lock(library());
    if (context != nullptr) {
        nft_ctx_free(context);
    }
}

tl::expected<NftContext, std::string> NftContext::open() {
    if (auto checked = check_netlink(); !checked) {
        return tl::unexpected(checked.error());
    }
    NftContext made;
    made.state_ = std::make_unique<State>();
    const std::lock_guard lock(library());
    if (broken >= kBrokenMax) {
        return tl::unexpected(
            "libnftables is not asked any more until a restart: assertions of its own failed " +
            std::to_string(kBrokenMax) + " times."
        );
    }
    nft_ctx* const context = nft_ctx_new(NFT_CTX_DEFAULT);
    made.state_->context = context;
    if (context == nullptr || nft_ctx_buffer_output(context) != 0 ||
        nft_ctx_buffer_error(context) != 0) {
        return tl::unexpected(std::string("libnftables cannot be started: out of memory."));
    }
    made.state_->socket = close_netfilter_sockets_on_exec();
    return made;
}

tl::expected<std::string, std::string> NftContext::run(const std::string& script) const {
    const std::lock_guard lock(library());
    nft_ctx* const context = state_->context;
    bool succeeded = false;
    errno = 0;
    if (!state_->is_broken && !survives_abort([&] {
            succeeded = nft_run_cmd_from_buffer(context, script.c_str()) == 0;
        })) {
        state_->is_broken = true;
        ++broken;
    }
    const int error = errno;
    if (state_->is_broken) {
        return tl::unexpected(
            std::string("an assertion of libnftables failed, as it does for \"nft list ruleset\"")
        );
    }
    // Asking for a buffer is what empties it for the next run.
    const std::string output = nft_ctx_get_output_buffer(context);
    const std::string text = nft_ctx_get_error_buffer(context);
    if (succeeded) {
        return output;
    }
    constexpr std::string_view kPrefix = "Error: ";
    std::string_view line = std::string_view(text).substr(0, text.find('\n'));
    if (line.starts_with(kPrefix)) {
        line.remove_prefix(kPrefix.size());
    }
    return tl::unexpected(line.empty() ? error_text(error) : std::string(line));
}

tl::expected<std::string, std::string> NftContext::dry_run(const std::string& script) const {
    nft_ctx_set_dry_run(state_->context, true);
    auto outcome = run(script);
    nft_ctx_set_dry_run(state_->context, false);
    return outcome;
}

void NftContext::set_output(unsigned flags) const {
    nft_ctx_output_set_flags(state_->context, flags);
}

}  // namespace culvert::firewall
