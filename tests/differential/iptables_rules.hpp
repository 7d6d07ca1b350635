// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random rule sets in the language of iptables-restore(8), for iptables' own tables and for
// iptables-nft. Each is a tree of chains that the chains INPUT enter for its own destination, so
// that many are loaded and read at once. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/differential/universe.hpp"

namespace culvert::test {

struct IptablesSet {
    struct Table {
        std::string chains;  ///< Lines that declare chains.
        std::string rules;   ///< Lines that append rules, of INPUT too.
    };
    std::map<std::string, Table> tables;
    bool is_supported = true;  ///< Holds no match or target that the evaluator does not know.
};

/// `number` tells the sets of a batch apart.
[[nodiscard]] IptablesSet
random_iptables_set(Random& random, const Universe& universe, unsigned number);

/// What one *-restore process reads: the sets, behind what KernelInput needs. The filter chain's
/// policy is to drop in `drops_percent` of the cases.
[[nodiscard]] std::string iptables_batch(
    Random& random,
    firewall::Family family,
    const std::vector<IptablesSet>& sets,
    unsigned drops_percent
);

/// What `ipset restore` reads: the sets that the rules name.
[[nodiscard]] std::string random_ipsets(Random& random, const Pool& pool);

}  // namespace culvert::test
