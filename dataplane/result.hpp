// SPDX-License-Identifier: GPL-2.0-or-later
//
// The outcome of something that bad input or a bad environment can make fail: a value, or one clear
// sentence.
#pragma once

#include <string>

#include <tl/expected.hpp>

namespace culvert::dataplane {

/// The error is one sentence that names the thing, the value and what would be valid.
template <class T>
using Result = tl::expected<T, std::string>;

}  // namespace culvert::dataplane
