// SPDX-License-Identifier: GPL-2.0-or-later
//
// The host's firewall as a whole: which backend holds its policy, and the rules of all of them as
// one list. An instance belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "firewall/backend.hpp"

namespace culvert::firewall {

/// Which backends are read and written: `automatic` reads all there are, and writes to those
/// that hold a policy.
enum class BackendChoice : std::uint8_t { automatic, legacy, nft };
/// "auto", "iptables-legacy" or "nftables"; nothing otherwise.
[[nodiscard]] std::optional<BackendChoice> parse_backend(std::string_view text);
[[nodiscard]] std::string_view to_string(BackendChoice choice);

/// The input policy of the host at one time.
struct Policy {
    Ruleset rules;                     ///< Of every backend that could be read.
    std::vector<std::string> holders;  ///< Names of the backends that hold a policy; often one.
    std::vector<std::string>
        troubles;           ///< A sentence for each backend that is there and unreadable.
    bool readable = false;  ///< A backend could be read.

    /// Whether a packet may be let in: evaluate() on `rules`; where a backend is unreadable, what
    /// it would say is unknown.
    [[nodiscard]] Judgement judge(const Header& header, Trace* trace = nullptr) const;
};

class HostFirewall {
public:
    explicit HostFirewall(BackendChoice choice);
    /// Of backends made elsewhere, for tests.
    explicit HostFirewall(std::vector<std::unique_ptr<Backend>> backends);

    [[nodiscard]] Policy read();
    /// Differs when anything that read() would return differs.
    [[nodiscard]] std::uint64_t generation();

    /// The backends to write to, with what was read of them: those that hold a policy; with none,
    /// the first that can be read, iptables-legacy before nftables. Empty: the host has no
    /// firewall, or it cannot be listed; `troubles` then says why.
    struct Target {
        Backend* backend = nullptr;
        Ruleset rules;
    };
    struct Targets {
        std::vector<Target> targets;
        std::vector<std::string> troubles;
    };
    [[nodiscard]] Targets targets();

    [[nodiscard]] const std::vector<std::unique_ptr<Backend>>& backends() const {
        return backends_;
    }

private:
    std::vector<std::unique_ptr<Backend>> backends_;
};

}  // namespace culvert::firewall
