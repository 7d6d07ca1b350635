// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs another program to its end. Blocks; for culvert-ctl, never for the daemon.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace culvert::ctl {

struct ChildOutcome {
    int status = 0;      ///< As a shell has it: 128 + N when signal N ended it.
    std::string output;  ///< Standard output.
    std::string errors;  ///< Standard error.

    [[nodiscard]] bool ok() const noexcept { return status == 0; }
};

/// `argv[0]` is looked up in PATH. Standard input is empty. The error is one sentence: the program
/// could not be started.
[[nodiscard]] tl::expected<ChildOutcome, std::string> run_child(const std::vector<std::string>& argv
);

/// The first line of the output without its end.
[[nodiscard]] std::string first_line(const std::string& text);

}  // namespace culvert::ctl
