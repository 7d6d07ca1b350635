// SPDX-License-Identifier: GPL-2.0-or-later
//
// POSIX lets a handler of SIGABRT leave abort() by a jump. In a thread that did not ask for that
// the handler returns, and abort() goes on to end the process.
#include "firewall/abort_guard.hpp"

#include <csetjmp>
#include <csignal>

namespace culvert::firewall {

namespace {

thread_local sigjmp_buf* landing = nullptr;

extern "C" void leave_abort(int) {
    if (landing != nullptr) {
        siglongjmp(*landing, 1);
    }
}

}  // namespace

bool survives_abort(const std::function<void()>& work) {
    struct sigaction before {};
    struct sigaction during {};
    during.sa_handler = leave_abort;
    sigaction(SIGABRT, &during, &before);
    sigjmp_buf place;
    const bool aborted = sigsetjmp(place, 1) != 0;  // NOLINT(cert-err52-cpp)
    if (!aborted) {
        landing = &place;
        work();
    }
    landing = nullptr;
    sigaction(SIGABRT, &before, nullptr);
    return !aborted;
}

}  // namespace culvert::firewall
