// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands of culvert-ctl, as data: an entry of the table gives the command line, its help, the
// request to the daemon and the shell's completion. A new command is a new entry, and nothing else
// unless it is of a new kind. Constant after start: any thread may read it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::ctl {

using Words = std::vector<std::string>;

enum class CommandKind : std::uint8_t {
    show,     ///< Takes a format and can be watched.
    action,   ///< Does something; the answer is a sentence, or empty.
    version,  ///< Answers without a daemon too.
    raw,      ///< Its words are the request.
    local,    ///< Carried out by the tool itself (local_command.hpp); the daemon is not asked.
    help,     ///< Tells of the commands.
};

struct ArgumentEntry {
    std::string name;
    std::string help;
    bool required = false;
    Words choices = {};     ///< Empty: any word.
    bool repeated = false;  ///< As many as are given.
};

struct OptionEntry {
    std::string name;   ///< With its dashes.
    std::string value;  ///< The name of its value; empty: a flag.
    std::string help;
    bool number = false;  ///< The value is an integer, 0 or more.
    Words choices = {};   ///< Empty: any value.
    bool required = false;
    bool repeated = false;  ///< May be given several times.
    bool toggle = false;    ///< --NAME, --NAME=yes, --NAME=no and --no-NAME.
};

struct CommandEntry {
    std::string words;   ///< As typed, e.g. "fdb show".
    std::string method;  ///< The daemon's name for it.
    std::string help;
    CommandKind kind = CommandKind::action;
    std::vector<ArgumentEntry> arguments = {};
    std::vector<OptionEntry> options = {};
};

/// In the order of the help.
[[nodiscard]] const std::vector<CommandEntry>& commands();

/// Null when there is none.
[[nodiscard]] const CommandEntry* find_command(std::string_view words);

/// What the first word of commands with two words stands for.
[[nodiscard]] std::string group_help(std::string_view group);

/// The words that can follow a group ("fdb"), or start a command when it is empty.
[[nodiscard]] Words next_words(const std::string& group);

/// What can follow the words in `typed`, the tool's own name not among them.
[[nodiscard]] Words complete(const Words& typed);

}  // namespace culvert::ctl
