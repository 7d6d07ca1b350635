// SPDX-License-Identifier: GPL-2.0-or-later
//
// The example of docs/add-a-protocol.md does what the page says. The header is taken from the page
// when the build is configured; see tests/CMakeLists.txt.

#include <cstddef>
#include <cstdint>

#include <documented_protocol.hpp>
#include <gtest/gtest.h>

#include "tests/unit/tunnels/bytes.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::tunnels {
namespace {

using tests::Bytes;
using tests::from_hex;
using tests::prefix;

// As the page has it: the list takes it.
static_assert(ProtocolList<Gre, Vxlan, VxlanGpe, Geneve, Lisp, MplsUdp>::kCount == 6);

TEST(DocumentedProtocol, ParsesWhatItWrites) {
    for (const std::uint32_t key : {0U, 1U, 300U, 0xfffffU}) {
        Bytes out(MplsUdp::header_bytes({.key = key}), std::byte{0xff});
        MplsUdp::write({.key = key}, out);
        const Parsed parsed = MplsUdp::parse(out);
        EXPECT_EQ(parsed.drop, DropReason::none);
        EXPECT_EQ(parsed.payload, Payload::ip);
        EXPECT_EQ(parsed.header_bytes, 4);
        EXPECT_EQ(parsed.key, key);
    }
}

TEST(DocumentedProtocol, SendsTheBytesOfRfc3032) {
    Bytes out(4);
    MplsUdp::write({.key = 300}, out);
    EXPECT_EQ(out, from_hex("0012c140"));
}

TEST(DocumentedProtocol, RefusesWhatIsCutOffOrStacked) {
    for (std::size_t size = 0; size < 4; ++size) {
        EXPECT_NE(MplsUdp::parse(prefix(from_hex("0012c140"), size)).drop, DropReason::none);
    }
    EXPECT_NE(MplsUdp::parse(from_hex("0012c040")).drop, DropReason::none);
    EXPECT_EQ(MplsUdp::parse(from_hex("0012cfff")).key, 300U) << "TC and TTL do not matter";
}

}  // namespace
}  // namespace culvert::tunnels
