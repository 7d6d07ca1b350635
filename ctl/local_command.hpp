// SPDX-License-Identifier: GPL-2.0-or-later
//
// A command that culvert-ctl carries out itself, with no daemon: what was typed, and what becomes
// of it. Values; any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

#include "ctl/ctl_commands.hpp"
#include "ctl/table.hpp"
#include "firewall/host.hpp"

namespace culvert::ctl {

/// Exit statuses of culvert-ctl.
constexpr int kStatusDone = 0;
constexpr int kStatusRefused = 1;
constexpr int kStatusUsage = 2;

struct LocalCall {
    Words arguments = {};
    /// The options that were typed, by name, with each value in order; a flag has none.
    std::map<std::string, Words, std::less<>> options = {};
    OutputFormat format = OutputFormat::text;

    [[nodiscard]] bool has(std::string_view option) const { return options.contains(option); }
    [[nodiscard]] const Words& values(std::string_view option) const;
    /// The last value.
    [[nodiscard]] std::optional<std::string> value(std::string_view option) const;
};

struct LocalAnswer {
    int status = kStatusDone;
    std::string text = {};    ///< For standard output.
    Words complaints = {};    ///< For standard error, a sentence each.
    bool is_sentence = true;  ///< With --format json the text is printed as a string.
};

/// Why a command was not carried out.
struct LocalRefusal {
    int status = kStatusUsage;
    std::string sentence;
};
template <class T>
using Checked = tl::expected<T, LocalRefusal>;

/// Makes what the commands read and write; tests put backends of their own in.
using MakeFirewall =
    std::function<std::unique_ptr<firewall::HostFirewall>(firewall::BackendChoice)>;

/// Carries out the command whose CommandEntry::method is `method`.
[[nodiscard]] LocalAnswer
run_local_command(std::string_view method, const LocalCall& call, const MakeFirewall& make);

}  // namespace culvert::ctl
