// SPDX-License-Identifier: GPL-2.0-or-later
//
// Loads and judges a file of frames. Control thread only.

#include "bench/peers/frame_file.hpp"

#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert::bench {

namespace {

constexpr char kMagic[] = "CVFRAME1";
constexpr std::size_t kMagicBytes = sizeof kMagic - 1;

/// Reads all of it; false when the file ends early or cannot be read.
bool read_whole(int fd, std::byte* to, std::size_t bytes) {
    while (bytes != 0) {
        const ssize_t got = read(fd, to, bytes);
        if (got <= 0) {
            return false;
        }
        to += got;
        bytes -= static_cast<std::size_t>(got);
    }
    return true;
}

}  // namespace

std::unique_ptr<FrameFile> FrameFile::load(const std::string& path, std::string& error) {
    std::unique_ptr<FrameFile> file(new FrameFile);
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size < static_cast<off_t>(kBlockBytes)) {
        error = path + ": cannot be opened, or is too short for a file of frames";
        close(fd);
        return nullptr;
    }
    file->bytes_ = static_cast<std::size_t>(status.st_size);
    void* memory =
        mmap(nullptr, file->bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        error = path + ": no memory for " + std::to_string(file->bytes_) + " bytes";
        close(fd);
        return nullptr;
    }
    file->memory_ = static_cast<std::byte*>(memory);
    // A million frames span far more small pages than a TLB holds. Without it, it is slower.
    static_cast<void>(madvise(memory, file->bytes_, MADV_HUGEPAGE));
    const bool complete = read_whole(fd, file->memory_, file->bytes_);
    close(fd);
    error = complete ? file->check(path) : path + ": cannot be read to its end";
    return error.empty() ? std::move(file) : nullptr;
}

std::string FrameFile::check(const std::string& path) {
    if (std::memcmp(memory_, kMagic, kMagicBytes) != 0) {
        return path + ": does not begin with " + kMagic;
    }
    std::memcpy(&count_, memory_ + kMagicBytes, sizeof count_);
    std::memcpy(&longest_, memory_ + kMagicBytes + sizeof count_, sizeof longest_);
    const std::size_t begin = kBlockBytes + whole_blocks(count_ * sizeof(std::uint16_t));
    if (count_ == 0 || begin > bytes_) {
        return path + ": says it holds " + std::to_string(count_) + " frames, which it does not";
    }
    const void* sizes = memory_ + kBlockBytes;
    sizes_ = static_cast<const std::uint16_t*>(sizes);
    frames_ = memory_ + begin;
    std::size_t end = begin;
    for (std::uint32_t i = 0; i < count_; ++i) {
        if (sizes_[i] == 0 || sizes_[i] > longest_) {
            return path + ": frame " + std::to_string(i) + " has " + std::to_string(sizes_[i]) +
                   " bytes, and 1 to " + std::to_string(longest_) + " are valid";
        }
        end += whole_blocks(sizes_[i]);
    }
    if (end != bytes_) {
        return path + ": has " + std::to_string(bytes_) + " bytes, and its frames need " +
               std::to_string(end);
    }
    return {};
}

FrameFile::~FrameFile() {
    if (memory_ != nullptr) {
        munmap(memory_, bytes_);
    }
}

}  // namespace culvert::bench
