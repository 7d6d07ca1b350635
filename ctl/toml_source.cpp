// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads a configuration file: TOML 1.0.0 text, its sections, then what items say about each other.
// Includes, variables and several files are not handled. Control thread.
#include "ctl/toml_source.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <map>
#include <system_error>

#include "ctl/private_files.hpp"
#include "ctl/sentence.hpp"
#include "ctl/toml_esp.hpp"
#include "ctl/toml_items.hpp"
#include "ctl/toml_table.hpp"
#include "ctl/toml_tunnel.hpp"
#include "ctl/validate.hpp"
#include "dataplane/limits.hpp"

namespace culvert::ctl {

namespace {

constexpr std::size_t kFileBytesMax = std::size_t{16} << 20U;
/// The TOML parser nests one table in another for each dot of a key and takes them down
/// recursively, so a line of nothing but dots would end the stack.
constexpr std::size_t kLineBytesMax = 16384;

constexpr std::uint64_t kCpuMax = 1023;  // CPU_SETSIZE - 1.
/// Leaves room for the names of files inside.
constexpr std::size_t kStateDirBytesMax = 3800;
constexpr std::size_t kFilePrefixBytesMax = 32;

constexpr std::array<const Section*, 16> kSections{
    &kDaemonSection,
    &kDpdkSection,
    &kWorkersSection,
    &kFlowCacheSection,
    &kFirewallSection,
    &kIkeSection,
    &kBridgeSection,
    &kBridgeLocalSection,
    &kStaticMacSection,
    &kEidSection,
    &kRlocSection,
    &kPortSection,
    &kBondSection,
    &kTunnelSection,
    &kTunnelEspSection,
    &kTunnelIkeSection};

const Section* find_section(std::string_view name) {
    const auto found =
        std::find_if(kSections.begin(), kSections.end(), [&](const Section* section) {
            return section->name == name;
        });
    return found == kSections.end() ? nullptr : *found;
}

/// The number of the first line that is too long, or 0.
std::uint32_t find_overlong_line(std::string_view text) {
    for (std::uint32_t line = 1; !text.empty(); ++line) {
        const std::size_t end = text.find('\n');
        if (std::min(end, text.size()) > kLineBytesMax) {
            return line;
        }
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return 0;
}

/// The parser's own words, which quote the file and may be cut off inside a character.
std::string parser_sentence(std::string_view description) {
    std::string text(description);
    for (char& c : text) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (byte < 0x20 || byte >= 0x7f) {
            c = '?';
        }
    }
    if (!text.empty() && text[0] == 'E') {
        text[0] = 'e';
    }
    return text;
}

/// The text of a line, counted from 1, without the blanks around it.
std::string_view line_text(std::string_view text, std::uint32_t line) {
    for (std::uint32_t i = 1; i < line && !text.empty(); ++i) {
        text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    }
    static constexpr std::string_view kBlanks = " \t\r";
    text = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

std::string syntax_sentence(std::string_view text, const toml::parse_error& error) {
    std::string described = parser_sentence(error.description());
    if (!described.ends_with("is not representable in 64 bits")) {
        return described;
    }
    // The parser gives up before a key is known that could say its own range.
    return quote(line_text(text, error.source().begin.line)) +
           " holds an integer that is out of range; valid: -9223372036854775808 to "
           "9223372036854775807 at most";
}

void check_sections(const toml::table& root, FirstError& error) {
    std::string valid;
    for (const std::string_view name : kSectionKeys) {
        valid += (valid.empty() ? "" : ", ") + find_section(name)->title();
    }
    for (const auto& [key, node] : root) {
        if (std::find(kSectionKeys.begin(), kSectionKeys.end(), key.str()) != kSectionKeys.end()) {
            continue;
        }
        const bool is_section = node.is_table() || node.is_array_of_tables();
        std::string text = is_section ? "unknown section " : "unknown key outside of a section ";
        text += quote(key.str());
        if (const std::string_view meant = nearest(key.str(), kSectionKeys);
            is_section && !meant.empty()) {
            text += " (did you mean " + find_section(meant)->title() + "?)";
        }
        const auto line = static_cast<std::uint32_t>(key.source().begin.line);
        text.append("; valid sections: ").append(valid);
        error.report(line, "", text);
    }
}

void read_cpus(const TomlTable& table, std::string_view key, std::vector<unsigned>& cpus) {
    table.read_list(key, Range{0, kCpuMax}, cpus);
    for (std::size_t i = 1; i < cpus.size(); ++i) {
        const auto end = cpus.begin() + static_cast<std::ptrdiff_t>(i);
        if (std::find(cpus.begin(), end, cpus[i]) != end) {
            table.invalid_element(key, i, "is listed twice", "each CPU once");
            return;
        }
    }
}

DaemonConfig read_daemon(const TomlTable& table) {
    DaemonConfig daemon;
    read_path(table, "socket", kSocketPathBytesMax, daemon.socket);
    table.read("log_level", kLogLevelWords, daemon.log_level);
    read_path(table, "log_file", kPathBytesMax, daemon.log_file);
    read_cpus(table, "control_cpus", daemon.control_cpus);
    read_path(table, "state_dir", kStateDirBytesMax, daemon.state_dir);
    return daemon;
}

DpdkConfig read_dpdk(const TomlTable& table) {
    DpdkConfig dpdk;
    table.read_name("file_prefix", kFilePrefixBytesMax, dpdk.file_prefix);
    table.read_list("extra_args", "one EAL argument each", dpdk.extra_args);
    table.read("memory_mb", Range{0, 1048576}, dpdk.memory_mb);
    table.read("hugepages", kHugepagesWords, dpdk.hugepages);
    table.read("mbufs", Range{0, dataplane::kPacketBuffersMax}, dpdk.mbufs);
    if (dpdk.mbufs != 0 && dpdk.mbufs < dataplane::kPacketBuffersMin) {
        table.invalid("mbufs", "is too few", "0 (automatic) or 4096-1048576");
    }
    return dpdk;
}

WorkerConfig read_workers(const TomlTable& table) {
    WorkerConfig workers;
    table.read("count", Range{0, dataplane::kWorkersMax}, workers.count);
    read_cpus(table, "cpus", workers.cpus);
    table.read("idle", kIdleWords, workers.idle_sleep);
    table.read("idle_sleep_us", Range{1, 10000}, workers.idle_sleep_us);
    table.read("spread", workers.spread);
    const std::size_t pinned = workers.cpus.size();
    if (pinned > dataplane::kWorkersMax) {
        table.fail(
            "cpus",
            "cpus lists " + std::to_string(pinned) + " CPUs; valid: at most " +
                std::to_string(dataplane::kWorkersMax)
        );
    } else if (pinned != 0 && workers.count != 0 && workers.count != pinned) {
        table.invalid(
            "count",
            "contradicts cpus, which lists " + std::to_string(pinned) + " CPUs",
            std::to_string(pinned) + ", or no such key"
        );
    }
    return workers;
}

FlowCacheConfig read_flow_cache(const TomlTable& table) {
    FlowCacheConfig flow_cache;
    table.read(
        "max_flows", Range{dataplane::kFlowsMin, dataplane::kFlowsMax}, flow_cache.max_flows
    );
    table.read("idle_timeout_s", Range{1, 3600}, flow_cache.idle_timeout_s);
    return flow_cache;
}

FirewallConfig read_firewall(const TomlTable& table) {
    FirewallConfig firewall;
    table.read("enforce", firewall.enforce);
    table.read("unknown", kUnknownWords, firewall.unknown);
    table.read("manage", kManageWords, firewall.manage);
    table.read("backend", kBackendWords, firewall.backend);
    return firewall;
}

/// A port learns from its bond that it is a member; validate() finds what does not fit.
void give_members(DesiredState& state) {
    std::map<std::string_view, std::string_view> bond_of;
    for (const BondConfig& bond : state.bonds) {
        for (const std::string& member : bond.members) {
            bond_of.emplace(member, bond.name);
        }
    }
    for (PortConfig& port : state.ports) {
        if (const auto found = bond_of.find(port.name); found != bond_of.end()) {
            port.bond = found->second;
        }
    }
}

DesiredState read_state(const toml::table& root, FirstError& error) {
    DesiredState state;
    check_sections(root, error);
    const auto tables = [&](const Section& section) {
        return TomlTable::sections(root, section.name, section, {}, error);
    };
    for (const TomlTable& table : tables(kDaemonSection)) {
        state.daemon = read_daemon(table);
    }
    for (const TomlTable& table : tables(kDpdkSection)) {
        state.dpdk = read_dpdk(table);
    }
    for (const TomlTable& table : tables(kWorkersSection)) {
        state.workers = read_workers(table);
    }
    for (const TomlTable& table : tables(kFlowCacheSection)) {
        state.flow_cache = read_flow_cache(table);
    }
    for (const TomlTable& table : tables(kFirewallSection)) {
        state.firewall = read_firewall(table);
    }
    for (const TomlTable& table : tables(kIkeSection)) {
        state.ike = read_ike_daemon(table);
    }
    for (const TomlTable& table : tables(kBridgeSection)) {
        state.bridges.push_back(read_bridge(table));
    }
    for (const TomlTable& table : tables(kPortSection)) {
        state.ports.push_back(read_port(table));
    }
    for (const TomlTable& table : tables(kBondSection)) {
        state.bonds.push_back(read_bond(table));
    }
    give_members(state);
    for (const TomlTable& table : tables(kTunnelSection)) {
        state.tunnels.push_back(read_tunnel(table));
    }
    return state;
}

}  // namespace

Result<DesiredState> parse_toml(std::string_view text, std::string_view file) {
    FirstError error(file);
    if (const std::uint32_t line = find_overlong_line(text); line != 0) {
        error.report(
            line,
            "",
            "the line is too long; valid: at most " + std::to_string(kLineBytesMax) + " bytes"
        );
        return tl::unexpected(error.text());
    }
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed) {
        const toml::source_position at = parsed.error().source().begin;
        return tl::unexpected(
            std::string(file) + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) +
            ": " + syntax_sentence(text, parsed.error())
        );
    }
    DesiredState state = read_state(parsed.table(), error);
    if (error.found()) {
        return tl::unexpected(error.text());
    }
    if (Result<void> valid = validate(state); !valid) {
        return tl::unexpected(valid.error());
    }
    return state;
}

Result<DesiredState> load_toml(const std::string& path) {
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    std::string text;
    std::array<char, 65536> chunk{};
    while (stream && text.size() <= kFileBytesMax) {
        stream.read(chunk.data(), chunk.size());
        text.append(chunk.data(), static_cast<std::size_t>(stream.gcount()));
    }
    if (!stream.is_open() || stream.bad()) {
        return tl::unexpected(
            "the configuration file " + quote(path) +
            " cannot be read: " + std::generic_category().message(errno)
        );
    }
    if (text.size() > kFileBytesMax) {
        return tl::unexpected(
            "the configuration file " + quote(path) + " is too large; valid: at most " +
            std::to_string(kFileBytesMax) + " bytes"
        );
    }
    Result<DesiredState> state = parse_toml(text, path);
    if (state) {
        if (Result<void> read = read_private_files(*state); !read) {
            return tl::unexpected(read.error());
        }
    }
    return state;
}

std::vector<ConfigKey> config_keys() {
    std::vector<ConfigKey> keys;
    for (const Section* section : kSections) {
        for (const std::string_view key : section->keys) {
            // A section inside a section is listed by its own keys.
            if (find_section(std::string(section->name) + "." + std::string(key)) == nullptr) {
                keys.push_back({section->name, key});
            }
        }
    }
    return keys;
}

}  // namespace culvert::ctl
