// SPDX-License-Identifier: GPL-2.0-or-later
//
// One of the two places in the kernel where a host's input policy can stand: iptables' tables
// (libiptc) and nftables (libnftables). Reads them whole, and changes them in one atomic step. An
// instance belongs to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "firewall/plan.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// Why a backend gave no answer.
struct Trouble {
    enum class Kind : std::uint8_t {
        absent,  ///< The kernel does not have it, or nothing was ever put into it.
        failed,  ///< It is there and cannot be read or written.
    };
    Kind kind = Kind::failed;
    std::string text;  ///< One sentence.
};
template <class T>
using Answer = tl::expected<T, Trouble>;

class Backend {
public:
    /// Makes a plan from what is there; called again when the tables changed before they were
    /// written.
    using Planner = std::function<tl::expected<Plan, std::string>(const Ruleset&)>;

    Backend() = default;
    virtual ~Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;

    /// "iptables-legacy" or "nftables".
    [[nodiscard]] virtual std::string_view name() const = 0;

    /// The rules on the hook INPUT, with the chains that they jump to. Reading makes nothing:
    /// tables that do not exist are not brought into being. Rules that cannot be understood are in
    /// it as unknown ones.
    [[nodiscard]] virtual Answer<Ruleset> read() = 0;

    /// A number that differs when anything that read() would return differs (packet counters
    /// excepted). Cheap enough to be asked twice a second.
    [[nodiscard]] virtual Answer<std::uint64_t> generation() = 0;

    /// Reads under the lock that the host's tools take too, plans, and writes in one atomic step;
    /// tried again when another program changed the tables meanwhile. Other rules, their counters
    /// and chains stay as they are. With `create` a table that is missing is made, as the tool
    /// would.
    [[nodiscard]] virtual Answer<void> change(const Planner& planner, bool create) = 0;

    /// The command of the host's tools that does the same, quoted for a shell.
    [[nodiscard]] virtual std::string command_of(const Ruleset& rules, const Edit& edit) const = 0;
};

/// iptables' own tables, IPv4 and IPv6 (legacy.cpp). Fails where the kernel has none.
[[nodiscard]] std::unique_ptr<Backend> make_legacy_backend();
/// nftables (nft.cpp), the tables of iptables-nft among them.
[[nodiscard]] std::unique_ptr<Backend> make_nft_backend();

}  // namespace culvert::firewall
