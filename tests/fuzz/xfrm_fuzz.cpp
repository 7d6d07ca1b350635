// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary bytes to the parser of XFRM messages. Beside memory safety it checks what every
// SA promises, and that a longer input never loses messages of a shorter one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ctl/xfrm_message.hpp"
#include "tunnels/esp/algorithm.hpp"

namespace {

using culvert::ctl::KernelSaRemoved;
using culvert::ctl::XfrmMessage;
using culvert::ctl::XfrmSa;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

void check(const XfrmMessage& message) {
    if (const auto* removed = std::get_if<KernelSaRemoved>(&message)) {
        require(removed->spi != 0);
    } else if (const auto* read = std::get_if<XfrmSa>(&message)) {
        const auto& sa = read->sa;
        require(sa.spi != 0);
        if (sa.algorithm) {
            require(sa.key.size() == culvert::tunnels::row_of(*sa.algorithm).key_bytes());
        } else {
            require(sa.key.size() == 0 && !sa.algorithm_name.empty());
        }
        const std::uint32_t words = read->replay.bitmap_words.value_or(8);
        require(words <= 128 && read->replay.window <= words * 32);
        require(sa.replay_window == read->replay.window);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    const auto messages = culvert::ctl::parse_xfrm(bytes);
    for (const XfrmMessage& message : messages) {
        check(message);
    }
    const auto fewer = culvert::ctl::parse_xfrm(bytes.first(size / 2));
    require(fewer.size() <= messages.size());
    for (std::size_t i = 0; i < fewer.size(); ++i) {
        require(fewer[i] == messages[i]);
    }
    return 0;
}
