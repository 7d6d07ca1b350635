// SPDX-License-Identifier: GPL-2.0-or-later
//
// The words from which error sentences about a configuration are made: quoting, lists, the nearest
// valid word, and "file:line: item" in front. Pure functions; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ctl/config.hpp"

namespace culvert::ctl {

/// `text` in double quotes on one line: control characters are escaped, an overlong text is cut.
[[nodiscard]] std::string quote(std::string_view text);

/// Whether there is no control character in it.
[[nodiscard]] bool is_printable(std::string_view text);

/// "a, b, c".
[[nodiscard]] std::string join(std::span<const std::string_view> words);

/// The words quoted and joined; of very many only the first ones, and how many more there are.
[[nodiscard]] std::string listing(std::span<const std::string_view> words);

/// The word with the fewest edits from `text`, or empty when none is near enough to be meant.
[[nodiscard]] std::string_view
nearest(std::string_view text, std::span<const std::string_view> words);

/// "file:line"; empty for an item that comes from no file.
[[nodiscard]] std::string place(const Origin& origin);

/// `[[tunnel]] "t1"` from "[[tunnel]]" and "t1"; the title alone for an item without a name.
[[nodiscard]] std::string item(std::string_view title, std::string_view name);

/// "file:line: [[tunnel]] "t1": sentence".
[[nodiscard]] std::string
sentence(const Origin& origin, std::string_view subject, std::string_view text);

}  // namespace culvert::ctl
