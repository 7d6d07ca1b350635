// SPDX-License-Identifier: GPL-2.0-or-later
//
// A file of frames, loaded into memory for replay. The layout, little-endian, each part padded to
// whole blocks of 64 bytes: "CVFRAME1", the number of frames (32 bits) and the size of the longest
// (32 bits); the size of each frame (16 bits); the frames. Padding lets a frame be copied in whole
// blocks. traffic.py writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace culvert::bench {

inline constexpr std::size_t kBlockBytes = 64;

[[nodiscard]] constexpr std::size_t whole_blocks(std::size_t bytes) noexcept {
    return (bytes + kBlockBytes - 1) & ~(kBlockBytes - 1);
}

class FrameFile {
public:
    /// On failure null, and one sentence in `error`.
    [[nodiscard]] static std::unique_ptr<FrameFile>
    load(const std::string& path, std::string& error);
    ~FrameFile();
    FrameFile(const FrameFile&) = delete;
    FrameFile& operator=(const FrameFile&) = delete;

    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }
    [[nodiscard]] const std::uint16_t* sizes() const noexcept { return sizes_; }
    [[nodiscard]] const std::byte* frames() const noexcept { return frames_; }

private:
    FrameFile() = default;
    [[nodiscard]] std::string check(const std::string& path);

    std::byte* memory_ = nullptr;
    std::size_t bytes_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t longest_ = 0;
    const std::uint16_t* sizes_ = nullptr;
    const std::byte* frames_ = nullptr;
};

}  // namespace culvert::bench
