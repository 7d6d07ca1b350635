// SPDX-License-Identifier: GPL-2.0-or-later
//
// Updates of a server, worked out row by row and then made. The JSON of a row is freed as soon as
// the row has been made of it, so that a large update does not stand in memory twice.
#include "ctl/ovsdb/mirror.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/ovsdb/uuid_text.hpp"

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;
using Columns = std::map<std::string, ColumnType, std::less<>>;

// What the containers take, as glibc's malloc has it.
constexpr std::size_t kRowBytes = 192;
constexpr std::size_t kColumnBytes = 160;
constexpr std::size_t kAtomBytes = sizeof(Atom);

std::size_t bytes_of(const Atom& atom) {
    const auto* text = std::get_if<std::string>(&atom);
    if (const auto* uuid = std::get_if<Uuid>(&atom)) {
        text = &uuid->text;
    }
    return kAtomBytes + (text == nullptr || text->size() < 16 ? 0 : text->size() + 16);
}

std::string quote(std::string_view name) {
    constexpr std::size_t kMax = 64;
    return "\"" + std::string(name.substr(0, kMax)) + (name.size() > kMax ? "...\"" : "\"");
}

tl::unexpected<std::string>
refuse_row(const std::string& uuid, const std::string& table, const std::string& why) {
    return tl::unexpected<std::string>("row " + uuid + " of table " + table + ": " + why);
}

/// An empty value is not kept: there may be millions.
void store(Row& row, const std::string& column, Datum datum) {
    if (datum.keys.empty()) {
        row.erase(column);
    } else {
        row.insert_or_assign(column, std::move(datum));
    }
}

Result<const ColumnType*> type_of(const Columns& columns, const std::string& name) {
    const auto found = columns.find(name);
    if (found == columns.end()) {
        return tl::unexpected("column " + quote(name) + " was not asked for");
    }
    return &found->second;
}

/// A row as a whole; columns that are not mentioned have their default.
Result<Row> make_row(const json& sent, const Columns& columns) {
    if (!sent.is_object()) {
        return tl::unexpected(std::string("it is not an object"));
    }
    Row row;
    for (const auto& [name, value] : sent.items()) {
        const auto type = type_of(columns, name);
        if (!type.has_value()) {
            return tl::unexpected(type.error());
        }
        auto datum = parse_column(value, **type, false);
        if (!datum.has_value()) {
            return tl::unexpected("column " + name + ": " + datum.error());
        }
        store(row, name, std::move(*datum));
    }
    for (const auto& [name, type] : columns) {
        if (!sent.contains(name)) {
            store(row, name, default_value(type));
        }
    }
    return row;
}

/// `before` with the differences of some columns.
Result<Row> change_row(const Row& before, const json& sent, const Columns& columns) {
    if (!sent.is_object()) {
        return tl::unexpected(std::string("it is not an object"));
    }
    Row row = before;
    for (const auto& [name, value] : sent.items()) {
        const auto type = type_of(columns, name);
        if (!type.has_value()) {
            return tl::unexpected(type.error());
        }
        auto difference = parse_column(value, **type, true);
        auto after = difference.has_value()
                         ? apply_difference(column(before, name), std::move(*difference), **type)
                         : std::move(difference);
        if (!after.has_value()) {
            return tl::unexpected("column " + name + ": " + after.error());
        }
        store(row, name, std::move(*after));
    }
    return row;
}

/// What becomes of a row: its new contents, or nothing when it goes.
using Outcome = Result<std::optional<Row>>;

Outcome wrap(Result<Row> row) {
    if (!row.has_value()) {
        return tl::unexpected(std::move(row.error()));
    }
    return std::optional<Row>(std::move(*row));
}

Outcome work_out_difference(const json& update, const Row* before, const Columns& columns) {
    if (!update.is_object() || update.size() != 1) {
        return tl::unexpected(std::string("it is not an object with one member"));
    }
    const std::string& kind = update.begin().key();
    const json& sent = update.begin().value();
    if (kind == "initial" || kind == "insert") {
        if (before != nullptr) {
            return tl::unexpected(std::string("it is there already, and is inserted"));
        }
        return wrap(make_row(sent, columns));
    }
    if (kind != "delete" && kind != "modify") {
        return tl::unexpected(quote(kind) + " is not one of initial, insert, modify, delete");
    }
    if (before == nullptr) {
        return tl::unexpected("it is not there, and has a \"" + kind + "\"");
    }
    return kind == "delete" ? Outcome(std::nullopt) : wrap(change_row(*before, sent, columns));
}

Outcome work_out_old_and_new(const json& update, const Row* before, const Columns& columns) {
    const bool has_old = update.is_object() && update.contains("old");
    const bool has_new = update.is_object() && update.contains("new");
    if (!has_old && !has_new) {
        return tl::unexpected(std::string(R"(it has neither "old" nor "new")"));
    }
    if (has_old != (before != nullptr)) {
        return tl::unexpected(std::string(
            has_old ? "it is not there, and is changed" : "it is there already, and is new"
        ));
    }
    return has_new ? wrap(make_row(update["new"], columns)) : Outcome(std::nullopt);
}

}  // namespace

std::size_t bytes_of(const Row& row) {
    std::size_t bytes = kRowBytes;
    for (const auto& [name, datum] : row) {
        bytes += kColumnBytes;
        for (const Atom& atom : datum.keys) {
            bytes += bytes_of(atom);
        }
        for (const Atom& atom : datum.values) {
            bytes += bytes_of(atom);
        }
    }
    return bytes;
}

void Mirror::select(Selection selection) {
    if (selection != selection_) {
        transaction_ = kNoTransaction;
        selection_ = std::move(selection);
    }
}

json Mirror::requests() const {
    json requests = json::object();
    for (const auto& [table, columns] : selection_) {
        json names = json::array();
        for (const auto& [name, type] : columns) {
            names.push_back(name);
        }
        requests[table] = json::array({{{"columns", std::move(names)}}});
    }
    return requests;
}

Result<Mirror::Staged>
Mirror::stage(UpdateForm form, json& updates, const Replica& base, std::size_t bytes) const {
    if (!updates.is_object()) {
        return tl::unexpected(std::string("the tables are not an object"));
    }
    Staged staged;
    staged.bytes = bytes;
    for (auto& [table, rows] : updates.items()) {
        const auto selected = selection_.find(table);
        if (selected == selection_.end()) {
            return tl::unexpected("table " + quote(table) + " was not asked for");
        }
        if (!rows.is_object()) {
            return tl::unexpected("the rows of table " + table + " are not an object");
        }
        for (auto& [text, update] : rows.items()) {
            auto uuid = parse_uuid_text(text);
            // Of two ways to write one UUID, one must do: a row has one update.
            if (!uuid.has_value() || uuid->text != text) {
                return tl::unexpected(
                    "a row of table " + table + " has no UUID but " + quote(text)
                );
            }
            const Row* before = base.find(table, *uuid);
            auto row = form == UpdateForm::difference
                           ? work_out_difference(update, before, selected->second)
                           : work_out_old_and_new(update, before, selected->second);
            if (!row.has_value()) {
                return refuse_row(text, table, row.error());
            }
            update = nullptr;
            staged.bytes -= before == nullptr ? 0 : bytes_of(*before);
            staged.bytes += row->has_value() ? bytes_of(**row) : 0;
            if (staged.bytes > bytes_max_) {
                return tl::unexpected(
                    "the rows take more than " + std::to_string(bytes_max_) + " bytes of memory"
                );
            }
            staged.changes.push_back({&selected->first, std::move(*uuid), std::move(*row)});
        }
    }
    return staged;
}

void Mirror::commit(std::vector<Change> changes, Replica& replica) {
    for (Change& change : changes) {
        Rows& rows = replica.tables[*change.table];
        if (change.row.has_value()) {
            rows.insert_or_assign(rows.end(), std::move(change.uuid), std::move(*change.row));
        } else {
            rows.erase(change.uuid);
        }
        if (rows.empty()) {
            replica.tables.erase(*change.table);
        }
    }
}

Result<void> Mirror::replace(UpdateForm form, json& updates) {
    transaction_ = kNoTransaction;
    Replica fresh;
    auto staged = stage(form, updates, fresh, 0);
    if (!staged.has_value()) {
        return tl::unexpected(std::move(staged.error()));
    }
    commit(std::move(staged->changes), fresh);
    replica_ = std::move(fresh);
    bytes_ = staged->bytes;
    return {};
}

Result<bool> Mirror::apply(UpdateForm form, json& updates) {
    auto staged = stage(form, updates, replica_, bytes_);
    if (!staged.has_value()) {
        transaction_ = kNoTransaction;
        return tl::unexpected(std::move(staged.error()));
    }
    const bool changed = !staged->changes.empty();
    commit(std::move(staged->changes), replica_);
    bytes_ = staged->bytes;
    return changed;
}

}  // namespace culvert::ctl::ovsdb
