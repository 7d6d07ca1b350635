// SPDX-License-Identifier: GPL-2.0-or-later
//
// A replica that follows a server's updates. An update is worked out against the replica first and
// takes effect as a whole or, when anything in it does not fit, not at all. No sockets, no clock:
// what comes in may be anything. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "ctl/ovsdb/schema.hpp"
#include "ctl/ovsdb/value.hpp"

namespace culvert::ctl::ovsdb {

/// How an update tells of a row.
enum class UpdateForm : std::uint8_t {
    old_and_new,  ///< <table-updates> of RFC 7047 section 4.1.6.
    difference,   ///< <table-updates2> of ovsdb-server(7) section 4.1.14.
};

/// Stands for "no transaction" in monitor_cond_since.
inline constexpr const char* kNoTransaction = "00000000-0000-0000-0000-000000000000";

/// What a row takes in memory, about.
[[nodiscard]] std::size_t bytes_of(const Row& row);

class Mirror {
public:
    /// `bytes_max` bounds what the replica takes in memory.
    explicit Mirror(std::size_t bytes_max) : bytes_max_(bytes_max) {}

    [[nodiscard]] const Replica& replica() const noexcept { return replica_; }
    [[nodiscard]] const Selection& selection() const noexcept { return selection_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

    /// What updates will have. Another selection than before cannot go on from where the replica
    /// is.
    void select(Selection selection);

    /// <monitor-cond-requests>, which are <monitor-requests> too.
    [[nodiscard]] nlohmann::json requests() const;

    /// The transaction up to which the replica has everything, or kNoTransaction.
    [[nodiscard]] const std::string& transaction() const noexcept { return transaction_; }
    void set_transaction(std::string transaction) { transaction_ = std::move(transaction); }

    /// The whole contents: the replica becomes them. `updates` is taken apart.
    [[nodiscard]] Result<void> replace(UpdateForm form, nlohmann::json& updates);

    /// A change. Returns whether the replica is another one now. After an error it is as it was,
    /// but no longer what the server takes it for: the transaction is forgotten.
    [[nodiscard]] Result<bool> apply(UpdateForm form, nlohmann::json& updates);

private:
    struct Change {
        const std::string* table;
        Uuid uuid;
        std::optional<Row> row;  ///< Nothing: the row goes.
    };
    struct Staged {
        std::vector<Change> changes;
        std::size_t bytes = 0;  ///< Of the replica, when they are made.
    };

    [[nodiscard]] Result<Staged>
    stage(UpdateForm form, nlohmann::json& updates, const Replica& base, std::size_t bytes) const;
    static void commit(std::vector<Change> changes, Replica& replica);

    std::size_t bytes_max_;
    std::size_t bytes_ = 0;
    Selection selection_;
    Replica replica_;
    std::string transaction_ = kNoTransaction;
};

}  // namespace culvert::ctl::ovsdb
