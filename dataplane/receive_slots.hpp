// SPDX-License-Identifier: GPL-2.0-or-later
//
// Buffers made ready for recvmmsg() or readv() before it is known how long the frames will be. Any
// frame may be a super-frame of 64 KiB, none may be cut off, and a port should not sit on 33
// buffers for each frame it might get. So a slot is a virtio header, buffers, and an overflow area
// of plain memory behind them:
// - While frames are short, each slot has one buffer. A long frame that comes then spills into the
//   overflow area and is copied into a chain. An area that was never spilled into takes no memory.
// - Once a long frame has come, kLongSlots slots get buffers for a whole super-frame and only they
//   are used: bulk TCP and jumbo frames are then not copied, eight frames a system call.
// At most 8 * 33 + 24 = 288 buffers a port. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <sys/uio.h>

#include "dataplane/limits.hpp"
#include "dataplane/packet.hpp"
#include "dataplane/virtio_header.hpp"

namespace culvert::dataplane {

class ReceiveSlots {
public:
    static constexpr unsigned kLongSlots = 8;
    /// Short frames in a row after which slots are short again.
    static constexpr unsigned kShortFramesInRow = 256;

    /// `slots` is at most kBurstMax. The pool must outlive this.
    ReceiveSlots(rte_mempool* pool, unsigned slots);
    ~ReceiveSlots();
    ReceiveSlots(const ReceiveSlots&) = delete;
    ReceiveSlots& operator=(const ReceiveSlots&) = delete;

    /// Readies slots 0 to `wanted` - 1. Returns how many are ready: fewer while frames are long or
    /// when no buffer is free. One call a system call.
    [[nodiscard]] unsigned prepare(unsigned wanted) noexcept;

    /// Where a message goes: the header, then kSuperFrameBytesMax bytes or more. Valid until the
    /// next prepare(), except that the slot's own take() uses them up.
    [[nodiscard]] std::span<iovec> vectors(unsigned slot) noexcept;
    [[nodiscard]] std::size_t capacity_bytes(unsigned slot) const noexcept;
    [[nodiscard]] const VirtioHeader& header(unsigned slot) const noexcept {
        return slots_[slot].header;
    }

    /// The frame of `bytes` (without header) in the slot as a packet; nullptr when no buffer was
    /// free for what had spilled. A slot that is not taken is simply used again.
    [[nodiscard]] rte_mbuf* take(unsigned slot, std::size_t bytes) noexcept;

    /// Buffers held now.
    [[nodiscard]] std::size_t buffers() const noexcept;

private:
    static constexpr std::size_t kOverflowBytes = kSuperFrameBytesMax;

    struct Slot {
        VirtioHeader header;
        unsigned count = 0;  ///< Of buffers.
        std::array<rte_mbuf*, kSegmentsPerPacketMax> buffers{};
        std::array<iovec, kSegmentsPerPacketMax + 2> vectors{};  ///< Header, buffers, overflow.
    };

    void insert_buffer(Slot& slot, rte_mbuf* buffer) noexcept;
    void prepare_first_buffers(unsigned slots) noexcept;
    [[nodiscard]] bool append_overflow(rte_mbuf* packet, std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] std::byte* overflow(std::size_t slot) noexcept {
        return overflow_.get() + slot * kOverflowBytes;
    }

    rte_mempool* pool_;
    std::size_t buffer_bytes_;  ///< Of one buffer, headroom not counted.
    unsigned long_frames_ = 0;  ///< Counts down while slots are long.
    std::vector<Slot> slots_;
    std::unique_ptr<std::byte[]> overflow_;
};

}  // namespace culvert::dataplane
