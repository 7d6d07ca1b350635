// SPDX-License-Identifier: GPL-2.0-or-later
//
// Follows the host's firewall in a thread of its own, as reading it may wait for a lock that
// another program holds, and keeps the automatic rules ([firewall] manage). Rules that change are
// seen within half a second.
//
// Functions: the thread that made it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "firewall/host.hpp"

namespace culvert::firewall {

class Guard {
public:
    using Factory = std::function<std::unique_ptr<HostFirewall>()>;

    /// Reads the policy once, and starts the thread. `make` is called in it.
    explicit Guard(Factory make);
    ~Guard();  ///< Automatic rules stay: the tunnels' peers go on sending over a restart.
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    /// Readable when there is a policy or a message that was not taken.
    [[nodiscard]] int fd() const;
    /// The newest policy; never null. Clears fd().
    [[nodiscard]] std::shared_ptr<const Policy> take();
    /// What happened since the last call: rules inserted or erased, and failures, a sentence each.
    struct Message {
        bool is_warning = false;
        std::string text;
    };
    [[nodiscard]] std::vector<Message> take_messages();

    /// The automatic rules there should be, from now on: missing ones are inserted, others of
    /// Culvert's automatic rules erased, and again whenever somebody changes that. Not called:
    /// rules are only read.
    void keep(std::vector<Selector> wanted);

private:
    struct Shared;
    std::unique_ptr<Shared> shared_;
};

}  // namespace culvert::firewall
