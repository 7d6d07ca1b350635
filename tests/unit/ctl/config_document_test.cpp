// SPDX-License-Identifier: GPL-2.0-or-later
//
// The keys of the parser, docs/configuration.md and ctl/culvert.toml.example agree: the document
// cannot name a key, a default or an error that the parser does not have, nor leave out a key.
#include "ctl/toml_source.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/plan.hpp"
#include "tests/unit/ctl/toml_texts.hpp"
#include "tests/unit/source_dir.hpp"

namespace culvert::ctl {

std::ostream& operator<<(std::ostream& out, const ConfigKey& key) {
    return out << "[" << key.section << "] " << key.key;
}

bool operator<(const ConfigKey& a, const ConfigKey& b) {
    return std::tie(a.section, a.key) < std::tie(b.section, b.key);
}

namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// What stands around a key of a section in a file that is as short as it can be.
struct Surroundings {
    std::string before;
    std::vector<std::pair<std::string, std::string>> keys;  ///< Those the section must have.
    std::string behind;
};

const Surroundings& surroundings_of(std::string_view section) {
    static const std::string port = "[[port]]\nname = \"p1\"\nbridge = \"br0\"\n";
    static const std::string rloc = "[[bridge.eid.rloc]]\ntunnel = \"t1\"\n";
    static const std::string l3_tunnel =
        "[[tunnel]]\nname = \"t1\"\nbridge = \"br0\"\ntype = \"gre\"\npacket_type = \"l3\"\n"
        "remote_ip = \"192.0.2.2\"\n";
    static const std::map<std::string_view, Surroundings> all{
        {"daemon", {"[daemon]\n", {}, ""}},
        {"dpdk", {"[dpdk]\n", {}, ""}},
        {"workers", {"[workers]\n", {}, ""}},
        {"flow_cache", {"[flow_cache]\n", {}, ""}},
        {"firewall", {"[firewall]\n", {}, ""}},
        {"ike", {"[ike]\n", {{"certificate", "\"/c\""}, {"private_key", "\"/k\""}}, ""}},
        {"bridge", {"[[bridge]]\n", {{"name", "\"br0\""}}, ""}},
        {"bridge.local", {kBridge + "[bridge.local]\n", {}, ""}},
        {"bridge.static_mac",
         {kBridge + "[[bridge.static_mac]]\n",
          {{"mac", "\"02:00:00:00:00:01\""}, {"port", "\"p1\""}},
          port}},
        {"bridge.eid",
         {kBridge + "[bridge.local]\n[[bridge.eid]]\n",
          {{"prefix", "\"10.2.0.0/16\""}},
          rloc + l3_tunnel}},
        {"bridge.eid.rloc",
         {kBridge + "[bridge.local]\n[[bridge.eid]]\nprefix = \"10.2.0.0/16\"\n"
                    "[[bridge.eid.rloc]]\n",
          {{"tunnel", "\"t1\""}},
          l3_tunnel}},
        {"port", {"[[port]]\n", {{"name", "\"p1\""}, {"bridge", "\"br0\""}}, kBridge}},
        {"bond",
         {"[[bond]]\nlacp = \"active\"\n",
          {{"name", "\"bond0\""}, {"bridge", "\"br0\""}, {"members", "[\"p1\"]"}},
          port + kBridge}},
        {"tunnel",
         {"[[tunnel]]\n",
          {{"name", "\"t1\""},
           {"bridge", "\"br0\""},
           {"type", "\"vxlan\""},
           {"remote_ip", "\"192.0.2.2\""}},
          kBridge}},
        {"tunnel.esp",
         {kGre + "[tunnel.esp]\n",
          {{"spi_in", "256"},
           {"spi_out", "257"},
           {"key_in_file", "\"/in\""},
           {"key_out_file", "\"/out\""}},
          ""}},
        {"tunnel.ike", {kGre + "[tunnel.ike]\n", {}, "[ike]\ncontrol = \"follow\"\n"}},
    };
    return all.at(section);
}

/// The type of a tunnel that knows the key, when VXLAN does not.
std::string_view type_for(std::string_view key) {
    static const std::set<std::string_view> gre{"nvgre", "seq", "late"};
    return key == "options" ? "\"geneve\"" : gre.contains(key) ? "\"gre\"" : "\"vxlan\"";
}

/// A file in which `key` has `value`, or is absent when that is empty.
std::string file_with(const ConfigKey& wanted, const std::string& value) {
    const Surroundings& around = surroundings_of(wanted.section);
    // Keys about LACP need it; its own stands once.
    std::string text = wanted == ConfigKey{"bond", "lacp"} ? "[[bond]]\n" : around.before;
    for (const auto& [key, given] : around.keys) {
        const bool is_type = wanted.section == "tunnel" && key == "type";
        const std::string_view shown = is_type ? type_for(wanted.key) : given;
        text += key == wanted.key ? "" : concat({key, " = ", shown, "\n"});
    }
    if (wanted == ConfigKey{"port", "rx_queues"}) {
        text += "kind = \"dpdk\"\ndevargs = \"net_null0\"\n";
    } else if (wanted == ConfigKey{"port", "devargs"}) {
        text += "kind = \"dpdk\"\n";
    } else if (wanted == ConfigKey{"port", "peer"}) {
        text += "kind = \"patch\"\n";
    } else if (wanted == ConfigKey{"port", "mac"}) {
        text += "kind = \"tap\"\n";
    }
    text += value.empty() ? "" : std::string(wanted.key) + " = " + value + "\n";
    return text + around.behind;
}

TEST(ConfigKeys, EveryKeyIsReadByTheParser) {
    const std::vector<ConfigKey> keys = config_keys();
    EXPECT_EQ(std::set<ConfigKey>(keys.begin(), keys.end()).size(), keys.size());
    for (const ConfigKey& key : keys) {
        // No key has dates as its values, so one that is read complains about the type.
        EXPECT_THAT(
            error_of(file_with(key, "2020-01-01")),
            HasSubstr("\"" + std::string(key.key) + "\" must be ")
        );
    }
}

std::filesystem::path tree() {
    return tests::source_dir();
}

std::string contents(const std::filesystem::path& path) {
    std::ifstream stream(path);
    EXPECT_TRUE(stream.is_open()) << path << " cannot be opened";
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

/// A row of a table of keys in docs/configuration.md.
struct DocumentedKey {
    std::string section;
    std::string key;
    std::string fallback;  ///< The column "default".
    std::string applied;   ///< The column "applied by".
};

/// What stands between each `open` and the next `close`.
std::vector<std::string>
between(const std::string& text, std::string_view open, std::string_view close) {
    std::vector<std::string> found;
    std::size_t at = text.find(open);
    while (at != std::string::npos) {
        const std::size_t start = at + open.size();
        const std::size_t end = std::min(text.find(close, start), text.size());
        found.push_back(text.substr(start, end - start));
        at = text.find(open, end);
    }
    return found;
}

/// The name in "[name]" or "[[name]]", or nothing for other text.
std::string section_in(const std::string& text) {
    const std::size_t start = text.find_first_not_of('[');
    if (start == 0 || start == std::string::npos) {
        return {};
    }
    return text.substr(start, text.find(']') - start);
}

/// `text` without its backquotes, when it is one piece of code; else nothing.
std::string code_in(const std::string& text) {
    const bool is_code = text.size() > 2 && text[0] == '`' && text.find('`', 1) == text.size() - 1;
    return is_code ? text.substr(1, text.size() - 2) : std::string{};
}

/// The cells of "| a | b |".
std::vector<std::string> cells_of(const std::string& line) {
    std::vector<std::string> cells;
    std::istringstream row(line.substr(1));
    for (std::string cell; std::getline(row, cell, '|');) {
        cells.push_back(cell.size() < 2 ? std::string{} : cell.substr(1, cell.size() - 2));
    }
    return cells;
}

/// The rows under the headings that name sections: "## `[daemon]`", "### `[[port]]`, ...".
std::vector<DocumentedKey> documented_keys() {
    std::vector<DocumentedKey> keys;
    std::vector<std::string> sections;
    std::istringstream document(contents(tree() / "docs" / "configuration.md"));
    for (std::string line; std::getline(document, line);) {
        if (line.starts_with("#")) {
            sections = between(line, "`[", "`");
        }
        // Rows of other tables begin with words or with a value in quotes.
        if (!line.starts_with("| `") || line.starts_with("| `\"")) {
            continue;
        }
        std::vector<std::string> cells = cells_of(line);
        EXPECT_EQ(cells.size(), 7U) << line;
        cells.resize(7);
        for (const std::string& section : sections) {
            keys.push_back({section_in("[" + section), code_in(cells[0]), cells[3], cells[6]});
        }
    }
    return keys;
}

TEST(ConfigurationDocument, NamesExactlyTheKeysOfTheParser) {
    std::set<ConfigKey> in_document;
    const std::vector<DocumentedKey> documented = documented_keys();
    for (const DocumentedKey& key : documented) {
        EXPECT_TRUE(in_document.insert({key.section, key.key}).second)
            << "[" << key.section << "] " << key.key << " is documented twice";
    }
    const std::vector<ConfigKey> keys = config_keys();
    EXPECT_EQ(in_document, std::set<ConfigKey>(keys.begin(), keys.end()));
}

TEST(ConfigurationDocument, DefaultsAreThoseOfTheParser) {
    unsigned compared = 0;
    for (const DocumentedKey& documented : documented_keys()) {
        EXPECT_NE(documented.fallback, "") << documented.key;
        // A default that is one piece of code is a value; words (required, absent, ...) are not.
        const std::string value = code_in(documented.fallback);
        if (value.empty()) {
            continue;
        }
        const ConfigKey key{documented.section, documented.key};
        EXPECT_EQ(state_of(file_with(key, value)), state_of(file_with(key, "")))
            << documented.key << " = " << value;
        ++compared;
    }
    EXPECT_GE(compared, 20U);
}

/// A value for each setting that is not its default.
const std::map<std::string_view, std::string>& other_values() {
    static const std::map<std::string_view, std::string> values{
        {"socket", "\"/run/other.ctl\""},
        {"log_level", "\"debug\""},
        {"log_file", "\"/var/log/other.log\""},
        {"control_cpus", "[1]"},
        {"file_prefix", "\"other\""},
        {"extra_args", "[\"-v\"]"},
        {"state_dir", "\"/other\""},
        {"memory_mb", "64"},
        {"hugepages", "\"never\""},
        {"mbufs", "4096"},
        {"count", "2"},
        {"cpus", "[1]"},
        {"idle", "\"poll\""},
        {"idle_sleep_us", "1"},
        {"spread", "false"},
        {"max_flows", "1024"},
        {"idle_timeout_s", "1"},
        {"enforce", "false"},
        {"unknown", "\"drop\""},
        {"manage", "\"gre\""},
        {"backend", "\"nftables\""},
    };
    return values;
}

TEST(ConfigurationDocument, SaysWhichSettingsAReloadApplies) {
    std::size_t planned = 0;
    for (const DocumentedKey& key : documented_keys()) {
        EXPECT_THAT(key.applied, AnyOf("reload", "restart")) << key.key;
        const auto value = other_values().find(key.key);
        if (value == other_values().end()) {
            EXPECT_EQ(key.applied, "reload") << key.key;
            continue;
        }
        const DesiredState to = state_of(file_with({key.section, key.key}, value->second));
        EXPECT_NE(to, DesiredState{}) << key.key;
        EXPECT_EQ(plan(DesiredState{}, to).has_value(), key.applied == "reload") << key.key;
        ++planned;
    }
    EXPECT_EQ(planned, other_values().size());
}

TEST(ConfigurationDocument, ExamplesAreValid) {
    const std::string document = contents(tree() / "docs" / "configuration.md");
    const std::vector<std::string> examples = between(document, "```toml\n", "```");
    EXPECT_GE(examples.size(), 2U);
    for (const std::string& example : examples) {
        EXPECT_FALSE(state_of(example).tunnels.empty());
    }
}

TEST(ConfigurationDocument, ShownErrorsAreRealOnes) {
    const std::string document = contents(tree() / "docs" / "configuration.md");
    EXPECT_THAT(
        document,
        HasSubstr(
            "culvert.toml:" +
            error_of(std::string(12, '\n') + kTunnel + "key = 16777216\n").substr(2)
        )
    );
}

/// The example with every commented key made real: a comment that is a key begins without a space.
std::string uncommented(const std::string& text) {
    std::string result;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const bool is_key = line.size() > 1 && line[0] == '#' && line[1] != ' ';
        result += (is_key ? line.substr(1) : line) + "\n";
    }
    return result;
}

TEST(ExampleFile, IsValidAsItStandsAndWithEveryKeyMadeReal) {
    const std::string example = contents(tree() / "ctl" / "culvert.toml.example");
    EXPECT_FALSE(state_of(example).tunnels.empty());
    const DesiredState all = state_of(uncommented(example));
    EXPECT_GT(all.ports.size(), state_of(example).ports.size());
}

TEST(ExampleFile, ShowsEveryKey) {
    std::set<ConfigKey> missing;
    for (const ConfigKey& key : config_keys()) {
        missing.insert(key);
    }
    std::string section;
    std::istringstream lines(uncommented(contents(tree() / "ctl" / "culvert.toml.example")));
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('[')) {
            section = section_in(line);
        } else {
            const std::string key = line.substr(0, line.find(" = "));
            missing.erase({section, key});
        }
    }
    EXPECT_THAT(missing, IsEmpty());
}

}  // namespace
}  // namespace culvert::ctl
