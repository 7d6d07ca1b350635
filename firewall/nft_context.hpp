// SPDX-License-Identifier: GPL-2.0-or-later
//
// A context of libnftables, kept from ending the process and from being inherited by others. It
// belongs to the network namespace that the thread was in when it was opened. One thread at a time.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

struct nft_ctx;

namespace culvert::firewall {

class NftContext {
public:
    /// One sentence when there is none to be had: without netlink, and after too many broken ones.
    [[nodiscard]] static tl::expected<NftContext, std::string> open();

    /// Runs one transaction and returns what it printed, or the first line of what went wrong,
    /// without a full stop. Where an assertion of libnftables fails on what it finds in the kernel,
    /// this and all later runs end so.
    [[nodiscard]] tl::expected<std::string, std::string> run(const std::string& script) const;
    /// An assertion failed. What it had allocated stays in memory until the process ends.
    [[nodiscard]] bool is_broken() const { return state_->is_broken; }
    /// Nothing is changed; the kernel is not asked either.
    [[nodiscard]] tl::expected<std::string, std::string> dry_run(const std::string& script) const;

    /// `flags`: NFT_CTX_OUTPUT_*, for every run from now on.
    void set_output(unsigned flags) const;

private:
    /// Freeing the context closes the socket, which may own tables.
    struct State {
        State() = default;
        ~State();
        State(const State&) = delete;
        State& operator=(const State&) = delete;

        nft_ctx* context = nullptr;
        int socket = -1;         ///< The context's.
        bool is_broken = false;  ///< It stopped in the middle of its work: not to be used again.
    };
    std::unique_ptr<State> state_;
};

}  // namespace culvert::firewall
