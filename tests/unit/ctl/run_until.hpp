// SPDX-License-Identifier: GPL-2.0-or-later
//
// For tests of what runs on an io_context, on the test's own thread.
#pragma once

#include <chrono>
#include <functional>

#include <boost/asio/io_context.hpp>

namespace culvert::ctl::testing {

/// Runs handlers until `holds`; false when it does not within a minute, so that a defect fails a
/// test and does not hang it.
inline bool run_until(boost::asio::io_context& io, const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        if (io.stopped()) {
            io.restart();
        }
        io.run_one_for(std::chrono::milliseconds(10));
    }
    return true;
}

}  // namespace culvert::ctl::testing
