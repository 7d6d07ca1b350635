// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a command of the shell writes to its standard output.
#pragma once

#include <array>
#include <cstdio>
#include <memory>
#include <string>

#include "tests/unit/net_namespace.hpp"

namespace culvert::firewall::test {

inline std::string output_of(const std::string& command) {
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
    culvert::test::require(pipe != nullptr, "the command cannot be started");
    std::string output;
    std::array<char, 4096> chunk{};
    while (const std::size_t length = std::fread(chunk.data(), 1, chunk.size(), pipe.get())) {
        output.append(chunk.data(), length);
    }
    return output;
}

}  // namespace culvert::firewall::test
