// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's IP sets (ipset(8)), read by netlink. An instance belongs to one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/header.hpp"
#include "firewall/value_set.hpp"

namespace culvert::firewall {

/// A set as it stood when it was read.
struct Ipset {
    /// What a part of its type means; rules choose the end (source, destination) for each.
    enum class Part : std::uint8_t { address, port, interface };
    std::string name;
    std::optional<Family> family;  ///< None: it holds neither addresses nor anything of a family.
    std::vector<Part> parts;
    /// Tuples of the parts; a port part has two operands, the protocol and the port. Null: of a
    /// type that cannot be read (MAC addresses, marks, lists, "nomatch" entries).
    std::shared_ptr<const TupleSet> tuples;
};

class IpsetReader {
public:
    virtual ~IpsetReader() = default;
    /// The set of this name, or of this index in the kernel; null when there is none or it cannot
    /// be read.
    [[nodiscard]] virtual std::shared_ptr<const Ipset> find(std::string_view name) = 0;
    [[nodiscard]] virtual std::shared_ptr<const Ipset> find(std::uint16_t index) = 0;
};

/// Asks the kernel, each set once until forget().
class KernelIpsets final : public IpsetReader {
public:
    KernelIpsets();
    ~KernelIpsets() override;
    KernelIpsets(const KernelIpsets&) = delete;
    KernelIpsets& operator=(const KernelIpsets&) = delete;

    [[nodiscard]] std::shared_ptr<const Ipset> find(std::string_view name) override;
    [[nodiscard]] std::shared_ptr<const Ipset> find(std::uint16_t index) override;
    void forget();
    /// Differs when a set that was asked for has other elements by now, or can be read by now; 0
    /// when none was asked for.
    [[nodiscard]] std::uint64_t generation();

private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace culvert::firewall
