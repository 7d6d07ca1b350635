// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/source_dir.hpp"

namespace culvert::tests {

std::string source_dir() {
    return CULVERT_SOURCE_DIR;
}

}  // namespace culvert::tests
