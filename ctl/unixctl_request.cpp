// SPDX-License-Identifier: GPL-2.0-or-later
//
// One request of the control socket: JSON-RPC 1.0 in, a command's handler, JSON-RPC 1.0 out, with
// the sentences that OVS users know. No sockets here. The control thread calls it.
#include "ctl/unixctl.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/json_stream.hpp"
#include "ctl/sentence.hpp"

namespace culvert::ctl {
namespace {

constexpr std::string_view kListCommands = "list-commands";
constexpr std::string_view kFormatOption = "--format";
constexpr std::size_t kUsageColumn = 23;  ///< OVS pads names to this width.

std::string dump(const nlohmann::json& value) {
    return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string write_response(const nlohmann::json& id, const Result<std::string>& outcome) {
    std::string text = outcome.has_value() ? *outcome : outcome.error();
    if (!text.empty() && text.back() != '\n') {
        text.push_back('\n');
    }
    const std::string quoted = dump(text);
    return "{\"id\":" + dump(id) + ",\"result\":" + (outcome.has_value() ? quoted : "null") +
           ",\"error\":" + (outcome.has_value() ? "null" : quoted) + "}";
}

/// "--limit" of "--limit N".
std::string_view option_name(std::string_view option) {
    return option.substr(0, option.find(' '));
}

bool option_takes_value(std::string_view option) {
    return option.find(' ') != std::string_view::npos;
}

std::string list_commands(const std::map<std::string, Command>& commands) {
    std::map<std::string_view, std::string> usages = {{kListCommands, ""}};
    for (const auto& [name, command] : commands) {
        std::string usage;
        for (const std::string& option : command.options) {
            usage.append("[").append(option).append("] ");
        }
        usages[name] = usage + command.usage;
    }
    std::string text = "The available commands are:\n";
    for (const auto& [name, usage] : usages) {
        std::string line = "  " + std::string(name);
        line.resize(std::max(line.size(), kUsageColumn + 2), ' ');
        line += " " + usage;
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

/// The arguments that are neither options nor their values.
Result<std::size_t>
count_arguments(const std::string& name, const Command& command, const Arguments& arguments) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        if (command.options.empty() || !word.starts_with("--")) {
            ++count;
            continue;
        }
        const auto option = std::find_if(
            command.options.begin(),
            command.options.end(),
            [&](const std::string& candidate) { return option_name(candidate) == word; }
        );
        if (option == command.options.end()) {
            std::string known;
            for (const std::string& candidate : command.options) {
                known += (known.empty() ? "" : ", ") + candidate;
            }
            return tl::unexpected(
                quote(name) + " command has no option " + quote(word) + " (it takes " + known + ")"
            );
        }
        if (option_takes_value(*option)) {
            ++i;
            if (i == arguments.size() || arguments[i].starts_with("--")) {
                return tl::unexpected(
                    quote(name) + " command option " + quote(word) + " needs a value (" + *option +
                    ")"
                );
            }
        }
    }
    return count;
}

Result<std::string>
run_command(const std::string& name, const Command& command, const Arguments& arguments) {
    const auto count = count_arguments(name, command, arguments);
    if (!count.has_value()) {
        return tl::unexpected(count.error());
    }
    if (*count < command.arguments_min) {
        return tl::unexpected(
            quote(name) + " command requires at least " + std::to_string(command.arguments_min) +
            " arguments"
        );
    }
    if (*count > command.arguments_max) {
        return tl::unexpected(
            quote(name) + " command takes at most " + std::to_string(command.arguments_max) +
            " arguments"
        );
    }
    try {
        return command.handler(arguments);
    } catch (const std::exception& error) {
        // A question must not end the daemon.
        return tl::unexpected(quote(name) + " command failed: " + error.what());
    }
}

Result<std::string>
run_request(const std::map<std::string, Command>& commands, const nlohmann::json& request) {
    const auto method = request.find("method");
    if (method == request.end() || !method->is_string()) {
        return tl::unexpected(std::string("the request has no \"method\" string"));
    }
    const auto params = request.find("params");
    if (params == request.end() || !params->is_array()) {
        return tl::unexpected(std::string("the request has no \"params\" array"));
    }
    const auto& name = method->get_ref<const std::string&>();
    const auto command = commands.find(name);
    if (command == commands.end() && name != kListCommands) {
        return tl::unexpected(
            quote(name) +
            " is not a valid command (use \"list-commands\" to see a list of valid commands)"
        );
    }
    Arguments arguments;
    for (const nlohmann::json& param : *params) {
        if (!param.is_string()) {
            return tl::unexpected(quote(name) + " command has non-string argument");
        }
        arguments.push_back(param.get<std::string>());
    }
    if (command != commands.end()) {
        return run_command(name, command->second, arguments);
    }
    Command builtin;
    builtin.handler = [&commands](const Arguments&) { return list_commands(commands); };
    return run_command(name, builtin, arguments);
}

}  // namespace

std::optional<std::string> take_option(Arguments& arguments, std::string_view name) {
    std::optional<std::string> value;
    auto word = std::find(arguments.begin(), arguments.end(), name);
    while (word != arguments.end() && word + 1 != arguments.end()) {
        value = *(word + 1);
        word = arguments.erase(word, word + 2);
        word = std::find(word, arguments.end(), name);
    }
    return value;
}

bool take_flag(Arguments& arguments, std::string_view name) {
    return std::erase(arguments, name) != 0;
}

Result<OutputFormat> take_format(Arguments& arguments) {
    const auto word = take_option(arguments, kFormatOption).value_or("text");
    if (word == "text") {
        return OutputFormat::text;
    }
    if (word == "json") {
        return OutputFormat::json;
    }
    return tl::unexpected("format " + quote(word) + " is not one of text, json");
}

std::string answer_refusal(std::string sentence) {
    return write_response(nullptr, tl::unexpected(std::move(sentence)));
}

std::string
answer_request(const std::map<std::string, Command>& commands, std::string_view request) {
    // The stream's bounds hold for this caller too: the id is echoed by a recursive writer.
    JsonStream stream(request.size());
    const auto texts = stream.feed(request);
    const auto rest = stream.feed({});
    if (!texts.has_value() || !rest.has_value()) {
        return answer_refusal(texts.has_value() ? rest.error() : texts.error());
    }
    if (texts->size() != 1 || stream.pending()) {
        return answer_refusal("a request is one JSON object");
    }
    const auto message = nlohmann::json::parse(texts->front());
    if (!message.is_object()) {
        return answer_refusal("a request is a JSON object, not an array");
    }
    const auto id = message.find("id");
    if (id == message.end()) {
        return answer_refusal("the request has no \"id\"");
    }
    return write_response(*id, run_request(commands, message));
}

}  // namespace culvert::ctl
