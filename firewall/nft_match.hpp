// SPDX-License-Identifier: GPL-2.0-or-later
//
// The conditions of one rule of nftables, from the JSON of libnftables to steps. A listing leaves
// out what follows from a later expression ("udp dport" needs UDP, "ip saddr" in a table of family
// inet needs IPv4); those conditions are put in front again. Pure; one thread at a time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "firewall/nft_set.hpp"
#include "firewall/ruleset.hpp"

namespace culvert::firewall {

/// The named sets and maps of a table. Those that rules ask for are turned into tuples once.
class NftSets {
public:
    /// `is_dynamic`: rules add elements to it.
    void add(const std::string& name, const nlohmann::json* elements, bool is_dynamic);
    /// The elements of a set; null when there is none, or it has statements of its own.
    [[nodiscard]] const nlohmann::json* find(std::string_view name);
    [[nodiscard]] std::shared_ptr<const TupleSet>
    tuples(const std::string& name, std::span<const NftField> fields);
    /// Seconds until a set that was found may have other elements with nobody changing it.
    [[nodiscard]] std::optional<std::uint64_t> keeps_for() const;

private:
    struct Listed {
        const nlohmann::json* elements = nullptr;
        bool is_dynamic = false;
        bool is_used = false;
    };
    std::map<std::string, Listed, std::less<>> sets_;
    std::map<std::pair<std::string, std::vector<NftKind>>, std::shared_ptr<const TupleSet>> tuples_;
};

/// What an expression on the left of a comparison reads.
struct NftLeft {
    std::vector<NftField> fields;
    /// The value that every packet has that reaches the host in a tunnel's place; then there is one
    /// field, of which only the kind matters.
    std::optional<Value> constant;
    std::string unknown;  ///< Names what cannot be read; nothing else is filled then.
};

class NftConditions {
public:
    NftConditions(Families families, NftSets& sets) : families_(families), sets_(sets) {}

    /// The value of "match"; `is_doubtful`: the kernel has another rule than is listed.
    void read_match(const nlohmann::json& match, bool is_doubtful);
    /// The key of a map as well. Appends what the kernel asks for before it reads the fields.
    [[nodiscard]] NftLeft read_left(const nlohmann::json& left);

    void require(Field field, Value value);
    void require_family(Family family) { require(Field::family, family == Family::ipv4 ? 4 : 6); }
    void require_protocol(Value protocol) { require(Field::protocol, protocol); }
    /// A condition that no packet fulfils.
    void never();
    void unknown(std::string what);
    void append(Step step) { steps_.push_back(std::move(step)); }
    /// Membership of what `left` reads.
    void member(const NftLeft& left, std::shared_ptr<const TupleSet> set, bool is_negated);

    [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
    [[nodiscard]] NftSets& sets() const { return sets_; }

private:
    [[nodiscard]] NftLeft read_payload(const nlohmann::json& payload);
    [[nodiscard]] NftLeft read_concatenation(const nlohmann::json& parts);
    [[nodiscard]] NftLeft read_masked(const nlohmann::json& sides);
    [[nodiscard]] NftLeft read_other(const std::string& what, const nlohmann::json& value);
    void compare(const NftLeft& left, std::string_view op, const nlohmann::json& right);

    Families families_;
    NftSets& sets_;
    std::vector<Step> steps_;
    std::vector<std::pair<Field, Value>> required_;
};

}  // namespace culvert::firewall
