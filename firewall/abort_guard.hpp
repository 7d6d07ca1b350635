// SPDX-License-Identifier: GPL-2.0-or-later
//
// Calls of a C library that ends the process where an assertion of its own fails, as libnftables
// does on listing some rules that the kernel has taken from others. What the call had allocated is
// lost then, and what it worked on must not be used again. Other ways to end (exit, a segmentation
// fault) are not held up. Any thread, one at a time.
#pragma once

#include <functional>

namespace culvert::firewall {

/// Calls `work`; false when it called abort(). Between the two there must be no frame of C++ that
/// has something to destroy.
[[nodiscard]] bool survives_abort(const std::function<void()>& work);

}  // namespace culvert::firewall
