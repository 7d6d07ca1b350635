// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

namespace culvert::tests {

/// The folder of the sources that were built, which tests read vectors, documents and scripts of.
std::string source_dir();

}  // namespace culvert::tests
