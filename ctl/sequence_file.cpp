// SPDX-License-Identifier: GPL-2.0-or-later
//
// The format of the files of a SequenceStore. See sequence_store.hpp.

#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <openssl/sha.h>

#include "ctl/sequence_store.hpp"

namespace culvert::ctl {

namespace {

constexpr std::string_view kFirstLine = "culvert esp sequences 1\n";
constexpr std::string_view kSumWord = "sha256 ";
constexpr std::string_view kConfigured = "configured";
constexpr std::string_view kNegotiated = "negotiated";

SaFingerprint digest(std::string_view text) {
    SaFingerprint sum{};
    ::SHA256(
        reinterpret_cast<const unsigned char*>(text.data()),
        text.size(),
        reinterpret_cast<unsigned char*>(sum.data())
    );
    return sum;
}

std::string hexadecimal(const SaFingerprint& bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
        text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    return text;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text, int base) {
    Number number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

std::optional<SaFingerprint> parse_fingerprint(std::string_view text) {
    SaFingerprint bytes{};
    if (text.size() != 2 * bytes.size()) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto byte = parse_number<std::uint8_t>(text.substr(2 * i, 2), 16);
        if (!byte) {
            return std::nullopt;
        }
        bytes[i] = std::byte{*byte};
    }
    return bytes;
}

/// The text up to `end`, which is taken away with it.
std::optional<std::string_view> take_until(std::string_view& text, char end) {
    const std::size_t at = text.find(end);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::string_view taken = text.substr(0, at);
    text.remove_prefix(at + 1);
    return taken;
}

bool parse_line(std::string_view line, SequenceStore::Entries& entries) {
    const auto fingerprint = take_until(line, ' ');
    const auto kind = take_until(line, ' ');
    if (!fingerprint || !kind || (*kind != kConfigured && *kind != kNegotiated)) {
        return false;
    }
    const auto key = parse_fingerprint(*fingerprint);
    const auto number = parse_number<std::uint64_t>(line, 10);
    return key && number &&
           entries.try_emplace(*key, SequenceStore::Entry{*number, *kind == kNegotiated}).second;
}

}  // namespace

std::string write_sequences(const SequenceStore::Entries& entries) {
    std::string text(kFirstLine);
    for (const auto& [key, entry] : entries) {
        text += fmt::format(
            "{} {} {}\n",
            hexadecimal(key),
            entry.negotiated ? kNegotiated : kConfigured,
            entry.number
        );
    }
    const std::string sum = hexadecimal(digest(text));
    return text + std::string(kSumWord) + sum + "\n";
}

Result<SequenceStore::Entries> parse_sequences(const std::string& text) {
    std::string_view rest(text);
    if (!rest.starts_with(kFirstLine)) {
        return tl::unexpected(std::string("it does not begin with \"culvert esp sequences 1\""));
    }
    const std::size_t sum_at = text.rfind("\n" + std::string(kSumWord));
    if (sum_at == std::string::npos) {
        return tl::unexpected(std::string("it is cut off"));
    }
    const std::string_view summed = rest.substr(0, sum_at + 1);
    if (rest.substr(sum_at + 1) != std::string(kSumWord) + hexadecimal(digest(summed)) + "\n") {
        return tl::unexpected(std::string("its checksum is wrong"));
    }
    SequenceStore::Entries entries;
    rest = summed.substr(kFirstLine.size());
    while (const auto line = take_until(rest, '\n')) {
        if (!parse_line(*line, entries)) {
            return tl::unexpected(std::string("it has a line that is none of its kind"));
        }
    }
    return entries;
}

}  // namespace culvert::ctl
