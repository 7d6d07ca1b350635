// SPDX-License-Identifier: GPL-2.0-or-later
//
// Typed reading of one table of a TOML document (TOML 1.0.0). Each mistake becomes one sentence
// with file and line; the first one is kept, and reading goes on with defaults, so that code which
// reads a section is a plain list of keys. Whoever includes this includes toml++, which is slow to
// compile. One thread at a time.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctl/config_words.hpp"
#include "ctl/toml_library.hpp"
#include "ctl/toml_value.hpp"

namespace culvert::ctl {

class TomlTable {
public:
    /// Reports unknown keys. `owner` names the item that the section belongs to, e.g. the bridge of
    /// a [bridge.local]. `table` and `error` outlive this.
    TomlTable(
        const toml::table& table, const Section& section, std::string_view owner, FirstError& error
    );

    [[nodiscard]] bool has(std::string_view key) const { return table_->contains(key); }
    [[nodiscard]] bool is_table(std::string_view key) const { return (*table_)[key].is_table(); }
    [[nodiscard]] Origin origin() const;

    /// "SUBJECT: TEXT", at the line of `key` where it is present.
    void fail(std::string_view key, std::string_view text) const;
    /// "KEY = VALUE PROBLEM; valid: VALID".
    void invalid(std::string_view key, std::string_view problem, std::string_view valid) const;
    /// As invalid(), for one element of a list.
    void invalid_element(
        std::string_view key, std::size_t index, std::string_view problem, std::string_view valid
    ) const;
    /// "KEY REASON": says that `key` does not apply, unless it is absent.
    void refuse(std::string_view key, std::string_view reason) const;
    /// Reports that `key` is missing; `valid` says what belongs there.
    void require(std::string_view key, std::string_view valid) const;

    // Each of these leaves `out` alone when the key is absent or its value is bad.

    void read(std::string_view key, bool& out, std::string_view expected = "true or false") const;
    /// A string of printable characters, not empty.
    void read(std::string_view key, std::string& out) const;
    /// A unicast MAC address.
    void read(std::string_view key, std::optional<tunnels::MacAddress>& out) const;
    /// The unicast address of one host.
    void read(std::string_view key, std::optional<tunnels::IpAddress>& out) const {
        read_address(key, {}, out);
    }
    /// The same, or a word.
    void
    read(std::string_view key, Alternative other, std::optional<tunnels::IpAddress>& out) const {
        if (!take(key, other)) {
            read_address(key, other.word, out);
        }
    }
    /// Like a string, of at most `bytes_max` letters, digits and ".", "_", "-".
    void read_name(std::string_view key, std::size_t bytes_max, std::string& out) const;

    /// `note` follows "out of range", e.g. " for vxlan".
    template <std::unsigned_integral T>
    void read(std::string_view key, Range range, T& out, std::string_view note = {}) const {
        if (const std::optional<std::uint64_t> value = integer(key, range, note)) {
            out = static_cast<T>(*value);
        }
    }
    template <std::unsigned_integral T>
    void read(std::string_view key, Range range, std::optional<T>& out, std::string_view note = {})
        const {
        if (const std::optional<std::uint64_t> value = integer(key, range, note)) {
            out = static_cast<T>(*value);
        }
    }
    /// A number or a word.
    template <std::unsigned_integral T>
    void read(
        std::string_view key, Range range, Alternative other, T& out, std::string_view note = {}
    ) const {
        if (take(key, other)) {
            return;
        }
        if (const std::optional<std::uint64_t> value = integer(key, range, note, other.word)) {
            out = static_cast<T>(*value);
        }
    }
    template <std::unsigned_integral T>
    void read(
        std::string_view key,
        Range range,
        Alternative other,
        std::optional<T>& out,
        std::string_view note = {}
    ) const {
        if (take(key, other)) {
            return;
        }
        if (const std::optional<std::uint64_t> value = integer(key, range, note, other.word)) {
            out = static_cast<T>(*value);
        }
    }
    template <std::unsigned_integral T>
    void read_list(std::string_view key, Range range, std::vector<T>& out) const {
        for (const std::uint64_t value : integers(key, range)) {
            out.push_back(static_cast<T>(value));
        }
    }
    void
    read_list(std::string_view key, std::string_view what, std::vector<std::string>& out) const;

    template <class E, std::size_t N>
    void read(std::string_view key, const std::array<Word<E>, N>& words, E& out) const {
        std::array<std::string_view, N> valid;
        for (std::size_t i = 0; i < N; ++i) {
            valid[i] = words[i].word;
        }
        if (const std::optional<std::size_t> index = choice(key, valid)) {
            out = words[*index].value;
        }
    }
    /// The index of the value in `words`.
    [[nodiscard]] std::optional<std::size_t>
    choice(std::string_view key, std::span<const std::string_view> words) const;

    /// The tables that stand in `table` under `key` and are written as `section` says: in the order
    /// of the file, at most one when the section is no list.
    [[nodiscard]] static std::vector<TomlTable> sections(
        const toml::table& table,
        std::string_view key,
        const Section& section,
        std::string_view owner,
        FirstError& error
    );
    [[nodiscard]] std::vector<TomlTable>
    sections(std::string_view key, const Section& section, std::string_view owner) const {
        return sections(*table_, key, section, owner, *error_);
    }

private:
    [[nodiscard]] std::uint32_t line(std::string_view key) const;
    void wrong_type(std::string_view key, std::string_view expected, const toml::node& got) const;
    /// `word` may stand in place of a number, unless it is empty; it was looked for before.
    [[nodiscard]] std::optional<std::uint64_t> integer(
        std::string_view key, Range range, std::string_view note, std::string_view word = {}
    ) const;
    void read_address(
        std::string_view key, std::string_view word, std::optional<tunnels::IpAddress>& out
    ) const;
    /// Whether the value is the word; then it is chosen.
    [[nodiscard]] bool take(std::string_view key, Alternative other) const;
    [[nodiscard]] std::vector<std::uint64_t> integers(std::string_view key, Range range) const;
    [[nodiscard]] std::optional<std::string>
    string(std::string_view key, std::string_view valid) const;
    void check_keys(const Section& section) const;

    const toml::table* table_;
    std::string subject_;
    FirstError* error_;
};

/// True for 1 to `bytes_max` letters, digits, ".", "_" and "-", the first a letter or digit.
[[nodiscard]] bool is_name(std::string_view text, std::size_t bytes_max) noexcept;
/// What is_name() accepts, in words.
[[nodiscard]] std::string name_rule(std::size_t bytes_max);

/// Empty for an address that one host can have, else what is wrong with it.
[[nodiscard]] std::string_view unicast_problem(const tunnels::IpAddress& address);

}  // namespace culvert::ctl
