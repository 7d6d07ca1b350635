// SPDX-License-Identifier: GPL-2.0-or-later
//
// What libnftables does not tell, or not right, asked of the kernel by netlink: the generation of
// the ruleset, tables with their flags, and the extensions of iptables in rules of
// iptables-nft. In the network namespace of the calling thread. Errors are errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "firewall/ipset.hpp"
#include "firewall/nft_json.hpp"

namespace culvert::firewall {

/// Counts the transactions on the ruleset of this network namespace.
[[nodiscard]] tl::expected<std::uint32_t, int> nft_generation();

/// A table of ip, ip6 or inet.
struct NftKernelTable {
    NftTable key;
    bool is_dormant = false;  ///< Switched off.
    bool has_flags = false;   ///< This one or others.
};
[[nodiscard]] tl::expected<std::vector<NftKernelTable>, int> nft_kernel_tables();

/// The number of a family (NFPROTO_*).
[[nodiscard]] std::uint16_t nft_family_number(std::string_view family);

class NftKernelExtensions final : public NftExtensions {
public:
    explicit NftKernelExtensions(IpsetReader& sets) : sets_(sets) {}

    /// Takes the extensions of every rule of a table.
    [[nodiscard]] tl::expected<void, int> load(const NftTable& table);

    bool read(const NftRuleKey& key, std::size_t index, std::string_view name, Rule& rule) override;
    bool has_two_orders(const NftRuleKey& key) override { return two_orders_.contains(key); }

    struct Blob {
        bool is_target = false;
        std::string name;
        std::uint8_t revision = 0;
        std::vector<std::byte> info;
    };

private:
    IpsetReader& sets_;
    std::map<NftRuleKey, std::vector<Blob>> blobs_;
    std::set<NftRuleKey> two_orders_;
};

}  // namespace culvert::firewall
