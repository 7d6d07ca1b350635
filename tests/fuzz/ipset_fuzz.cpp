// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary bytes to the reader of IP set listings, as two messages. Beside memory safety it
// checks what every set promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "firewall/ipset_attributes.hpp"

namespace {

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert::firewall;
    const auto bytes = std::as_bytes(std::span(data, size));
    IpsetListing listing;
    listing.add(bytes);
    const std::uint64_t fingerprint = listing.fingerprint();
    require(fingerprint == listing.fingerprint());
    listing.add(bytes.subspan(size / 2));
    const Ipset set = listing.finish();
    if (!set.tuples) {
        return 0;
    }
    require(set.tuples->width() >= set.parts.size() && set.tuples->width() <= 4);
    std::vector<Value> values(set.tuples->width());
    for (std::size_t i = 0; i < set.tuples->size(); ++i) {
        const auto tuple = set.tuples->tuple(i);
        for (std::size_t field = 0; field < tuple.size(); ++field) {
            require(tuple[field].low <= tuple[field].high);
            values[field] = tuple[field].high;
        }
        require(set.tuples->contains(values));
    }
    return 0;
}
