// SPDX-License-Identifier: GPL-2.0-or-later
//
// An Open_vSwitch database as the source of the daemon's state, in the part of ovs-vswitchd: each
// change of the database is applied, and what came of it is written back in one transaction with
// cur_cfg; status follows when it changes, counters every few seconds. While the server is away
// everything stays as it is. Control thread.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ctl/daemon.hpp"
#include "ctl/ovsdb/client.hpp"
#include "ctl/ovsdb_configuration.hpp"
#include "ctl/ovsdb_report.hpp"
#include "ctl/switch.hpp"
#include "ctl/system_statistics.hpp"

namespace culvert::ctl {

struct OvsdbControlOptions {
    std::vector<std::string> remotes;
    DesiredState base;    ///< What the database does not say.
    ovsdb::TlsFiles tls;  ///< Of the command line; files that it does not name come from SSL rows.
    std::string inventory = "/etc/xensource-inventory";
    SystemFiles system;  ///< For Open_vSwitch.statistics.
};

class OvsdbControl final : public ControlSource {
public:
    OvsdbControl(
        boost::asio::io_context& io, OvsdbControlOptions options, Switch& to, Ofports& ofports
    );

    /// `on_ready` is called once the first state has been applied and written back.
    [[nodiscard]] Result<void> start(std::function<void()> on_ready) override;
    /// Applies the database once more; it is followed without this.
    [[nodiscard]] Result<std::string> reload() override;
    void tick() override;
    [[nodiscard]] openflow::BridgeSettings openflow(const std::string& bridge) const override;

private:
    using Clock = std::chrono::steady_clock;

    void on_change();
    bool may_configure();
    void configure();
    [[nodiscard]] const OvsdbBridge* find_bridge(const std::string& name) const;
    void apply();
    void follow_addresses();
    [[nodiscard]] bool choose_addresses(OvsdbConfiguration& configuration);
    void assign_ofports();
    void let_go(const std::string& why);
    [[nodiscard]] OvsdbConfiguration read();
    void log_news(const OvsdbConfiguration& configuration);
    void write_back();
    void on_written(const Result<nlohmann::json>& results);
    [[nodiscard]] ReportSource report_source() const;
    [[nodiscard]] CounterSource counters();
    [[nodiscard]] bool statistics_due() const;

    boost::asio::io_context& io_;
    OvsdbControlOptions options_;
    Switch& switch_;
    Ofports& ofports_;
    std::string installation_uuid_;
    std::unique_ptr<ovsdb::Client> client_;
    std::function<void()> on_ready_;  ///< Empty once it was called.

    OvsdbConfiguration configuration_;  ///< What is applied.
    bool configured_ = false;
    std::map<std::string, std::string> failures_;
    std::set<std::string> warned_;  ///< Of the configuration that is applied.
    std::string held_off_;          ///< Why the database is not followed; logged once.
    std::string counters_trouble_;  ///< The same of the kernel's counters.

    bool writing_ = false;                ///< A transaction is on its way.
    bool status_due_ = false;             ///< Something may differ from what the database has.
    std::uint64_t reported_version_ = 0;  ///< Of the switch, when status was last compared.
    Clock::time_point statistics_at_{};   ///< When counters are due.
    Clock::time_point write_again_at_{};  ///< After a transaction that failed.
};

}  // namespace culvert::ctl
