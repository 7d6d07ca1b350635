// SPDX-License-Identifier: GPL-2.0-or-later
//
// An Open_vSwitch database as a value, filled as ovs-vsctl(8) fills it, for tests of what is made
// of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl {

class OvsdbRows {
public:
    using Options = std::map<std::string, std::string>;

    /// The root row alone.
    OvsdbRows() { root_ = insert("Open_vSwitch", {{"next_cfg", ovsdb::set_of(std::int64_t{1})}}); }

    [[nodiscard]] const ovsdb::Replica& replica() const { return replica_; }
    [[nodiscard]] const ovsdb::Uuid& root() const { return root_; }

    /// A bridge without ports.
    void add_bare_bridge(const std::string& name) {
        const ovsdb::Uuid uuid =
            insert("Bridge", {{"name", ovsdb::set_of(name)}, {"datapath_type", text("netdev")}});
        refer("Open_vSwitch", root_, "bridges", uuid);
    }
    /// As "add-br".
    void add_bridge(const std::string& name) {
        add_bare_bridge(name);
        add_port(name, name, "internal");
    }
    /// As "add-port BRIDGE NAME -- set Interface NAME type=TYPE options:...".
    void add_port(
        const std::string& bridge,
        const std::string& name,
        const std::string& type = "",
        const Options& options = {}
    ) {
        add_bond(bridge, name, {name});
        set("Interface", name, "type", text(type));
        set("Interface", name, "options", ovsdb::map_of(options));
    }
    /// A port of new interfaces of type "".
    void add_bond(
        const std::string& bridge,
        const std::string& name,
        const std::vector<std::string>& interfaces
    ) {
        const ovsdb::Uuid uuid = insert("Port", {{"name", ovsdb::set_of(name)}});
        for (const std::string& interface : interfaces) {
            refer(
                "Port",
                uuid,
                "interfaces",
                insert("Interface", {{"name", ovsdb::set_of(interface)}, {"type", text("")}})
            );
        }
        refer("Bridge", find("Bridge", bridge), "ports", uuid);
    }

    /// Of the row with the name; Open_vSwitch has one row, without a name.
    void
    set(const std::string& table,
        const std::string& name,
        const std::string& column,
        ovsdb::Datum datum) {
        row(table, find(table, name))[column] = std::move(datum);
    }
    void set_root(const std::string& column, ovsdb::Datum datum) {
        set("Open_vSwitch", "", column, std::move(datum));
    }
    void refer(
        const std::string& table,
        const ovsdb::Uuid& from,
        const std::string& column,
        const ovsdb::Uuid& to
    ) {
        ovsdb::Datum& datum = row(table, from)[column];
        const bool in_order = datum.keys.empty() || datum.keys.back() < ovsdb::Atom(to);
        datum.keys.emplace_back(to);
        if (!in_order) {
            datum = ovsdb::set_of(std::move(datum.keys));
        }
    }
    ovsdb::Uuid insert(const std::string& table, ovsdb::Row row) {
        std::string digits = std::to_string(++rows_);
        digits.insert(0, 12 - digits.size(), '0');
        ovsdb::Uuid uuid{"00000000-0000-4000-8000-" + digits};
        if (const auto name = ovsdb::column(row, "name").string()) {
            names_[table][*name] = uuid;
        }
        replica_.tables[table].emplace(uuid, std::move(row));
        return uuid;
    }
    /// The uuid of the row with the name; one without text when there is none.
    [[nodiscard]] ovsdb::Uuid find(const std::string& table, const std::string& name) const {
        if (table == "Open_vSwitch") {
            return root_;
        }
        const auto names = names_.find(table);
        if (names == names_.end() || !names->second.contains(name)) {
            return {};
        }
        return names->second.at(name);
    }

    [[nodiscard]] static ovsdb::Datum text(const std::string& value) {
        return ovsdb::set_of(ovsdb::Atom(value));
    }
    [[nodiscard]] static ovsdb::Datum number(std::int64_t value) {
        return ovsdb::set_of(ovsdb::Atom(value));
    }
    [[nodiscard]] static ovsdb::Datum truth(bool value) {
        return ovsdb::set_of(ovsdb::Atom(value));
    }
    [[nodiscard]] static ovsdb::Datum numbers(const std::vector<std::int64_t>& values) {
        return ovsdb::set_of(std::vector<ovsdb::Atom>(values.begin(), values.end()));
    }

private:
    ovsdb::Row& row(const std::string& table, const ovsdb::Uuid& uuid) {
        return replica_.tables[table][uuid];
    }

    ovsdb::Replica replica_;
    ovsdb::Uuid root_;
    std::map<std::string, std::map<std::string, ovsdb::Uuid>> names_;  ///< By table.
    std::size_t rows_ = 0;
};

}  // namespace culvert::ctl
