// SPDX-License-Identifier: GPL-2.0-or-later
//
// The OpenFlow sockets of all bridges: they come and go with the bridges. Control thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "ctl/commands.hpp"
#include "ctl/openflow/session.hpp"

namespace boost::asio {
class io_context;
}

namespace culvert::ctl::openflow {

/// What a bridge's configuration says of OpenFlow.
struct BridgeSettings {
    std::optional<std::uint64_t> datapath_id = {};  ///< Absent: made from the bridge's MAC.
    Versions versions = kAllVersions;
    bool operator==(const BridgeSettings&) const = default;
};

class Bridges {
public:
    using SettingsOf = std::function<BridgeSettings(const std::string& bridge)>;

    /// Sockets are made in `folder`. `context` is copied; what it refers to outlives this object.
    Bridges(
        boost::asio::io_context& io,
        std::string folder,
        const CommandContext& context,
        SettingsOf settings_of
    );
    ~Bridges();
    Bridges(const Bridges&) = delete;
    Bridges& operator=(const Bridges&) = delete;

    /// Makes the sockets be those of the bridges there are; cheap when nothing changed.
    void update();

private:
    struct Entry;

    boost::asio::io_context& io_;
    std::string folder_;
    CommandContext context_;
    SettingsOf settings_of_;
    std::map<std::string, std::unique_ptr<Entry>> entries_;
    std::set<std::string> failed_;  ///< Sockets of which was said that they cannot be had.
};

}  // namespace culvert::ctl::openflow
