// SPDX-License-Identifier: GPL-2.0-or-later
//
// Matches of iptables made by hand, and sets without a kernel.
#pragma once

#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "firewall/extension.hpp"
#include "firewall/ipset.hpp"

namespace culvert::firewall::test {

/// The structure's bytes, padded to eight as in the kernel.
template <class T>
std::vector<std::byte> bytes_of(const T& info) {
    std::vector<std::byte> bytes((sizeof(T) + 7) / 8 * 8);
    std::memcpy(bytes.data(), &info, sizeof(T));
    return bytes;
}

class FakeSets final : public IpsetReader {
public:
    std::map<std::uint16_t, std::shared_ptr<const Ipset>> by_index;

    [[nodiscard]] std::shared_ptr<const Ipset> find(std::string_view /*name*/) override {
        return nullptr;
    }
    [[nodiscard]] std::shared_ptr<const Ipset> find(std::uint16_t index) override {
        const auto found = by_index.find(index);
        return found == by_index.end() ? nullptr : found->second;
    }
};

}  // namespace culvert::firewall::test
