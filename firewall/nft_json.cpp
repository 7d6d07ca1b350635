// SPDX-License-Identifier: GPL-2.0-or-later
//
// The listing as a whole: which chains there are and which of them a packet to the host meets.
// Chains are read when the first jump to them is. Chains of the type nat are left out where nothing
// in their table drops, and those of the families arp, bridge and netdev meet other packets or
// earlier. Pure; any thread.
#include "firewall/nft_json.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "firewall/nft_rule.hpp"
#include "firewall/nft_set.hpp"

namespace culvert::firewall {

namespace {

using nlohmann::json;

struct ListedChain {
    const json* chain = nullptr;
    std::vector<const json*> rules;
    std::optional<std::uint32_t> index;  ///< In Ruleset::chains, once somebody jumps to it.
};

struct ListedTable {
    Families families = Families::both;
    Tool tool = Tool::nftables;
    bool has_drops = false;  ///< A rule of any of its chains may drop.
    std::map<std::string, ListedChain, std::less<>> chains;
    NftSets sets;
};

std::optional<Families> families_of(std::string_view family) {
    if (family == "ip") {
        return Families::ipv4;
    }
    if (family == "ip6") {
        return Families::ipv6;
    }
    return family == "inet" ? std::optional(Families::both) : std::nullopt;
}

NftTable table_of(const json& object, const char* name) {
    return {
        std::string(nft_text(nft_member(object, "family"))),
        std::string(nft_text(nft_member(object, name)))};
}

std::string name_of(const json& object) {
    return std::string(nft_text(nft_member(object, "name")));
}

bool is_nat(const json& chain) {
    return nft_text(nft_member(chain, "type")) == "nat";
}

bool is_input(const json& chain) {
    return nft_text(nft_member(chain, "hook")) == "input" &&
           (is_nat(chain) || nft_text(nft_member(chain, "type")) == "filter");
}

bool drops_by_policy(const json& chain) {
    return nft_text(nft_member(chain, "policy")) == "drop";
}

bool is_dynamic(const json& set) {
    const json* flags = nft_member(set, "flags");
    return flags != nullptr &&
           (nft_text(flags) == "dynamic" ||
            (flags->is_array() && std::find(flags->begin(), flags->end(), "dynamic") != flags->end()
            ));
}

// Whether a rule may drop. Verdicts of a named map are elsewhere, so it may; what an extension of
// iptables does is hidden as well, but xt's targets for the table nat drop nothing by intention.
bool may_drop(const json& rule) {
    const json* statements = nft_member(rule, "expr");
    return statements != nullptr && statements->is_array() &&
           std::any_of(statements->begin(), statements->end(), [](const json& statement) {
               return nft_member(statement, "drop") != nullptr ||
                      nft_member(statement, "vmap") != nullptr || !statement.is_object();
           });
}

std::int32_t priority_of(const json& chain) {
    const json* priority = nft_member(chain, "prio");
    const auto number =
        priority != nullptr && priority->is_number_integer() ? priority->get<std::int64_t>() : 0;
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(number, INT32_MIN, INT32_MAX));
}

bool has_extension(const json& rule) {
    const json* statements = nft_member(rule, "expr");
    return statements != nullptr && statements->is_array() &&
           std::any_of(statements->begin(), statements->end(), [](const json& statement) {
               return nft_member(statement, "xt") != nullptr;
           });
}

bool has_range(const json& rule) {
    const json* statements = nft_member(rule, "expr");
    return statements != nullptr && statements->is_array() &&
           std::any_of(statements->begin(), statements->end(), nft_has_range);
}

// Calls `visit(kind, object)` for everything that is listed.
template <class Visit>
void each_object(const json& document, Visit visit) {
    const json* objects = nft_member(document, "nftables");
    if (objects == nullptr || !objects->is_array()) {
        return;
    }
    for (const json& object : *objects) {
        if (object.is_object() && object.size() == 1) {
            visit(object.begin().key(), object.begin().value());
        }
    }
}

class Listing {
public:
    explicit Listing(NftExtensions* extensions) : extensions_(extensions) {}

    Ruleset read(const json& document) {
        each_object(document, [&](const std::string& kind, const json& object) {
            take(kind, object);
        });
        for (const auto& [key, chain_name] : inputs_) {
            const ListedTable& table = tables_[key];
            const json& chain = *table.chains.find(chain_name)->second.chain;
            if (!is_nat(chain) || drops_by_policy(chain) || table.has_drops) {
                add_base(key, chain_name);
            }
        }
        std::stable_sort(
            rules_.input.begin(),
            rules_.input.end(),
            [](const BaseChain& a, const BaseChain& b) { return a.priority < b.priority; }
        );
        // Jumps to further chains append to the list.
        for (std::size_t next = 0; next < waiting_.size(); ++next) {
            read_chain(next);
        }
        return std::move(rules_);
    }

    [[nodiscard]] std::optional<std::uint64_t> keeps_for() const {
        std::optional<std::uint64_t> least;
        for (const auto& [key, table] : tables_) {
            if (const auto seconds = table.sets.keeps_for()) {
                least = std::min(*seconds, least.value_or(*seconds));
            }
        }
        return least;
    }

private:
    void take(const std::string& kind, const json& object) {
        const NftTable key = table_of(object, kind == "table" ? "name" : "table");
        const auto families = families_of(key.family);
        if (!families) {
            return;
        }
        ListedTable& table = tables_[key];
        table.families = *families;
        if (kind == "chain") {
            const std::string name = name_of(object);
            table.chains[name].chain = &object;
            if (is_input(object)) {
                inputs_.emplace_back(key, name);
                // Where iptables-nft keeps its rules, whoever made the chain.
                if (name == "INPUT" && *families != Families::both) {
                    table.tool = Tool::iptables_nft;
                }
            }
        } else if (kind == "set" || kind == "map") {
            const json* elements = nft_member(object, "elem");
            table.sets.add(
                name_of(object), elements == nullptr ? &no_elements_ : elements, is_dynamic(object)
            );
        } else if (kind == "rule") {
            const std::string name(nft_text(nft_member(object, "chain")));
            table.chains[name].rules.push_back(&object);
            table.has_drops = table.has_drops || may_drop(object);
            if (*families != Families::both && has_extension(object)) {
                table.tool = Tool::iptables_nft;
            }
        }
    }

    void add_base(const NftTable& key, const std::string& name) {
        const json& chain = *tables_[key].chains[name].chain;
        BaseChain base;
        base.chain = index_of(key, name).value_or(0);
        base.priority = priority_of(chain);
        base.is_filter = base.priority == 0 && !is_nat(chain);
        base.first_packet_only = is_nat(chain);
        base.drops_by_policy = drops_by_policy(chain);
        rules_.input.push_back(base);
    }

    std::optional<std::uint32_t> index_of(const NftTable& key, std::string_view name) {
        ListedTable& table = tables_[key];
        const auto found = table.chains.find(name);
        if (found == table.chains.end() || found->second.chain == nullptr) {
            return std::nullopt;
        }
        ListedChain& listed = found->second;
        if (!listed.index) {
            listed.index = static_cast<std::uint32_t>(rules_.chains.size());
            Chain chain;
            chain.name = name;
            chain.table = key.name;
            chain.tool = table.tool;
            chain.families = table.families;
            rules_.chains.push_back(std::move(chain));
            waiting_.emplace_back(key, std::string(name));
        }
        return listed.index;
    }

    void read_chain(std::size_t next) {
        const auto [key, name] = waiting_[next];
        ListedTable& table = tables_[key];
        NftScope scope{key, name, table.families, table.tool, &table.sets, extensions_, {}};
        const NftTable& table_key = scope.table;
        scope.chain_index = [&](std::string_view target) { return index_of(table_key, target); };
        std::vector<Rule> rules;
        for (const json* rule : table.chains[name].rules) {
            read_nft_rule(*rule, scope, rules);
        }
        rules_.chains[next].rules = std::move(rules);
    }

    NftExtensions* extensions_;
    const json no_elements_ = json::array();  ///< Of a set that is listed without any.
    std::map<NftTable, ListedTable> tables_;
    std::vector<std::pair<NftTable, std::string>> inputs_;
    std::vector<std::pair<NftTable, std::string>> waiting_;  ///< As Ruleset::chains.
    Ruleset rules_;
};

// Whether brackets outside of strings are nested no deeper than they may be.
bool is_shallow(std::string_view text) {
    unsigned depth = 0;
    bool is_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (is_string) {
            i += c == '\\' ? 1 : 0;
            is_string = c != '"';
        } else if (c == '"') {
            is_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > kNftNestingMax) {
                return false;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    return true;
}

}  // namespace

tl::expected<json, std::string> parse_nft_json(std::string_view text) {
    if (!is_shallow(text)) {
        return tl::unexpected(
            "The listing of nftables is nested deeper than " + std::to_string(kNftNestingMax) +
            " levels, which no version of it is known to write."
        );
    }
    json document = json::parse(text, nullptr, false);
    if (document.is_discarded()) {
        // Names and comments that are not UTF-8.
        std::string clean(text);
        std::replace_if(
            clean.begin(),
            clean.end(),
            [](char c) { return static_cast<unsigned char>(c) >= 0x80; },
            '?'
        );
        document = json::parse(clean, nullptr, false);
    }
    if (document.is_discarded() || nft_member(document, "nftables") == nullptr) {
        return tl::unexpected(std::string(
            "The listing of nftables is no JSON of libnftables; version 0.9.1 or later writes it."
        ));
    }
    return document;
}

std::set<NftTable> nft_tables_with_extensions(const json& document) {
    std::set<NftTable> tables;
    each_object(document, [&](const std::string& kind, const json& object) {
        const NftTable key = table_of(object, "table");
        if (kind == "rule" && families_of(key.family) &&
            (has_extension(object) || has_range(object))) {
            tables.insert(key);
        }
    });
    return tables;
}

Ruleset read_nft_json(
    const json& document, NftExtensions* extensions, std::optional<std::uint64_t>* keeps_for
) {
    Listing listing(extensions);
    Ruleset rules = listing.read(document);
    if (keeps_for != nullptr) {
        *keeps_for = listing.keeps_for();
    }
    return rules;
}

}  // namespace culvert::firewall
