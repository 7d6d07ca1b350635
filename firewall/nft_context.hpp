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
    /// One sentence when there is none to be had.
    [[nodiscard]] static tl::expected<NftContext, std::string> open();

    /// Runs one transaction and returns what it printed, or the first line of what went wrong,
    /// without a full stop.
    [[nodiscard]] tl::expected<std::string, std::string> run(const std::string& script) const;
    /// Nothing is changed; the kernel is not asked either.
    [[nodiscard]] tl::expected<std::string, std::string> dry_run(const std::string& script) const;

    /// `flags`: NFT_CTX_OUTPUT_*, for every run from now on.
    void set_output(unsigned flags) const;

private:
    struct Deleter {
        void operator()(nft_ctx* context) const;
    };
    // Freeing the context closes the socket, which may own tables.
    std::unique_ptr<nft_ctx, Deleter> context_;
};

}  // namespace culvert::firewall
