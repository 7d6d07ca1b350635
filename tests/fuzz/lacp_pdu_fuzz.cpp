// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary bytes to the LACPDU parser. Beside memory safety: what is read is written the
// same again, and what is read of it is of the LACP subtype.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ctl/lacp_pdu.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert::ctl;
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto pdu = parse_lacp_frame(bytes);
    if (pdu.has_value() != (lacp_subtype(bytes) == LacpSubtype::lacp)) {
        std::abort();
    }
    if (pdu) {
        const auto again = write_lacp_frame(*pdu, {});
        if (parse_lacp_frame(again) != pdu) {
            std::abort();
        }
    }
    return 0;
}
