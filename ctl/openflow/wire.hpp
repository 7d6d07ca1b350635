// SPDX-License-Identifier: GPL-2.0-or-later
//
// OpenFlow's bytes: big-endian reading with bounds, writing, and the numbers of the header. Pure;
// any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace culvert::ctl::openflow {

using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

/// Wire versions: 1 is OpenFlow 1.0, 6 is 1.5.
inline constexpr std::uint8_t kOf10 = 1;
inline constexpr std::uint8_t kOf11 = 2;
inline constexpr std::uint8_t kOf12 = 3;
inline constexpr std::uint8_t kOf13 = 4;
inline constexpr std::uint8_t kOf14 = 5;
inline constexpr std::uint8_t kOf15 = 6;

inline constexpr std::size_t kHeaderBytes = 8;
inline constexpr std::size_t kMessageBytesMax = 65535;

/// Types that are the same in every version.
inline constexpr std::uint8_t kHello = 0;
inline constexpr std::uint8_t kError = 1;
inline constexpr std::uint8_t kEchoRequest = 2;
inline constexpr std::uint8_t kEchoReply = 3;
inline constexpr std::uint8_t kExperimenter = 4;
inline constexpr std::uint8_t kFeaturesRequest = 5;
inline constexpr std::uint8_t kFeaturesReply = 6;
inline constexpr std::uint8_t kGetConfigRequest = 7;
inline constexpr std::uint8_t kGetConfigReply = 8;
inline constexpr std::uint8_t kSetConfig = 9;
inline constexpr std::uint8_t kPacketOut = 13;
inline constexpr std::uint8_t kFlowMod = 14;
inline constexpr std::uint8_t kRoleRequest = 24;
inline constexpr std::uint8_t kRoleReply = 25;
inline constexpr std::uint8_t kGetAsyncRequest = 26;
inline constexpr std::uint8_t kSetAsync = 28;

/// Reads at an offset; what lies outside reads as 0.
template <class T>
[[nodiscard]] T read_at(View bytes, std::size_t offset) {
    T value = 0;
    if (offset <= bytes.size() && bytes.size() - offset >= sizeof(T)) {
        for (std::size_t i = 0; i < sizeof(T); ++i) {
            value = static_cast<T>(
                (std::uint64_t{value} << 8U) | std::to_integer<std::uint64_t>(bytes[offset + i])
            );
        }
    }
    return value;
}

/// Whether all of these bytes have the value; false when they are not all there.
[[nodiscard]] inline bool
all_are(View bytes, std::size_t offset, std::size_t count, std::uint8_t value) {
    if (offset > bytes.size() || bytes.size() - offset < count) {
        return false;
    }
    const View part = bytes.subspan(offset, count);
    return std::all_of(part.begin(), part.end(), [&](std::byte byte) {
        return byte == std::byte{value};
    });
}

struct Header {
    std::uint8_t version = 0;
    std::uint8_t type = 0;
    std::uint16_t length = 0;
    std::uint32_t xid = 0;
};

/// Precondition: kHeaderBytes are there.
[[nodiscard]] inline Header read_header(View bytes) {
    return {
        read_at<std::uint8_t>(bytes, 0),
        read_at<std::uint8_t>(bytes, 1),
        read_at<std::uint16_t>(bytes, 2),
        read_at<std::uint32_t>(bytes, 4)};
}

/// A message in the making; end() sets its length.
class Writer {
public:
    explicit Writer(Bytes& out) : out_(&out), start_(out.size()) {}
    Writer(Bytes& out, std::uint8_t version, std::uint8_t type, std::uint32_t xid) : Writer(out) {
        u8(version).u8(type).u16(0).u32(xid);
    }

    Writer& u8(std::uint8_t value) { return put(value, 1); }
    Writer& u16(std::uint16_t value) { return put(value, 2); }
    Writer& u32(std::uint32_t value) { return put(value, 4); }
    Writer& u64(std::uint64_t value) { return put(value, 8); }
    Writer& fill(std::size_t count, std::uint8_t value = 0) {
        out_->insert(out_->end(), count, std::byte{value});
        return *this;
    }
    Writer& bytes(View view) {
        out_->insert(out_->end(), view.begin(), view.end());
        return *this;
    }
    /// Cut or filled up with zeros; the last byte is zero.
    Writer& text(std::string_view text, std::size_t width) {
        for (std::size_t i = 0; i < width; ++i) {
            u8(i < text.size() && i + 1 < width ? static_cast<std::uint8_t>(text[i]) : 0);
        }
        return *this;
    }
    [[nodiscard]] std::size_t size() const { return out_->size() - start_; }
    void set_u16(std::size_t offset, std::size_t value) {
        (*out_)[start_ + offset] = static_cast<std::byte>(value >> 8U);
        (*out_)[start_ + offset + 1] = static_cast<std::byte>(value);
    }
    void end() { set_u16(2, size()); }

private:
    Writer& put(std::uint64_t value, unsigned count) {
        while (count-- != 0) {
            out_->push_back(static_cast<std::byte>(value >> (8U * count)));
        }
        return *this;
    }

    Bytes* out_;
    std::size_t start_;
};

}  // namespace culvert::ctl::openflow
