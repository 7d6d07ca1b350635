// SPDX-License-Identifier: GPL-2.0-or-later
//
// Pre-allocated receive buffers; the header says how they are shared out. The thread that receives
// on the port.

#include "dataplane/receive_slots.hpp"

#include <algorithm>
#include <cstring>

namespace culvert::dataplane {

namespace {

/// Adds a buffer that holds `bytes` behind the last one.
void append(rte_mbuf* packet, rte_mbuf*& last, rte_mbuf* buffer, std::size_t bytes) noexcept {
    buffer->data_len = static_cast<std::uint16_t>(bytes);
    packet->pkt_len += static_cast<std::uint32_t>(bytes);
    if (buffer != packet) {
        last->next = buffer;
        ++packet->nb_segs;
    }
    last = buffer;
}

}  // namespace

ReceiveSlots::ReceiveSlots(rte_mempool* pool, unsigned slots)
    : pool_(pool), buffer_bytes_(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM),
      slots_(slots),
      overflow_(std::make_unique_for_overwrite<std::byte[]>(slots * kOverflowBytes)) {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        slots_[i].vectors[0] = {&slots_[i].header, sizeof(VirtioHeader)};
        slots_[i].vectors[1] = {overflow(i), kOverflowBytes};
    }
}

ReceiveSlots::~ReceiveSlots() {
    for (Slot& slot : slots_) {
        rte_pktmbuf_free_bulk(slot.buffers.data(), slot.count);
    }
}

void ReceiveSlots::insert_buffer(Slot& slot, rte_mbuf* buffer) noexcept {
    // The overflow area is always the last vector.
    slot.vectors[slot.count + 2] = slot.vectors[slot.count + 1];
    slot.vectors[slot.count + 1] = {rte_pktmbuf_mtod(buffer, void*), buffer_bytes_};
    slot.buffers[slot.count++] = buffer;
}

void ReceiveSlots::prepare_first_buffers(unsigned slots) noexcept {
    std::array<Slot*, kBurstMax> empty{};
    unsigned missing = 0;
    for (unsigned i = 0; i < slots; ++i) {
        if (slots_[i].count == 0) {
            empty[missing++] = &slots_[i];
        }
    }
    std::array<rte_mbuf*, kBurstMax> buffers{};
    if (missing == 0 || rte_pktmbuf_alloc_bulk(pool_, buffers.data(), missing) != 0) {
        // All or nothing failed: fill what still can be filled, in order.
        for (unsigned i = 0; i < missing; ++i) {
            buffers[i] = rte_pktmbuf_alloc(pool_);
            if (buffers[i] == nullptr) {
                missing = i;
            }
        }
    }
    for (unsigned i = 0; i < missing; ++i) {
        insert_buffer(*empty[i], buffers[i]);
    }
}

unsigned ReceiveSlots::prepare(unsigned wanted) noexcept {
    wanted = std::min(wanted, static_cast<unsigned>(slots_.size()));
    if (long_frames_ > 0) {
        wanted = std::min(wanted, kLongSlots);
        for (unsigned i = 0; i < wanted; ++i) {
            Slot& slot = slots_[i];
            while (slot.count < kSegmentsPerPacketMax) {
                rte_mbuf* buffer = rte_pktmbuf_alloc(pool_);
                if (buffer == nullptr) {
                    break;  // The overflow area serves.
                }
                insert_buffer(slot, buffer);
            }
        }
    } else {
        prepare_first_buffers(wanted);
    }
    unsigned ready = 0;
    while (ready < wanted && slots_[ready].count > 0) {
        ++ready;
    }
    return ready;
}

std::span<iovec> ReceiveSlots::vectors(unsigned slot) noexcept {
    return std::span(slots_[slot].vectors).first(slots_[slot].count + 2);
}

std::size_t ReceiveSlots::capacity_bytes(unsigned slot) const noexcept {
    return slots_[slot].count * buffer_bytes_ + kOverflowBytes;
}

bool ReceiveSlots::append_overflow(rte_mbuf* packet, std::span<const std::byte> bytes) noexcept {
    rte_mbuf* last = rte_pktmbuf_lastseg(packet);
    while (!bytes.empty()) {
        rte_mbuf* buffer = rte_pktmbuf_alloc(pool_);
        if (buffer == nullptr) {
            return false;
        }
        const std::size_t part = std::min(bytes.size(), buffer_bytes_);
        std::memcpy(rte_pktmbuf_mtod(buffer, std::byte*), bytes.data(), part);
        append(packet, last, buffer, part);
        bytes = bytes.subspan(part);
    }
    return true;
}

rte_mbuf* ReceiveSlots::take(unsigned index, std::size_t bytes) noexcept {
    Slot& slot = slots_[index];
    if (bytes > buffer_bytes_) {
        long_frames_ = kShortFramesInRow;
    } else if (long_frames_ > 0) {
        --long_frames_;
    }
    rte_mbuf* packet = slot.buffers[0];
    rte_mbuf* last = packet;
    unsigned used = 0;
    do {
        const std::size_t part = std::min(bytes, buffer_bytes_);
        append(packet, last, slot.buffers[used], part);
        bytes -= part;
        ++used;
    } while (bytes > 0 && used < slot.count);
    // The last buffers move to the places of the first; the rest need not be touched.
    const unsigned left = slot.count - used;
    for (unsigned i = 0; i < std::min(used, left); ++i) {
        slot.buffers[i] = slot.buffers[slot.count - 1 - i];
        slot.vectors[i + 1] = slot.vectors[slot.count - i];
    }
    slot.count = left;
    slot.vectors[left + 1] = {overflow(index), kOverflowBytes};
    if (!append_overflow(packet, {overflow(index), bytes})) {
        rte_pktmbuf_free(packet);
        return nullptr;
    }
    return packet;
}

std::size_t ReceiveSlots::buffers() const noexcept {
    std::size_t sum = 0;
    for (const Slot& slot : slots_) {
        sum += slot.count;
    }
    return sum;
}

}  // namespace culvert::dataplane
