// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary bytes from an OVSDB server: the first byte says which replies come before them, so that
// each state of a dialogue is reached. Whatever comes, every row of the replica must be one of the
// schema, and what the replica is said to take must be what its rows take.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "ctl/json_stream.hpp"
#include "ctl/ovsdb/dialogue.hpp"
#include "ctl/ovsdb/mirror.hpp"
#include "ctl/ovsdb/schema.hpp"

namespace {

using namespace culvert::ctl::ovsdb;
using culvert::ctl::JsonLimits;
using culvert::ctl::JsonStream;
using nlohmann::json;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

const DialogueOptions& options() {
    static const DialogueOptions value = {
        "D", "l", {{"T", {"s", "i", "b", "r", "u", "set", "map", "one"}}, {"U", {"s"}}}};
    return value;
}

// Requests are numbered: 0 set_db_change_aware, 1 monitor_cond of _Server, 2 lock, 3 get_schema,
// 4 the monitor, and 5 a transaction.
constexpr const char* kServer =
    R"({"id":1,"result":{"Database":{"00000000-0000-4000-8000-000000000001":{"initial":{"name":"D",)"
    R"("model":"clustered","connected":true,"leader":true}}}},"error":null})";
constexpr const char* kNoServer = R"({"id":1,"result":null,"error":"unknown database"})";
constexpr const char* kSchema =
    R"({"id":3,"result":{"name":"D","tables":{"T":{"columns":{"s":{"type":"string"},"i":{"type":"integer"},)"
    R"("b":{"type":"boolean"},"r":{"type":{"key":"real","min":0,"max":3}},)"
    R"("u":{"type":{"key":{"type":"uuid"},"min":0,"max":1}},)"
    R"("set":{"type":{"key":"integer","min":0,"max":"unlimited"}},)"
    R"("one":{"type":{"key":"string","min":1,"max":2}},)"
    R"("map":{"type":{"key":"string","value":"string","min":0,"max":"unlimited"}}}},)"
    R"("U":{"columns":{"s":{"type":"string"}}}}},"error":null})";
constexpr const char* kUnknown = R"({"id":4,"result":null,"error":"unknown method"})";
constexpr const char* kContents =
    R"({"id":4,"result":[false,"t1",{"T":{"00000000-0000-4000-8000-00000000000a":{"initial":)"
    R"({"s":"x","set":["set",[1,2]],"map":["map",[["k","v"]]]}}}}],"error":null})";

/// Which replies come first, in order.
constexpr std::array<std::array<const char*, 3>, 6> kBefore = {{
    {nullptr, nullptr, nullptr},
    {kServer, nullptr, nullptr},
    {kNoServer, nullptr, nullptr},
    {kServer, kSchema, nullptr},
    {kServer, kSchema, kUnknown},
    {kServer, kSchema, kContents},
}};

void check_row(const Row& row, const std::map<std::string, ColumnType, std::less<>>& columns) {
    for (const auto& [name, datum] : row) {
        const auto type = columns.find(name);
        require(type != columns.end() && !datum.keys.empty());
        const auto again = parse_column(to_json(datum), type->second, false);
        require(again.has_value() && *again == datum && again->is_map == datum.is_map);
    }
}

void check(const Mirror& mirror) {
    std::size_t bytes = 0;
    for (const auto& [table, rows] : mirror.replica().tables) {
        require(!rows.empty());
        for (const auto& [uuid, row] : rows) {
            check_row(row, mirror.selection().at(table));
            bytes += bytes_of(row);
        }
    }
    require(bytes == mirror.bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    Mirror mirror(std::size_t{1} << 16U);
    Dialogue dialogue(options(), mirror);
    for (const char* reply : kBefore.at(data[0] % kBefore.size())) {
        require(reply == nullptr || dialogue.receive(reply).has_value());
    }
    bool answered = false;
    dialogue.transact(json::array(), [&](const auto&) {
        require(!answered);
        answered = true;
    });
    JsonStream stream(JsonLimits{.bytes_max = 65536, .values_max = 4096, .brackets_only = true});
    bool ended = false;
    auto texts = stream.feed({reinterpret_cast<const char*>(data) + 1, size - 1});
    for (std::size_t i = 0; texts.has_value() && i < texts->size() && !ended; ++i) {
        const auto received = dialogue.receive((*texts)[i]);
        ended = !received.has_value();
        require(!ended || (!received.error().empty() && received.error().size() < 1000));
        // Rows of an older schema stay until the contents come.
        if (dialogue.is_synchronised()) {
            check(mirror);
        }
    }
    dialogue.fail("end");
    for (const auto& task : dialogue.take_finished()) {
        task();
    }
    require(answered);
    // What is sent is JSON, whatever it answers.
    JsonStream sent(std::size_t{1} << 24U);
    require(sent.feed(dialogue.take_output()).has_value() && !sent.pending());
    return 0;
}
