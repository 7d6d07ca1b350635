// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is run, and which benches stand beside each other in the table that ends a run. The first
// part of a name says what a bench is: "rival" does the same job with other code, "floor" does less
// than the job and bounds it from below, anything else is ours. Main thread only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

namespace culvert::bench {

using Body = std::function<void(benchmark::State&)>;

class Suite {
public:
    struct Pair {
        std::string ours;
        std::string beside;
    };

    /// Registers a bench of ours.
    void add(const std::string& name, Body body);
    /// Registers a rival or a floor of the bench `ours`. A `name` that is already registered is not
    /// registered again, so that several benches of ours may share a floor.
    void add_beside(const std::string& ours, const std::string& name, Body body);

    [[nodiscard]] const std::vector<Pair>& pairs() const noexcept { return pairs_; }

private:
    std::vector<std::string> names_;
    std::vector<Pair> pairs_;
};

}  // namespace culvert::bench
