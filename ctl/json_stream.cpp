// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finds the end of each JSON text by counting brackets outside strings, so that a text that arrives
// in pieces costs linear time; only a complete text is checked against the whole grammar (RFC
// 8259).
#include "ctl/json_stream.hpp"

#include <array>
#include <cstdio>
#include <utility>

#include <nlohmann/json.hpp>

namespace culvert::ctl {
namespace {

bool is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

std::string quote_byte(char byte) {
    if (byte > ' ' && byte <= '~') {
        return {'"', byte, '"'};
    }
    std::array<char, 16> text{};
    const auto value = static_cast<unsigned>(static_cast<unsigned char>(byte));
    const int length = std::snprintf(text.data(), text.size(), "byte 0x%02x", value);
    return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

void JsonStream::fail(std::string sentence) {
    error_ = std::move(sentence);
    buffer_ = {};
}

void JsonStream::scan_bracket(char byte) {
    if (byte == '}' || byte == ']') {
        complete_ = --depth_ == 0;  // Not below zero: the first byte of a text opens a bracket.
        return;
    }
    if (byte != ',' && ++depth_ > kJsonDepthMax) {
        fail("a message nests more than " + std::to_string(kJsonDepthMax) + " objects and arrays");
    } else if (++values_ > limits_.values_max) {
        fail("a message has more than " + std::to_string(limits_.values_max) + " values");
    }
}

std::size_t JsonStream::scan(std::string_view bytes) {
    std::size_t at = 0;
    while (at < bytes.size()) {
        const char byte = bytes[at++];
        if (in_string_) {
            if (escaped_) {
                escaped_ = false;
            } else if (byte == '\\') {
                escaped_ = true;
            } else if (byte == '"') {
                in_string_ = false;
            }
            continue;
        }
        switch (byte) {
        case '"':
            in_string_ = true;
            break;
        case '{':
        case '[':
        case '}':
        case ']':
        case ',':
            scan_bracket(byte);
            if (complete_ || !error_.empty()) {
                return at;
            }
            break;
        default:
            break;
        }
    }
    return at;
}

Result<std::vector<std::string>> JsonStream::feed(std::string_view bytes) {
    std::vector<std::string> texts;
    while (error_.empty() && !bytes.empty()) {
        if (buffer_.empty()) {
            if (is_blank(bytes.front())) {
                bytes.remove_prefix(1);
                continue;
            }
            if (bytes.front() != '{' && bytes.front() != '[') {
                fail("a message starts with " + quote_byte(bytes.front()) + ", not with \"{\"");
                break;
            }
        }
        const std::string_view fitting = bytes.substr(0, limits_.bytes_max - buffer_.size());
        const std::size_t taken = scan(fitting);
        if (!error_.empty()) {
            break;
        }
        buffer_.append(fitting.substr(0, taken));
        bytes.remove_prefix(taken);
        if (!complete_) {
            if (!bytes.empty()) {
                fail("a message is longer than " + std::to_string(limits_.bytes_max) + " bytes");
            }
            continue;
        }
        if (!limits_.brackets_only && !nlohmann::json::accept(buffer_)) {
            fail("a message is not valid JSON");
            break;
        }
        texts.push_back(std::exchange(buffer_, {}));
        complete_ = false;
        values_ = 0;
    }
    if (texts.empty() && !error_.empty()) {
        return tl::unexpected(error_);
    }
    return texts;
}

}  // namespace culvert::ctl
