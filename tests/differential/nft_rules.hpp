// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random rule sets in the language of nft(8). A batch is one file: some tables with base chains on
// the hook INPUT, and in them trees of chains that are entered for the destination of their rule
// set, so that many are loaded and read at once. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/universe.hpp"

namespace culvert::test {

struct NftBatch {
    std::string text;
    /// By universe: what is of it in the text, for people.
    std::vector<std::string> excerpts;
    /// By universe: nothing in its rules is unknown to the evaluator.
    std::vector<bool> is_supported;
};

/// The policy of the first base chain is to drop in `drops_percent` of the cases.
[[nodiscard]] NftBatch
random_nft_batch(Random& random, const std::vector<Universe>& universes, unsigned drops_percent);

}  // namespace culvert::test
