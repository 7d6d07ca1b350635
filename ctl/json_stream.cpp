// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finds the end of each JSON text by counting brackets outside strings, byte by byte, so that a
// text that arrives in pieces costs linear time; only a complete text is checked against the whole
// grammar (RFC 8259).
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

JsonStream::Scan JsonStream::fail(std::string sentence) {
    error_ = std::move(sentence);
    buffer_ = {};
    return Scan::bad;
}

JsonStream::Scan JsonStream::scan(char byte) {
    if (buffer_.empty()) {
        if (is_blank(byte)) {
            return Scan::more;
        }
        if (byte != '{' && byte != '[') {
            return fail("a message starts with " + quote_byte(byte) + ", not with \"{\"");
        }
    }
    if (buffer_.size() == bytes_max_) {
        return fail("a message is longer than " + std::to_string(bytes_max_) + " bytes");
    }
    buffer_.push_back(byte);
    if (in_string_) {
        if (escaped_) {
            escaped_ = false;
        } else if (byte == '\\') {
            escaped_ = true;
        } else if (byte == '"') {
            in_string_ = false;
        }
        return Scan::more;
    }
    if (byte == '"') {
        in_string_ = true;
    } else if (byte == '{' || byte == '[') {
        if (++depth_ > kJsonDepthMax) {
            return fail(
                "a message nests more than " + std::to_string(kJsonDepthMax) + " objects and arrays"
            );
        }
    } else if (byte == '}' || byte == ']') {
        --depth_;  // Not below zero: the first byte of a text opens a bracket.
    }
    return depth_ == 0 ? Scan::complete : Scan::more;
}

Result<std::vector<std::string>> JsonStream::feed(std::string_view bytes) {
    std::vector<std::string> texts;
    for (const char byte : bytes) {
        if (!error_.empty()) {
            break;
        }
        if (scan(byte) != Scan::complete) {
            continue;
        }
        if (!nlohmann::json::accept(buffer_)) {
            fail("a message is not valid JSON");
            break;
        }
        texts.push_back(std::exchange(buffer_, {}));
    }
    if (texts.empty() && !error_.empty()) {
        return tl::unexpected(error_);
    }
    return texts;
}

}  // namespace culvert::ctl
