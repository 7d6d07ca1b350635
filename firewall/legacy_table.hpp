// SPDX-License-Identifier: GPL-2.0-or-later
//
// One table of iptables, of one family, in libiptc's memory: read as the hook INPUT meets it,
// edited, and committed as a whole. Tables are the kernel's of the calling thread's network
// namespace. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "firewall/ipset.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// A table with a hook INPUT, beside nat's, which drops nothing.
struct LegacyTableName {
    const char* name;
    std::int32_t priority;
};
constexpr LegacyTableName kLegacyFilter = {"filter", 0};
constexpr LegacyTableName kLegacyTables[] = {{"mangle", -150}, kLegacyFilter, {"security", 50}};

/// What went wrong, as errno and as libiptc words it.
struct LegacyError {
    int error = 0;
    std::string text;
};

class LegacyTable {
public:
    /// A snapshot. Makes the table where the kernel has none: see existing_legacy_tables().
    [[nodiscard]] static tl::expected<std::unique_ptr<LegacyTable>, LegacyError>
    open(Family family, const LegacyTableName& name);

    LegacyTable() = default;
    virtual ~LegacyTable() = default;
    LegacyTable(const LegacyTable&) = delete;
    LegacyTable& operator=(const LegacyTable&) = delete;

    /// INPUT, as the first chain, and the chains that are reached from it.
    [[nodiscard]] virtual Ruleset read(IpsetReader& sets) = 0;
    /// The rules of a chain as the table has them.
    [[nodiscard]] virtual std::vector<std::vector<std::byte>> entries(const std::string& chain) = 0;
    /// `entry` becomes the first rule.
    [[nodiscard]] virtual tl::expected<void, LegacyError>
    insert(const std::string& chain, std::span<const std::byte> entry) = 0;
    /// `number` counts from 1.
    [[nodiscard]] virtual tl::expected<void, LegacyError>
    erase(const std::string& chain, std::uint64_t number) = 0;
    /// EAGAIN: the table has changed since open(); nothing was written.
    [[nodiscard]] virtual tl::expected<void, LegacyError> commit() = 0;
};

/// Those of kLegacyTables that the kernel has already.
[[nodiscard]] tl::expected<std::vector<LegacyTableName>, LegacyError>
existing_legacy_tables(Family family);

/// A number that differs when the rules of an existing table do, counters excepted.
[[nodiscard]] tl::expected<std::uint64_t, LegacyError>
legacy_fingerprint(Family family, const LegacyTableName& name);

/// Has the kernel load what iptables itself needs; whether that helped shows when a table is
/// opened.
void load_legacy_module(Family family);

}  // namespace culvert::firewall
