// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the kernel says of ESP security associations (linux/xfrm.h), parsed. Pure, for tests and
// fuzzing: bytes in, values out. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "ctl/kernel_sa.hpp"

namespace culvert::ctl {

/// How the kernel keeps the sequence numbers of an SA, which must be said again when they are set.
struct XfrmReplay {
    /// Of XFRMA_REPLAY_ESN_VAL; nothing: the kernel has the 32 packets of XFRMA_REPLAY_VAL.
    std::optional<std::uint32_t> bitmap_words;
    std::uint32_t window = 0;
    bool operator==(const XfrmReplay&) const = default;
};

/// By which the kernel finds an SA, beside SPI and destination.
struct XfrmMark {
    std::uint32_t value = 0;
    std::uint32_t mask = 0;
    bool operator==(const XfrmMark&) const = default;
};

/// XFRM_MSG_NEWSA and XFRM_MSG_UPDSA: a new one, or other properties of one.
struct XfrmSa {
    KernelSa sa;
    XfrmReplay replay;
    std::optional<XfrmMark> mark;
    bool operator==(const XfrmSa&) const = default;
};

/// XFRM_MSG_FLUSHSA: all of them are gone.
struct XfrmFlush {
    bool operator==(const XfrmFlush&) const = default;
};

using XfrmMessage = std::variant<XfrmSa, KernelSaRemoved, XfrmFlush>;

/// Parses one or more XFRM messages: NEWSA, UPDSA, DELSA, FLUSHSA, and EXPIRE with a hard end,
/// after which the kernel says nothing more of the SA. Passed over: what is not of ESP, SAs that
/// have no keys yet, soft ends, other messages. A truncated or contradictory message ends the parse
/// (what came before is kept). Never reads outside `bytes`.
[[nodiscard]] std::vector<XfrmMessage> parse_xfrm(std::span<const std::byte> bytes);

}  // namespace culvert::ctl
