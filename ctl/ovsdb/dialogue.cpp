// SPDX-License-Identifier: GPL-2.0-or-later
//
// JSON-RPC 1.0 with an OVSDB server. Requests are remembered by their number until they are
// answered; everything else that a server may send is a request or a notification.
#include "ctl/ovsdb/dialogue.hpp"

#include <array>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

namespace culvert::ctl::ovsdb {
namespace {

using nlohmann::json;

constexpr std::size_t kServerBytesMax = std::size_t{16} << 20U;
/// A transaction's name is sent back to the server, and is a UUID.
constexpr std::size_t kTransactionBytesMax = 64;
constexpr const char* kServerDatabase = "_Server";
constexpr const char* kServerTable = "Database";

struct MethodWords {
    const char* request;
    const char* update;
    UpdateForm form;
};

constexpr std::array<MethodWords, 3> kMethodWords = {{
    {"monitor_cond_since", "update3", UpdateForm::difference},
    {"monitor_cond", "update2", UpdateForm::difference},
    {"monitor", "update", UpdateForm::old_and_new},
}};

/// The columns of _Server that matter (ovsdb-server(5)).
Selection server_selection() {
    const ColumnType name{.key = AtomType::string};
    const ColumnType flag{.key = AtomType::boolean};
    return {
        {kServerTable, {{"name", name}, {"model", name}, {"connected", flag}, {"leader", flag}}}};
}

json server_monitor_id() {
    return json::array({"culvert", kServerDatabase});
}

json monitor_id(std::int64_t generation) {
    return json::array({"culvert", generation});
}

/// The beginning of a JSON text, for a sentence.
std::string excerpt(const json& value) {
    constexpr std::size_t kMax = 200;
    if (value.is_string()) {
        return value.get_ref<const std::string&>().substr(0, kMax);
    }
    if (value.is_structured() && value.size() > 8) {
        return "a long one";
    }
    return value.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, kMax);
}

/// <error> in words: "constraint violation: details".
std::string describe_error(const json& error) {
    const json* word = member(error, "error");
    const json* details = member(error, "details");
    std::string text = excerpt(word == nullptr ? error : *word);
    if (details != nullptr && details->is_string()) {
        text += ": " + excerpt(*details);
    }
    return text;
}

bool is_unknown_method(const json& error) {
    const json* word = member(error, "error");
    return error == "unknown method" || (word != nullptr && *word == "unknown method");
}

/// The failure in the results of a transaction, if there is one. An operation that was not carried
/// out for it has null.
std::optional<std::string> failure_in(const json& results) {
    if (!results.is_array()) {
        return "the answer to a transaction is not an array";
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
        const json* error = member(results[i], "error");
        if (error != nullptr && !error->is_null()) {
            return "operation " + std::to_string(i + 1) + ": " + describe_error(results[i]);
        }
    }
    return std::nullopt;
}

bool is_transaction(const json& name) {
    return name.is_string() && name.get_ref<const std::string&>().size() <= kTransactionBytesMax;
}

tl::unexpected<std::string> failure(std::string sentence) {
    return tl::unexpected<std::string>(std::move(sentence));
}

}  // namespace

// ---- What is sent -------------------------------------------------------------------------------

Dialogue::Dialogue(const DialogueOptions& options, Mirror& mirror)
    : options_(options), mirror_(mirror), server_(kServerBytesMax) {
    server_.select(server_selection());
    send(Request::change_aware, "set_db_change_aware", json::array({true}));
    send(
        Request::server_monitor,
        "monitor_cond",
        json::array({kServerDatabase, server_monitor_id(), server_.requests()})
    );
}

void Dialogue::send(Request request, const char* method, const json& parameters, Done done) {
    const std::int64_t id = next_id_++;
    output_ += json({{"id", id}, {"method", method}, {"params", parameters}}
    ).dump(-1, ' ', false, json::error_handler_t::replace);
    pending_.emplace(id, Pending{request, std::move(done)});
}

void Dialogue::answer(const json& id, const json& result, const json& error) {
    output_ += json({{"id", id}, {"result", result}, {"error", error}}
    ).dump(-1, ' ', false, json::error_handler_t::replace);
}

void Dialogue::ask_for_schema() {
    send(Request::schema, "get_schema", json::array({options_.database}));
}

void Dialogue::ask_for_contents() {
    const MethodWords& words = kMethodWords.at(static_cast<std::size_t>(method_));
    json parameters =
        json::array({options_.database, monitor_id(++generation_), mirror_.requests()});
    if (method_ == Method::cond_since) {
        asked_since_ = mirror_.transaction();
        parameters.push_back(asked_since_);
    }
    send(Request::monitor, words.request, parameters);
}

void Dialogue::transact(const json& operations, Done done) {
    if (transactions_ == kTransactionsMax) {
        finish(
            std::move(done),
            failure(
                "there are " + std::to_string(kTransactionsMax) +
                " transactions that the server has not answered"
            )
        );
        return;
    }
    ++transactions_;
    json parameters = json::array({options_.database});
    parameters.insert(parameters.end(), operations.begin(), operations.end());
    send(Request::transact, "transact", parameters, std::move(done));
}

void Dialogue::probe() {
    send(Request::probe, "echo", json::array());
}

void Dialogue::finish(Done done, Result<json> result) {
    if (done) {
        finished_.emplace_back([done = std::move(done), result = std::move(result)]() mutable {
            done(std::move(result));
        });
    }
}

void Dialogue::fail(const std::string& sentence) {
    for (auto& [id, pending] : pending_) {
        finish(std::move(pending.done), failure(sentence));
    }
    pending_.clear();
    transactions_ = 0;
}

std::string Dialogue::take_output() {
    return std::exchange(output_, {});
}

std::vector<std::function<void()>> Dialogue::take_finished() {
    return std::exchange(finished_, {});
}

bool Dialogue::take_changed() {
    return std::exchange(changed_, false);
}

// ---- What is received ---------------------------------------------------------------------------

Result<void> Dialogue::receive(std::string_view text) {
    auto taken = take(text);
    if (!taken.has_value() && !unsuitable_) {
        // What a server that breaks the rules said before is not to be built upon either.
        mirror_.set_transaction(kNoTransaction);
    }
    return taken;
}

Result<void> Dialogue::take(std::string_view text) {
    json message = json::parse(text, nullptr, false);
    if (message.is_discarded()) {
        return failure("a message is not valid JSON");
    }
    if (!message.is_object()) {
        return failure("a message is not an object");
    }
    const json* method = member(message, "method");
    return method != nullptr && !method->is_null() ? on_request(message) : on_reply(message);
}

Result<void> Dialogue::on_request(json& message) {
    json& method = message["method"];
    json& parameters = message["params"];
    const json& id = message["id"];
    if (!method.is_string()) {
        return failure("the method of a message is " + excerpt(method) + ", not a string");
    }
    const auto& name = method.get_ref<const std::string&>();
    if (name == "echo") {
        if (!id.is_null()) {
            answer(id, parameters, nullptr);
        }
        return {};
    }
    if (!parameters.is_array()) {
        return failure("the parameters of \"" + excerpt(method) + "\" are not an array");
    }
    if (name == "update" || name == "update2" || name == "update3") {
        return on_update(name, parameters);
    }
    if (name == "monitor_canceled") {
        return on_monitor_canceled(parameters);
    }
    if (name == "locked" || name == "stolen") {
        return on_lock_notice(name, parameters);
    }
    if (!id.is_null()) {
        answer(id, nullptr, "unknown method");
    }
    return {};
}

Result<void> Dialogue::on_reply(json& message) {
    const json* id = member(message, "id");
    const auto found = id != nullptr && id->is_number_integer()
                           ? pending_.find(id->get<std::int64_t>())
                           : pending_.end();
    if (found == pending_.end()) {
        return failure("a reply is to no request of ours");
    }
    Pending pending = std::move(found->second);
    pending_.erase(found);
    const json error = std::move(message["error"]);
    json& result = message["result"];
    const bool refused = !error.is_null();
    switch (pending.request) {
    case Request::change_aware:
    case Request::probe:
        return {};
    case Request::server_monitor:
        return on_server_contents(refused ? nullptr : &result);
    case Request::monitor:
        return refused ? on_monitor_error(error) : on_contents(result);
    case Request::schema:
        return refused ? failure("the server refuses the schema: " + describe_error(error))
                       : on_schema(result);
    case Request::lock:
        return refused ? failure("the server refuses the lock: " + describe_error(error))
                       : on_lock_reply(result);
    case Request::transact:
        break;
    }
    --transactions_;
    if (refused) {
        finish(std::move(pending.done), failure(describe_error(error)));
    } else if (auto failed = failure_in(result)) {
        finish(std::move(pending.done), failure(std::move(*failed)));
    } else {
        finish(std::move(pending.done), std::move(result));
    }
    return {};
}

// ---- The server ---------------------------------------------------------------------------------

Result<void> Dialogue::on_server_contents(json* result) {
    if (result != nullptr) {
        auto contents = server_.replace(UpdateForm::difference, *result);
        if (!contents.has_value()) {
            return failure("the contents of database _Server: " + contents.error());
        }
        follows_server_ = true;
    }
    // Without _Server (RFC 7047 does not have it) there are no clusters either.
    return check_server();
}

Result<void> Dialogue::check_server() {
    bool known = !follows_server_;
    for (const auto& [uuid, row] : server_.replica().rows(kServerTable)) {
        if (column(row, "name").string() != options_.database) {
            continue;
        }
        known = true;
        const bool clustered = column(row, "model").string() == "clustered";
        const bool connected = column(row, "connected").boolean() == true;
        if (clustered && !(connected && column(row, "leader").boolean() == true)) {
            unsuitable_ = true;
            return failure(
                connected ? "the server is not the leader of its cluster"
                          : "the server is not connected to its cluster"
            );
        }
    }
    if (!known) {
        unsuitable_ = true;
        return failure("the server has no database \"" + options_.database + "\"");
    }
    if (!std::exchange(suitable_, true)) {
        if (!options_.lock.empty()) {
            send(Request::lock, "lock", json::array({options_.lock}));
        }
        ask_for_schema();
    }
    return {};
}

// ---- The contents -------------------------------------------------------------------------------

Result<void> Dialogue::on_schema(const json& schema) {
    auto selection = select_columns(schema, options_.wanted);
    if (!selection.has_value()) {
        return failure(std::move(selection.error()));
    }
    mirror_.select(std::move(*selection));
    ask_for_contents();
    return {};
}

Result<void> Dialogue::on_monitor_error(const json& error) {
    if (!is_unknown_method(error) || method_ == Method::plain) {
        return failure("the server refuses the contents: " + describe_error(error));
    }
    method_ = method_ == Method::cond_since ? Method::cond : Method::plain;
    ask_for_contents();
    return {};
}

Result<void> Dialogue::on_contents(json& result) {
    const MethodWords& words = kMethodWords.at(static_cast<std::size_t>(method_));
    bool whole = true;
    std::string transaction = kNoTransaction;
    json* updates = &result;
    if (method_ == Method::cond_since) {
        if (!result.is_array() || result.size() != 3 || !result[0].is_boolean() ||
            !is_transaction(result[1])) {
            return failure(
                "the contents are not an array of a boolean, a transaction and the tables"
            );
        }
        whole = !result[0].get<bool>();
        transaction = result[1].get<std::string>();
        updates = &result[2];
        if (!whole && asked_since_ == kNoTransaction) {
            return failure("the server has contents since a transaction that was not named");
        }
    }
    auto applied = whole ? mirror_.replace(words.form, *updates)
                         : mirror_.apply(words.form, *updates).map([](bool) {});
    if (!applied.has_value()) {
        return failure("the contents: " + applied.error());
    }
    mirror_.set_transaction(std::move(transaction));
    synchronised_ = true;
    changed_ = true;
    return {};
}

Result<void> Dialogue::on_update(std::string_view method, json& parameters) {
    const MethodWords& words = kMethodWords.at(static_cast<std::size_t>(method_));
    const std::string name(method);
    if (follows_server_ && name == "update2" && parameters.size() == 2 &&
        parameters[0] == server_monitor_id()) {
        if (auto applied = server_.apply(UpdateForm::difference, parameters[1]);
            !applied.has_value()) {
            return failure("an update of database _Server: " + applied.error());
        }
        return check_server();
    }
    if (!synchronised_ || name != words.update || parameters.empty() ||
        parameters[0] != monitor_id(generation_)) {
        return failure("a message \"" + name + "\" is of no monitor of ours");
    }
    const bool since = method_ == Method::cond_since;
    if (parameters.size() != (since ? 3 : 2) || (since && !is_transaction(parameters[1]))) {
        return failure("the parameters of a message \"" + name + "\" are not what it has");
    }
    const auto applied = mirror_.apply(words.form, parameters.back());
    if (!applied.has_value()) {
        return failure("a message \"" + name + "\": " + applied.error());
    }
    if (since) {
        mirror_.set_transaction(parameters[1].get<std::string>());
    }
    changed_ = changed_ || *applied;
    return {};
}

/// The database was converted to another schema, or is gone.
Result<void> Dialogue::on_monitor_canceled(const json& parameters) {
    if (follows_server_ && parameters.size() == 1 && parameters[0] == server_monitor_id()) {
        follows_server_ = false;  // The server ends; what it said of itself last stays.
        return {};
    }
    if (!synchronised_ || parameters.size() != 1 || parameters[0] != monitor_id(generation_)) {
        return failure("a message \"monitor_canceled\" is of no monitor of ours");
    }
    synchronised_ = false;
    changed_ = true;
    ask_for_schema();
    return {};
}

// ---- The lock -----------------------------------------------------------------------------------

void Dialogue::set_lock(Lock lock) {
    changed_ = changed_ || lock != lock_;
    lock_ = lock;
}

Result<void> Dialogue::on_lock_reply(const json& result) {
    const json* locked = member(result, "locked");
    if (locked == nullptr || !locked->is_boolean()) {
        return failure("the reply to a request for a lock is not {\"locked\": BOOLEAN}");
    }
    set_lock(locked->get<bool>() ? Lock::held : Lock::contended);
    return {};
}

Result<void> Dialogue::on_lock_notice(std::string_view method, const json& parameters) {
    if (parameters.size() != 1 || parameters[0] != options_.lock || lock_ == Lock::none) {
        return failure("a message \"" + std::string(method) + "\" is of no lock of ours");
    }
    set_lock(method == "locked" ? Lock::held : Lock::contended);
    return {};
}

}  // namespace culvert::ctl::ovsdb
