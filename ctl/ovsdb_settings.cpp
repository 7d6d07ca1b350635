// SPDX-License-Identifier: GPL-2.0-or-later
//
// Settings of an Open_vSwitch database that concern a whole switch or bridge. See
// ovsdb_settings.hpp.
#include "ctl/ovsdb_settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ctl/config_words.hpp"
#include "ctl/openflow/protocols.hpp"
#include "ctl/ovsdb_ike.hpp"
#include "ctl/ovsdb_options.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

constexpr std::int64_t kAgeingS = 300;
constexpr std::int64_t kAgeingMinS = 15;
constexpr std::int64_t kAgeingMaxS = 3600;
constexpr std::int64_t kMacTable = 8192;
constexpr std::int64_t kMacTableMin = 16;  // Open vSwitch: 10.
constexpr std::int64_t kMacTableMax = 1000000;
constexpr std::int64_t kStatisticsMs = 5000;
constexpr std::int64_t kIdleMaxS = 3600;
constexpr std::size_t kDatapathIdDigits = 16;

constexpr const char* kStateDirKey = "culvert-state-dir";
constexpr std::array<std::string_view, 6> kOwnKeys{
    "culvert-firewall-enforce",
    "culvert-firewall-unknown",
    "culvert-firewall-manage",
    "culvert-ike",
    "culvert-vici",
    kStateDirKey};

/// What asks for something: a set or map that is not empty, `true`, a number other than 0, or a map
/// with enable=true.
enum class Asks : std::uint8_t { entry, truth, number, enable };

struct IgnoredColumn {
    std::string_view table;
    std::string_view column;
    Asks asks;
};

constexpr std::array<IgnoredColumn, 15> kIgnoredColumns{{
    {"Bridge", "mirrors", Asks::entry},
    {"Bridge", "netflow", Asks::entry},
    {"Bridge", "sflow", Asks::entry},
    {"Bridge", "ipfix", Asks::entry},
    {"Bridge", "flood_vlans", Asks::entry},
    {"Bridge", "stp_enable", Asks::truth},
    {"Bridge", "rstp_enable", Asks::truth},
    {"Bridge", "mcast_snooping_enable", Asks::truth},
    {"Port", "protected", Asks::truth},
    {"Port", "qos", Asks::entry},
    {"Interface", "ingress_policing_rate", Asks::number},
    {"Interface", "ingress_policing_kpkts_rate", Asks::number},
    {"Interface", "cfm_mpid", Asks::entry},
    {"Interface", "bfd", Asks::enable},
    {"Interface", "lldp", Asks::enable},
}};

bool does_ask(const ovsdb::Datum& datum, Asks asks) {
    switch (asks) {
    case Asks::truth:
        return datum.boolean().value_or(false);
    case Asks::number:
        return datum.integer().value_or(0) != 0;
    case Asks::enable:
        return boolean_option(datum.map(), "enable", false);
    case Asks::entry:
        break;
    }
    return !datum.keys.empty();
}

std::int64_t clamped(
    const std::string& about,
    const char* key,
    std::int64_t value,
    std::int64_t min,
    std::int64_t max,
    std::vector<std::string>& warnings
) {
    const std::int64_t taken = std::clamp(value, min, max);
    if (taken != value) {
        warnings.push_back(fmt::format(
            "{}: {}={} is out of range, {} is taken; valid: {}-{}",
            about,
            key,
            value,
            taken,
            min,
            max
        ));
    }
    return taken;
}

/// "0x5" -> CPUs 0 and 2; nothing when the text is no mask.
std::optional<std::vector<unsigned>> cpus_of_mask(std::string_view text) {
    if (text.starts_with("0x") || text.starts_with("0X")) {
        text.remove_prefix(2);
    }
    std::vector<unsigned> cpus;
    unsigned cpu = 0;
    for (auto digit = text.rbegin(); digit != text.rend(); ++digit, cpu += 4) {
        unsigned bits = 0;
        const auto [end, failure] = std::from_chars(&*digit, &*digit + 1, bits, 16);
        if (failure != std::errc{}) {
            return std::nullopt;
        }
        for (unsigned bit = 0; bit < 4; ++bit) {
            if ((bits >> bit & 1U) != 0) {
                cpus.push_back(cpu + bit);
            }
        }
    }
    return cpus.empty() ? std::nullopt : std::optional(cpus);
}

/// "1024,0" -> 1024.
std::optional<std::uint32_t> memory_of(const std::string& text) {
    std::uint64_t sum = 0;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
        const std::optional<std::int64_t> value = whole_number(part, 10);
        if (!value || *value < 0 || *value > std::numeric_limits<std::int32_t>::max()) {
            return std::nullopt;
        }
        sum += static_cast<std::uint64_t>(*value);
    }
    return sum == 0 || sum > std::numeric_limits<std::uint32_t>::max()
               ? std::nullopt
               : std::optional(static_cast<std::uint32_t>(sum));
}

void apply_start_option(const std::string& key, const std::string& value, DesiredState& state) {
    if (key == "pmd-cpu-mask") {
        if (auto cpus = cpus_of_mask(value); cpus && cpus->size() <= dataplane::kWorkersMax) {
            state.workers.cpus = *cpus;
            state.workers.count = 0;
        }
    } else if (key == "dpdk-lcore-mask") {
        state.daemon.control_cpus = cpus_of_mask(value).value_or(state.daemon.control_cpus);
    } else if (key == "dpdk-socket-mem" || key == "dpdk-alloc-mem") {
        state.dpdk.memory_mb = memory_of(value).value_or(state.dpdk.memory_mb);
    } else if (key == "dpdk-extra") {
        std::istringstream words(value);
        std::vector<std::string> args;
        for (std::string word; words >> word;) {
            args.push_back(word);
        }
        state.dpdk.extra_args = args.empty() ? state.dpdk.extra_args : args;
    } else if (key == kStateDirKey && value.starts_with('/')) {
        state.daemon.state_dir = value;
    } else if (key == "flow-limit") {
        if (const auto limit = whole_number(value, 10); limit && *limit > 0) {
            state.flow_cache.max_flows = static_cast<std::uint32_t>(
                std::clamp<std::int64_t>(*limit, dataplane::kFlowsMin, dataplane::kFlowsMax)
            );
        }
    }
}

void warn_of_start_options(
    const OvsdbOptions& options, const DesiredState& base, std::vector<std::string>& warnings
) {
    for (const auto& [key, value] : options) {
        const bool is_mask = key == "pmd-cpu-mask" || key == "dpdk-lcore-mask";
        if (is_mask && !value.empty() && !cpus_of_mask(value)) {
            warnings.push_back(fmt::format(
                "other_config:{}={} is ignored; valid: a mask of CPUs in hexadecimal digits",
                key,
                value
            ));
            continue;
        }
        if (key == kStateDirKey && !value.starts_with('/')) {
            warnings.push_back(fmt::format(
                "other_config:{}={} is ignored; valid: the absolute path of a folder", key, value
            ));
            continue;
        }
        DesiredState asked = base.without_items();
        apply_start_option(key, value, asked);
        if (asked != base.without_items()) {
            warnings.push_back(fmt::format(
                "other_config:{}={} is not in force; it is taken when the daemon starts", key, value
            ));
        }
    }
}

template <class E, std::size_t N>
void read_word(
    const OvsdbOptions& options,
    const std::string& key,
    const std::array<Word<E>, N>& words,
    E& out,
    std::vector<std::string>& warnings
) {
    const std::string* text = find_option(options, key);
    if (text == nullptr) {
        return;
    }
    std::string valid;
    for (const Word<E>& word : words) {
        if (word.word == *text) {
            out = word.value;
            return;
        }
        valid += (valid.empty() ? "" : ", ") + std::string(word.word);
    }
    warnings.push_back(
        fmt::format("other_config:{}={} is unknown and ignored; valid: {}", key, *text, valid)
    );
}

void read_firewall(
    const OvsdbOptions& options, FirewallConfig& firewall, std::vector<std::string>& warnings
) {
    static constexpr std::array<Word<bool>, 2> kTruthWords{{{"true", true}, {"false", false}}};
    read_word(options, "culvert-firewall-enforce", kTruthWords, firewall.enforce, warnings);
    read_word(options, "culvert-firewall-unknown", kUnknownWords, firewall.unknown, warnings);
    read_word(options, "culvert-firewall-manage", kManageWords, firewall.manage, warnings);
}

/// Open vSwitch has no such keys, so a wrong one is a mistake.
void warn_of_unknown_options(const OvsdbOptions& options, std::vector<std::string>& warnings) {
    for (const auto& [key, value] : options) {
        if (key.starts_with("culvert-") &&
            std::find(kOwnKeys.begin(), kOwnKeys.end(), key) == kOwnKeys.end()) {
            warnings.push_back(fmt::format(
                "other_config:{} is unknown and ignored; valid: {}", key, fmt::join(kOwnKeys, ", ")
            ));
        }
    }
}

/// 16 hexadecimal digits, or up to as many behind "0x"; not all zero.
std::string datapath_id_of(const std::string& text) {
    std::string_view digits = text;
    const bool prefixed = digits.starts_with("0x") || digits.starts_with("0X");
    digits.remove_prefix(prefixed ? 2 : 0);
    std::uint64_t id = 0;
    const auto [end, failure] =
        std::from_chars(digits.data(), digits.data() + digits.size(), id, 16);
    if (failure != std::errc{} || end != digits.data() + digits.size() || id == 0 ||
        digits.size() > kDatapathIdDigits || (!prefixed && digits.size() != kDatapathIdDigits)) {
        return {};
    }
    return fmt::format("{:016x}", id);
}

/// Words that are no version are passed over; if none is left, every version is spoken.
void read_protocols(
    const ovsdb::Row& row, OvsdbBridge& bridge, std::vector<std::string>& warnings
) {
    const std::vector<std::string> words = ovsdb::column(row, "protocols").strings();
    bridge.openflow = openflow::versions_of(words);
    if (bridge.openflow == 0) {
        warnings.push_back(fmt::format(
            "bridge {}: protocols={} is ignored; valid: OpenFlow10 to OpenFlow15",
            bridge.name,
            fmt::join(words, ",")
        ));
        bridge.openflow = openflow::kAllVersions;
    }
}

}  // namespace

const ovsdb::Rows::value_type* ovsdb_root(const ovsdb::Replica& replica) {
    const ovsdb::Rows& rows = replica.rows("Open_vSwitch");
    return rows.empty() ? nullptr : &*rows.begin();
}

DesiredState start_options(const ovsdb::Replica& replica, const DesiredState& base) {
    DesiredState state = base;
    if (const auto* root = ovsdb_root(replica); root != nullptr) {
        for (const auto& [key, value] : ovsdb::column(root->second, "other_config").map()) {
            apply_start_option(key, value, state);
        }
    }
    return state;
}

void read_ovsdb_root(
    const ovsdb::Replica& replica, const DesiredState& base, OvsdbConfiguration& configuration
) {
    configuration.state = base.without_items();
    const auto* root = ovsdb_root(replica);
    if (root == nullptr) {
        return;
    }
    const ovsdb::Row& row = root->second;
    configuration.root = root->first;
    configuration.next_cfg = ovsdb::column(row, "next_cfg").integer().value_or(0);
    configuration.cur_cfg = ovsdb::column(row, "cur_cfg").integer().value_or(0);
    const OvsdbOptions options = ovsdb::column(row, "other_config").map();
    configuration.flow_restore_wait = boolean_option(options, "flow-restore-wait", false);
    configuration.state.hold = configuration.flow_restore_wait;
    configuration.enable_statistics = boolean_option(options, "enable-statistics", false);
    configuration.stats_update_interval_ms = static_cast<std::uint32_t>(
        std::max(integer_option(options, "stats-update-interval", kStatisticsMs), kStatisticsMs)
    );
    if (const std::int64_t idle_ms = integer_option(options, "max-idle", -1); idle_ms >= 0) {
        const std::int64_t idle_s = idle_ms / 1000 + (idle_ms % 1000 == 0 ? 0 : 1);
        if (idle_s < 1 || idle_s > kIdleMaxS) {
            configuration.warnings.push_back(fmt::format(
                "other_config:max-idle={} is out of range; valid: 1-{} ms",
                idle_ms,
                kIdleMaxS * 1000
            ));
        }
        configuration.state.flow_cache.idle_timeout_s =
            static_cast<std::uint32_t>(std::clamp<std::int64_t>(idle_s, 1, kIdleMaxS));
    }
    read_firewall(options, configuration.state.firewall, configuration.warnings);
    read_ovsdb_ike_daemon(options, configuration.state.ike, configuration.warnings);
    warn_of_unknown_options(options, configuration.warnings);
    warn_of_start_options(options, base, configuration.warnings);
    for (const ovsdb::Uuid& uuid : ovsdb::column(row, "ssl").uuids()) {
        if (const ovsdb::Row* ssl = replica.find("SSL", uuid); ssl != nullptr) {
            const auto text = [&](std::string_view column) {
                return ovsdb::column(*ssl, column).string().value_or("");
            };
            configuration.tls = {text("private_key"), text("certificate"), text("ca_cert")};
        }
    }
}

void read_ovsdb_bridge(
    const ovsdb::Row& row,
    OvsdbBridge& bridge,
    BridgeConfig& config,
    std::vector<std::string>& warnings
) {
    const OvsdbOptions options = ovsdb::column(row, "other_config").map();
    const std::string about = "bridge " + bridge.name;
    const auto number =
        [&](const char* key, std::int64_t otherwise, std::int64_t min, std::int64_t max) {
            const std::int64_t value = integer_option(options, key, 0);
            return static_cast<std::uint32_t>(
                clamped(about, key, value == 0 ? otherwise : value, min, max, warnings)
            );
        };
    config.mac_ageing_s = number("mac-aging-time", kAgeingS, kAgeingMinS, kAgeingMaxS);
    config.mac_table_size = number("mac-table-size", kMacTable, kMacTableMin, kMacTableMax);
    read_protocols(row, bridge, warnings);
    bridge.fail_secure = ovsdb::column(row, "fail_mode").string() == "secure";
    if (const std::string* id = find_option(options, "datapath-id"); id != nullptr) {
        bridge.datapath_id_config = datapath_id_of(*id);
        if (bridge.datapath_id_config.empty()) {
            warnings.push_back(fmt::format(
                "{}: datapath-id={} is ignored; valid: 16 hexadecimal digits, not all zero",
                about,
                *id
            ));
        }
    }
    const std::string* hwaddr = find_option(options, "hwaddr");
    if (hwaddr == nullptr) {
        return;
    }
    bridge.hwaddr = parse_ovsdb_mac(*hwaddr);
    if (!bridge.hwaddr) {
        warnings.push_back(fmt::format(
            "{}: hwaddr={} is ignored; valid: six hexadecimal octets such as 02:00:00:00:00:01",
            about,
            *hwaddr
        ));
    } else if (bridge.hwaddr->is_group() || bridge.hwaddr->is_zero()) {
        warnings.push_back(fmt::format(
            "{}: cannot set MAC address to {} address {}",
            about,
            bridge.hwaddr->is_zero() ? "zero" : "multicast",
            bridge.hwaddr->to_string()
        ));
        bridge.hwaddr.reset();
    }
}

void warn_of_ignored_columns(
    std::string_view table,
    const ovsdb::Row& row,
    const std::string& name,
    std::vector<std::string>& warnings
) {
    for (const IgnoredColumn& ignored : kIgnoredColumns) {
        if (ignored.table == table && does_ask(ovsdb::column(row, ignored.column), ignored.asks)) {
            warnings.push_back(fmt::format(
                "{} {}: column {} has no effect, since the switch does no such thing",
                table,
                name,
                ignored.column
            ));
        }
    }
}

namespace {

std::set<std::string> interface_columns() {
    return {
        "name",
        "type",
        "options",
        "mac",
        "ofport_request",
        "mtu_request",
        "ingress_policing_rate",
        "ingress_policing_kpkts_rate",
        "bfd",
        "cfm_mpid",
        "lldp",
        "other_config",
        "ofport",
        "error",
        "status",
        "admin_state",
        "link_state",
        "link_resets",
        "link_speed",
        "duplex",
        "mtu",
        "mac_in_use",
        "ifindex",
        "statistics",
        "lacp_current"};
}

}  // namespace

const ovsdb::Wanted& wanted_columns() {
    static const ovsdb::Wanted wanted{
        {"Open_vSwitch",
         {"bridges",
          "ssl",
          "next_cfg",
          "other_config",
          "cur_cfg",
          "datapath_types",
          "iface_types",
          "dpdk_initialized",
          "dpdk_version",
          "statistics"}},
        {"Bridge",
         {"name",
          "datapath_type",
          "ports",
          "controller",
          "protocols",
          "fail_mode",
          "other_config",
          "mirrors",
          "netflow",
          "sflow",
          "ipfix",
          "flood_vlans",
          "stp_enable",
          "rstp_enable",
          "mcast_snooping_enable",
          "datapath_id",
          "datapath_version",
          "status",
          "rstp_status"}},
        {"Port",
         {"name",
          "interfaces",
          "tag",
          "trunks",
          "vlan_mode",
          "fake_bridge",
          "mac",
          "bond_mode",
          "lacp",
          "bond_updelay",
          "bond_downdelay",
          "bond_fake_iface",
          "protected",
          "qos",
          "other_config",
          "bond_active_slave",
          "status",
          "rstp_status",
          "statistics"}},
        {"Interface", interface_columns()},
        {"SSL", {"private_key", "certificate", "ca_cert"}},
    };
    return wanted;
}

}  // namespace culvert::ctl
