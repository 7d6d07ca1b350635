// SPDX-License-Identifier: GPL-2.0-or-later
//
// See ovsdb_control.hpp.

#include "ctl/ovsdb_control.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/log.hpp"

namespace culvert::ctl {

namespace {

constexpr const char* kRootTable = "Open_vSwitch";
constexpr const char* kLock = "ovs_vswitchd";
constexpr auto kRetryInterval = std::chrono::seconds(1);

}  // namespace

OvsdbControl::OvsdbControl(
    boost::asio::io_context& io, OvsdbControlOptions options, Switch& to, Ofports& ofports
)
    : io_(io), options_(std::move(options)), switch_(to), ofports_(ofports),
      installation_uuid_(read_installation_uuid(options_.inventory)) {}

Result<void> OvsdbControl::start(std::function<void()> on_ready) {
    on_ready_ = std::move(on_ready);
    ovsdb::ClientOptions client;
    client.remotes = options_.remotes;
    client.lock = kLock;
    client.wanted = wanted_columns();
    client.tls = options_.tls;
    client_ = std::make_unique<ovsdb::Client>(io_, std::move(client));
    client_->on_change = [this] { on_change(); };
    return {};
}

Result<std::string> OvsdbControl::reload() {
    if (!may_configure()) {
        return tl::unexpected(client_->status() + "; the running configuration stays");
    }
    configure();
    return "the database is followed by itself: " + client_->status() + "\n";
}

/// Whether the database's contents are complete and ours to follow.
bool OvsdbControl::may_configure() {
    if (!client_->is_synchronised()) {
        return false;
    }
    if (client_->has_lock()) {
        return true;
    }
    if (client_->is_lock_contended()) {
        let_go(
            std::string("another process holds the database's lock ") + kLock +
            ": it is the switch of this host, and nothing is done until it ends"
        );
    }
    return false;
}

/// Two switches on one set of interfaces would fight for each of them.
void OvsdbControl::let_go(const std::string& why) {
    if (held_off_ == why) {
        return;
    }
    held_off_ = why;
    logger("ovsdb").error("{}", why);
    if (configured_) {
        configured_ = false;
        configuration_ = {};
        DesiredState nothing = options_.base.without_items();
        nothing.keep_devices = true;
        static_cast<void>(switch_.apply(nothing, ApplyMode::let_go));
        ofports_.assign({});
        tell_configured();
    }
}

void OvsdbControl::on_change() {
    if (!may_configure()) {
        return;
    }
    configure();
    write_back();
}

OvsdbConfiguration OvsdbControl::read() {
    OvsdbConfiguration next = make_configuration(client_->replica(), options_.base);
    // Once let go, packets flow (ovs-vswitchd.conf.db(5): true counts at the start only).
    next.flow_restore_wait =
        next.flow_restore_wait && (!configured_ || configuration_.flow_restore_wait);
    next.state.hold = next.flow_restore_wait;
    next.state.keep_devices = true;
    static_cast<void>(choose_addresses(next));
    return next;
}

bool OvsdbControl::choose_addresses(OvsdbConfiguration& configuration) {
    const PortsByName ports(switch_.model());
    return ctl::choose_addresses(
        configuration,
        [&](const std::string& interface) -> std::optional<tunnels::MacAddress> {
            const SwitchPort* port = ports.find(interface);
            if (port != nullptr) {
                return port->device ? std::optional(port->mac) : std::nullopt;
            }
            const auto link = switch_.underlay().link(interface);
            return link ? std::optional(link->mac) : std::nullopt;
        }
    );
}

void OvsdbControl::configure() {
    OvsdbConfiguration next = read();
    if (next.root.text.empty()) {
        // It was made anew, or not yet made: nothing in it says that something should go.
        const std::string why =
            "the database has no row in table Open_vSwitch (ovs-vsctl init makes it); everything "
            "stays as it is";
        if (std::exchange(held_off_, why) != why) {
            logger("ovsdb").warn("{}", why);
        }
        return;
    }
    held_off_.clear();
    log_news(next);
    const ovsdb::TlsFiles tls = options_.tls == ovsdb::TlsFiles{} ? next.tls : options_.tls;
    client_->set_tls(tls);
    const bool changed = !configured_ || !(next.state == configuration_.state);
    configuration_ = std::move(next);
    configured_ = true;
    if (changed) {
        apply();
    }
    follow_addresses();
    assign_ofports();
    status_due_ = true;
    tell_configured();
}

void OvsdbControl::apply() {
    const auto applied = switch_.apply(configuration_.state, ApplyMode::item_by_item);
    if (!applied) {
        logger("ovsdb").error("{}; the running configuration stays", applied.error());
    } else if (!applied->trouble.empty()) {
        logger("ovsdb").warn("{}", applied->trouble);
    }
}

/// Devices that came, went or have another address give their bridge another one.
void OvsdbControl::follow_addresses() {
    if (choose_addresses(configuration_)) {
        apply();
        tell_configured();
    }
}

/// Numbers are for interfaces that are there; one that comes back gets the one that it had.
void OvsdbControl::assign_ofports() {
    failures_ = switch_.failures();
    auto requests = ofport_requests(configuration_);
    for (Ofports::Request& request : requests) {
        request.absent = failures_.contains(request.interface);
    }
    ofports_.assign(requests);
}

void OvsdbControl::log_news(const OvsdbConfiguration& configuration) {
    std::set<std::string> warnings(configuration.warnings.begin(), configuration.warnings.end());
    for (const OvsdbInterface& interface : configuration.interfaces) {
        if (!interface.error.empty()) {
            warnings.insert("interface " + interface.name + ": " + interface.error);
        }
    }
    for (const std::string& warning : warnings) {
        if (!warned_.contains(warning)) {
            logger("ovsdb").warn("{}", warning);
        }
    }
    warned_ = std::move(warnings);
}

void OvsdbControl::tick() {
    if (!configured_) {
        return;
    }
    if (switch_.version() != reported_version_) {
        // An interface that came or went has its number, or its error, from now on.
        if (switch_.failures() != failures_) {
            assign_ofports();
        }
        follow_addresses();
        status_due_ = true;
    }
    if ((status_due_ || statistics_due()) && Clock::now() >= write_again_at_) {
        write_back();
    }
}

/// Null: it is not in the state.
const OvsdbBridge* OvsdbControl::find_bridge(const std::string& name) const {
    const auto& bridges = configuration_.bridges;
    const auto found = std::lower_bound(
        bridges.begin(),
        bridges.end(),
        name,
        [](const OvsdbBridge& a, const std::string& than) { return a.name < than; }
    );
    return found == bridges.end() || found->name != name || !found->in_state ? nullptr : &*found;
}

openflow::BridgeSettings OvsdbControl::openflow(const std::string& bridge) const {
    constexpr int kHexadecimal = 16;
    const OvsdbBridge* found = find_bridge(bridge);
    if (found == nullptr) {
        return {};
    }
    return {
        std::stoull(datapath_id(*found, installation_uuid_), nullptr, kHexadecimal),
        found->openflow};
}

bool OvsdbControl::statistics_due() const {
    return Clock::now() >= statistics_at_;
}

ReportSource OvsdbControl::report_source() const {
    return {configuration_, switch_.model(), ofports_, switch_.underlay(), installation_uuid_};
}

CounterSource OvsdbControl::counters() {
    CounterSource source;
    source.totals = [this](const SwitchPort& port) { return switch_.totals(port); };
    auto links = read_link_statistics();
    const std::string trouble = links ? "" : links.error();
    if (trouble != counters_trouble_ && !trouble.empty()) {
        logger("ovsdb").warn("{} The switch's own stand in for them.", trouble);
    }
    counters_trouble_ = trouble;
    source.links = links ? std::move(*links) : LinkStatisticsMap{};
    if (configuration_.enable_statistics) {
        source.system = system_statistics(options_.system);
    }
    return source;
}

/// Everything that is due, in one transaction; one at a time.
void OvsdbControl::write_back() {
    if (writing_ || !configured_ || !client_->is_synchronised() || !client_->has_lock()) {
        return;
    }
    reported_version_ = switch_.version();
    status_due_ = false;
    Report report = status_report(report_source());
    if (statistics_due()) {
        statistics_at_ =
            Clock::now() + std::chrono::milliseconds(configuration_.stats_update_interval_ms);
        for (auto& [row, columns] : statistics_report(report_source(), counters())) {
            report[row].merge(columns);
        }
    }
    report[{kRootTable, configuration_.root}].insert_or_assign(
        "cur_cfg", ovsdb::set_of(ovsdb::Atom(configuration_.next_cfg))
    );
    nlohmann::json changes = operations(
        report,
        client_->replica(),
        [this](const std::string& table, const std::string& column) {
            return client_->has_column(table, column);
        }
    );
    if (changes.empty()) {
        on_written(nlohmann::json::array());
        return;
    }
    changes.insert(changes.begin(), nlohmann::json{{"op", "assert"}, {"lock", kLock}});
    writing_ = true;
    client_->transact(changes, [this](const Result<nlohmann::json>& results) {
        writing_ = false;
        on_written(results);
    });
}

void OvsdbControl::on_written(const Result<nlohmann::json>& results) {
    if (!results) {
        // What is missing then is written when the server is back, or the row has changed.
        logger("ovsdb").warn("status was not written: {}", results.error());
        write_again_at_ = Clock::now() + kRetryInterval;
        status_due_ = true;
        return;
    }
    if (on_ready_) {
        std::exchange(on_ready_, nullptr)();
    }
}

}  // namespace culvert::ctl
