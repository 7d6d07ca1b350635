// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary bytes from a vici socket: the first byte says in what pieces the rest arrives. The
// packets must be the same for every way of splitting, and one that was understood is the same
// after it was written and read again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "ctl/vici/message.hpp"

namespace {

using namespace culvert::ctl::vici;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

/// Nothing: refused.
std::optional<std::vector<Packet>> read(std::string_view bytes, std::size_t piece) {
    PacketStream stream;
    std::vector<Packet> all;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        auto packets = stream.feed(bytes.substr(at, piece));
        if (!packets.has_value()) {
            require(!packets.error().empty() && packets.error().size() < 400);
            return std::nullopt;
        }
        all.insert(all.end(), packets->begin(), packets->end());
    }
    return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto whole = read(bytes, std::max<std::size_t>(bytes.size(), 1));
    require(whole == read(bytes, std::size_t{data[0]} + 1));
    if (!whole.has_value()) {
        return 0;
    }
    for (const Packet& packet : *whole) {
        const auto written = encode(packet);
        require(written.has_value());
        const auto again = decode(std::string_view(*written).substr(4));
        require(again.has_value() && *again == packet);
    }
    return 0;
}
