// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads a DesiredState from a TOML file. Every mistake is one sentence: file:line, key, value, what
// is valid. Only the first mistake is reported. Control thread, before or beside the workers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/config.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// Parses and validates `text`; `file` is used in messages only. Touches nothing outside (no device
/// is looked up, no file of keys is read).
[[nodiscard]] Result<DesiredState> parse_toml(std::string_view text, std::string_view file);

/// Reads and parses the file at `path`, and reads the files of keys that it names.
[[nodiscard]] Result<DesiredState> load_toml(const std::string& path);

struct ConfigKey {
    std::string_view section;  ///< Without brackets, e.g. "bridge.local".
    std::string_view key;
    bool operator==(const ConfigKey&) const = default;
};

/// Every key that a file may hold, section by section.
[[nodiscard]] std::vector<ConfigKey> config_keys();

}  // namespace culvert::ctl
