// SPDX-License-Identifier: GPL-2.0-or-later
//
// For tests of the control socket: commands that echo, fail, answer at length or throw, and
// requests and answers as values.
#pragma once

#include <map>
#include <optional>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "ctl/unixctl.hpp"

namespace culvert::ctl::testing {

inline std::map<std::string, Command> make_commands() {
    const auto echo = [](const Arguments& arguments) -> Result<std::string> {
        std::string text;
        for (const std::string& argument : arguments) {
            text += "<" + argument + ">";
        }
        return text;
    };
    const auto fail = [](const Arguments&) -> Result<std::string> {
        return tl::unexpected(std::string("there is no bridge \"br9\""));
    };
    const auto size = [](const Arguments& arguments) -> Result<std::string> {
        return std::string(std::stoul(arguments.at(0)), 'x');
    };
    const auto explode = [](const Arguments&) -> Result<std::string> {
        throw std::runtime_error("out of cheese");
    };
    return {
        {"echo", {"[WORD]...", 0, 100, echo}},
        {"fdb/show", {"[BRIDGE]", 0, 1, echo, {"--format text|json"}}},
        {"flows/show", {"", 0, 0, echo, {"--format text|json", "--limit N", "--all"}}},
        {"log/set", {"LEVEL", 1, 1, echo}},
        {"fail", {"", 0, 0, fail}},
        {"size", {"BYTES", 1, 1, size}},
        {"explode", {"", 0, 0, explode}},
    };
}

inline std::string request(const std::string& method, const Arguments& params, int id = 1) {
    return nlohmann::json({{"id", id}, {"method", method}, {"params", params}}).dump();
}

struct Answer {
    nlohmann::json id;
    std::optional<std::string> result;
    std::optional<std::string> error;
};

inline Answer parse_answer(const std::string& text) {
    const auto message = nlohmann::json::parse(text);
    EXPECT_EQ(message.size(), 3U) << text;
    Answer answer;
    answer.id = message.at("id");
    if (!message.at("result").is_null()) {
        answer.result = message.at("result").get<std::string>();
    }
    if (!message.at("error").is_null()) {
        answer.error = message.at("error").get<std::string>();
    }
    EXPECT_NE(answer.result.has_value(), answer.error.has_value()) << text;
    return answer;
}

inline Answer ask(const std::string& method, const Arguments& params) {
    return parse_answer(answer_request(make_commands(), request(method, params)));
}

}  // namespace culvert::ctl::testing
