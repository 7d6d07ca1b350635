// SPDX-License-Identifier: GPL-2.0-or-later
//
// The files of a configuration that hold keys: read anew with each load, refused when somebody else
// than root and this daemon's user may read or change them. No message shows what is in one.
// Control thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include "ctl/config.hpp"
#include "ctl/private_text.hpp"
#include "dataplane/result.hpp"
#include "tunnels/esp/algorithm.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// Reads the keys of every tunnel, and looks at the files that the IKE daemon will read. The error
/// is one sentence with the place of the section that names the file.
[[nodiscard]] Result<void> read_private_files(DesiredState& state);

// The rest is what that is made of. An error begins with a verb, to follow the name of the file.

/// Empty, or why a file of this status must not be read.
using FileProblem = std::function<std::string(const struct stat& status)>;

/// What stands in a file that `problem_of` has nothing against: all of it, or bytes_max + 1 bytes
/// of a longer one. Does not wait for the other end of a pipe.
[[nodiscard]] Result<PrivateText>
read_whole(const std::string& path, std::size_t bytes_max, const FileProblem& problem_of);

/// What stands in a regular file of at most 4 KiB that nobody else may touch.
[[nodiscard]] Result<PrivateText> read_private_file(const std::string& path);

/// Empty when `daemon_user` may trust a file of this kind, owner and mode with a secret.
[[nodiscard]] std::string private_file_problem(const struct stat& status, uid_t daemon_user);

/// A key in hexadecimal as `algorithm` takes it, alone in its file.
[[nodiscard]] Result<tunnels::Secret>
parse_key(std::string_view text, tunnels::EspAlgorithm algorithm);

/// The first line, which is the pre-shared key.
[[nodiscard]] Result<PrivateText> parse_psk(std::string_view text);

}  // namespace culvert::ctl
