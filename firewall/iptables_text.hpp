// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules of iptables-nft as iptables lists them, from the JSON of libnftables. For people: nft's own
// text of such a rule needs the extensions of iptables loaded into this process. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace culvert::firewall {

class IptablesText {
public:
    /// One statement of a rule. What iptables has no word for here stands in brackets.
    void add_statement(const std::string& what, const nlohmann::json& value);
    /// What an extension is, in words of iptables already.
    void add_words(std::string_view words);
    void add_comment(std::string_view comment);

    [[nodiscard]] const std::string& text() const { return text_; }

private:
    void add_match(const nlohmann::json& match);
    void add_payload(
        const nlohmann::json& payload, const nlohmann::json& right, const std::string& negation
    );

    std::string text_;
    std::string protocol_;  ///< Of "-p".
    std::string ports_of_;  ///< Of "-m", which stands once before both ports.
};

}  // namespace culvert::firewall
