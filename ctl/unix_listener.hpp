// SPDX-License-Identifier: GPL-2.0-or-later
//
// The file of a UNIX socket that the daemon listens on. Control thread.
#pragma once

#include <cstdint>
#include <string>

#include <sys/stat.h>

#include "dataplane/kernel_device.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

enum class SocketFolder : std::uint8_t {
    as_it_is,
    /// Made when needed, and locked meanwhile: of two daemons that start at the same moment, one
    /// would otherwise take the other's fresh socket for a stale one. May wait for two seconds.
    made_and_locked,
};

/// Listens at `path` with mode 0660, without blocking. The socket of a dead process is replaced; a
/// live one, or a file that is no socket, is an error. `what` names it in sentences: "control
/// socket".
[[nodiscard]] Result<dataplane::Descriptor>
listen_at(const std::string& what, const std::string& path, SocketFolder folder);

/// Removes the socket's file in the end, unless somebody has replaced it. While the socket still
/// listens then, no successor takes it for a stale one.
class SocketFile {
public:
    explicit SocketFile(std::string path);
    ~SocketFile();
    SocketFile(const SocketFile&) = delete;
    SocketFile& operator=(const SocketFile&) = delete;

private:
    std::string path_;
    struct stat own_ {};
};

}  // namespace culvert::ctl
