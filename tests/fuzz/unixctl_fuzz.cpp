// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary bytes on the control socket: the first byte says in what pieces the rest arrives. The
// stream must split it in the same way as in one piece, and each request, like the whole input
// taken as one, must be answered with one well-formed response.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "ctl/json_stream.hpp"
#include "ctl/unixctl.hpp"

namespace {

using culvert::ctl::Arguments;
using culvert::ctl::Command;
using culvert::ctl::JsonStream;
using culvert::ctl::Result;
using culvert::ctl::take_flag;
using culvert::ctl::take_format;
using culvert::ctl::take_option;

constexpr std::size_t kBytesMax = 512;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

const std::map<std::string, Command>& commands() {
    const auto show = [](const Arguments& sent) -> Result<std::string> {
        Arguments arguments = sent;
        const auto format = take_format(arguments);
        if (!format.has_value()) {
            return tl::unexpected(format.error());
        }
        std::string text = take_option(arguments, "--limit").value_or("none");
        text += take_flag(arguments, "--all") ? " all" : " some";
        // The server has counted: with the options taken out, at most one argument is left.
        require(arguments.size() <= 1);
        for (const std::string& argument : arguments) {
            require(!argument.starts_with("--"));
            text += " " + argument;
        }
        return text;
    };
    const auto echo = [](const Arguments& arguments) -> Result<std::string> {
        return arguments.front();
    };
    static const std::map<std::string, Command> table = {
        {"e", {"WORD", 1, 2, echo}},
        {"s", {"[NAME]", 0, 1, show, {"--format text|json", "--limit N", "--all"}}},
    };
    return table;
}

/// All texts up to the end or the first error, which must then stay.
std::vector<std::string> split(std::string_view bytes, std::size_t piece, bool& failed) {
    JsonStream stream(kBytesMax);
    std::vector<std::string> texts;
    failed = false;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        auto fed = stream.feed(bytes.substr(at, piece));
        require(!failed || !fed.has_value());
        if (!fed.has_value()) {
            failed = true;
            continue;
        }
        for (std::string& text : *fed) {
            require(text.size() <= kBytesMax && nlohmann::json::accept(text));
            texts.push_back(std::move(text));
        }
    }
    failed = !stream.feed({}).has_value();
    require(!failed || !stream.pending());
    return texts;
}

void check_answer(std::string_view request) {
    const auto answer = nlohmann::json::parse(answer_request(commands(), request));
    require(answer.is_object() && answer.size() == 3 && answer.contains("id"));
    require(answer.at("result").is_string() != answer.at("error").is_string());
    require(answer.at("result").is_null() != answer.at("error").is_null());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string bytes(data + 1, data + size);
    bool failed_whole = false;
    bool failed_pieces = false;
    const auto whole = split(bytes, std::max<std::size_t>(bytes.size(), 1), failed_whole);
    const auto pieces = split(bytes, std::size_t{data[0]} + 1, failed_pieces);
    require(whole == pieces && failed_whole == failed_pieces);
    for (const std::string& text : whole) {
        check_answer(text);
    }
    check_answer(bytes);
    return 0;
}
