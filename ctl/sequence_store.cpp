// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sequence numbers on disk. See sequence_store.hpp.

#include "ctl/sequence_store.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/log.hpp"
#include "ctl/sentence.hpp"

namespace culvert::ctl {

namespace {

constexpr const char* kEndsFile = "/esp-sequences";
constexpr const char* kReceivedFile = "/esp-received";
constexpr const char* kLockFile = "/esp-lock";
/// So that these are no plain hashes of keys.
constexpr std::string_view kFingerprintUse = "culvert ESP key ";

tl::unexpected<std::string> failed(const char* what, const std::string& path, int error) {
    return tl::unexpected(fmt::format("cannot {} {}: {}", what, quote(path), std::strerror(error)));
}

/// Who else could write there could have sequence numbers used twice.
Result<void> prepare_folder(const std::string& folder) {
    std::error_code error;
    std::filesystem::create_directories(
        std::filesystem::path(folder).parent_path(), error
    );  // What fails shows below.
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
        return failed("make the state folder", folder, errno);
    }
    struct stat status {};
    if (::stat(folder.c_str(), &status) != 0) {
        return failed("read the state folder", folder, errno);
    }
    if (!S_ISDIR(status.st_mode)) {
        return failed("use as the state folder", folder, ENOTDIR);
    }
    const bool own = status.st_uid == 0 || status.st_uid == ::geteuid();
    if (!own || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return tl::unexpected(fmt::format(
            "the state folder {} can be written by others; it must belong to root or the daemon's "
            "user, with a mode "
            "like 0700",
            quote(folder)
        ));
    }
    return {};
}

Result<std::string> read_file(const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) {
        return failed("read", path, errno);
    }
    std::string text;
    std::array<char, 4096> piece{};
    ssize_t size = 0;
    while ((size = ::read(file.get(), piece.data(), piece.size())) > 0) {
        text.append(piece.data(), static_cast<std::size_t>(size));
    }
    if (size < 0) {
        return failed("read", path, errno);
    }
    return text;
}

/// Nothing for a file that is not there.
Result<SequenceStore::Entries> read_entries(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
        return {};
    }
    const auto text = read_file(path);
    if (!text) {
        return tl::unexpected(text.error());
    }
    auto entries = parse_sequences(*text);
    if (!entries) {
        return tl::unexpected(fmt::format("{} is damaged: {}", quote(path), entries.error()));
    }
    return entries;
}

bool write_all(int fd, const std::string& text) {
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t size = ::write(fd, text.data() + written, text.size() - written);
        if (size < 0 && errno != EINTR) {
            return false;
        }
        written += size < 0 ? 0 : static_cast<std::size_t>(size);
    }
    return true;
}

/// So that a new name in it survives a loss of power.
Result<void> sync_folder(const std::string& folder) {
    const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!opened.is_open() || ::fsync(opened.get()) != 0) {
        return failed("sync the folder", folder, errno);
    }
    return {};
}

Result<void>
replace_file(const std::string& folder, const char* name, const std::string& text, bool synced) {
    const std::string path = folder + name;
    const std::string temporary = path + ".new";
    Descriptor file(
        ::open(temporary.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
    );
    if (!file.is_open()) {
        return failed("write", temporary, errno);
    }
    const bool done = write_all(file.get(), text) && (!synced || ::fsync(file.get()) == 0) &&
                      ::close(file.release()) == 0 &&
                      ::rename(temporary.c_str(), path.c_str()) == 0;
    if (!done) {
        auto failure = failed("write", path, errno);
        ::unlink(temporary.c_str());
        return failure;
    }
    return synced ? sync_folder(folder) : Result<void>{};
}

}  // namespace

SaFingerprint fingerprint_of(const tunnels::Secret& key) {
    SaFingerprint fingerprint{};
    EVP_MD_CTX* context = ::EVP_MD_CTX_new();
    unsigned size = 0;
    auto* const out = reinterpret_cast<unsigned char*>(fingerprint.data());
    const bool made =
        context != nullptr && ::EVP_DigestInit_ex(context, ::EVP_sha256(), nullptr) == 1 &&
        ::EVP_DigestUpdate(context, kFingerprintUse.data(), kFingerprintUse.size()) == 1 &&
        ::EVP_DigestUpdate(context, key.bytes().data(), key.size()) == 1 &&
        ::EVP_DigestFinal_ex(context, out, &size) == 1;
    ::EVP_MD_CTX_free(context);  // It cleans what it held.
    if (!made) {
        // Two keys of one fingerprint would be safe; a key that has none would not.
        std::abort();
    }
    return fingerprint;
}

Result<void> SequenceStore::open(const std::string& folder) {
    lock_ = {};  // The lock of the folder before goes with it.
    if (auto prepared = prepare_folder(folder); !prepared) {
        return prepared;
    }
    const std::string path = folder + kLockFile;
    Descriptor lock(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock.is_open()) {
        return failed("open", path, errno);
    }
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        return error == EWOULDBLOCK ? tl::unexpected(fmt::format(
                                          "another daemon uses the state folder {}; two must not "
                                          "share the sequence numbers of an SA: "
                                          "set state_dir in [daemon]",
                                          quote(folder)
                                      ))
                                    : failed("lock", path, error);
    }
    auto done = read(folder);
    if (done) {
        lock_ = std::move(lock);
    }
    return done;
}

Result<void> SequenceStore::read(const std::string& folder) {
    auto ends = read_entries(folder + kEndsFile);
    if (!ends) {
        return tl::unexpected(
            ends.error() + "; which sequence numbers were used is not known: give every configured "
                           "SA a new key, then delete the file"
        );
    }
    // Without this one old packets may come in once more, which a loss of power makes possible
    // anyway: the file is synced now and then.
    auto received = read_entries(folder + kReceivedFile);
    if (!received) {
        logger("esp").warn("{}; replay windows begin anew", received.error());
    }
    folder_ = folder;
    ends_ = std::move(*ends);
    received_ = received ? std::move(*received) : Entries{};
    received_changed_ = false;
    return {};
}

std::uint64_t SequenceStore::next(const SaFingerprint& key) const {
    const auto found = ends_.find(key);
    return found == ends_.end() ? 1 : std::max<std::uint64_t>(found->second.number, 1);
}

Result<void> SequenceStore::reserve(const std::vector<Reservation>& reservations) {
    if (!is_open()) {
        return tl::unexpected(std::string("no state folder is open"));
    }
    Entries ends = ends_;
    for (const Reservation& reservation : reservations) {
        Entry& entry = ends[reservation.key];
        entry.number = std::max(entry.number, reservation.end);
        entry.negotiated = reservation.negotiated;
    }
    if (auto written = replace_file(folder_, kEndsFile, write_sequences(ends), true); !written) {
        return written;
    }
    ends_ = std::move(ends);
    return {};
}

std::uint64_t SequenceStore::received(const SaFingerprint& key) const {
    const auto found = received_.find(key);
    return found == received_.end() ? 0 : found->second.number;
}

void SequenceStore::note_received(const Received& received) {
    Entry& entry = received_[received.key];
    entry.negotiated = received.negotiated;
    if (received.highest > entry.number) {
        entry.number = received.highest;
        received_changed_ = true;
    }
}

Result<void> SequenceStore::write_received(bool synced) {
    if (!is_open() || !received_changed_) {
        return {};
    }
    auto written = replace_file(folder_, kReceivedFile, write_sequences(received_), synced);
    received_changed_ = !written;
    return written;
}

void SequenceStore::forget(const SaFingerprint& key) {
    ends_.erase(key);
    received_.erase(key);
}

void SequenceStore::forget_negotiated_but(const std::set<SaFingerprint>& kept) {
    const auto gone = [&](const auto& item) {
        return item.second.negotiated && !kept.contains(item.first);
    };
    std::erase_if(ends_, gone);
    std::erase_if(received_, gone);
}

}  // namespace culvert::ctl
