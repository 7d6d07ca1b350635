// SPDX-License-Identifier: GPL-2.0-or-later
//
// Words of commands that a person may paste into a shell. Pure; any thread.
#pragma once

#include <string>

#include "firewall/opening.hpp"

namespace culvert::firewall {

/// `text` as one word, in quotes where it needs them.
[[nodiscard]] std::string shell_word(const std::string& text);
/// What iptables takes behind "-I CHAIN" for a rule that admits `selector`: "-p gre -j ACCEPT".
[[nodiscard]] std::string iptables_words(const Selector& selector, const std::string& comment);
/// What nft takes behind "insert rule TABLE CHAIN". `says_family`: the table is of both.
[[nodiscard]] std::string
nft_words(const Selector& selector, const std::string& comment, bool says_family);

}  // namespace culvert::firewall
