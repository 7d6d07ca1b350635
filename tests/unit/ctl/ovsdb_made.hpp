// SPDX-License-Identifier: GPL-2.0-or-later
//
// What make_configuration() makes of rows, and how tests look things up in it. Every configuration
// that is made here has to be a valid one.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "ctl/ovsdb_configuration.hpp"
#include "ctl/validate.hpp"
#include "tests/unit/ctl/ovsdb_rows.hpp"

namespace culvert::ctl {

inline OvsdbConfiguration made(const OvsdbRows& rows, const DesiredState& base = {}) {
    OvsdbConfiguration configuration = make_configuration(rows.replica(), base);
    const auto valid = validate(configuration.state);
    EXPECT_TRUE(valid.has_value()) << valid.error();
    return configuration;
}

/// The item of the name; one without a name, and a failure, when there is none.
template <class Item>
const Item& named(const std::vector<Item>& items, std::string_view name) {
    static const Item none{};
    const auto found = std::find_if(items.begin(), items.end(), [&](const Item& item) {
        return item.name == name;
    });
    EXPECT_NE(found, items.end()) << "there is no " << name;
    return found == items.end() ? none : *found;
}

template <class Item>
bool has(const std::vector<Item>& items, std::string_view name) {
    return std::any_of(items.begin(), items.end(), [&](const Item& item) {
        return item.name == name;
    });
}

inline std::string error_of(const OvsdbConfiguration& configuration, std::string_view interface) {
    return named(configuration.interfaces, interface).error;
}

}  // namespace culvert::ctl
