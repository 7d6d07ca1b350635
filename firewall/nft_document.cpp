// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which listings make the whole. A family is one listing, as with any usual ruleset; one with a
// flagged table is listed by table, and the flagged table by chain. One thread at a time.
#include "firewall/nft_document.hpp"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include <nftables/libnftables.h>
#include <nlohmann/json.hpp>

#include "firewall/nft_set.hpp"

namespace culvert::firewall {

namespace {

using nlohmann::json;
using Outcome = tl::expected<void, std::string>;

class Collector {
public:
    explicit Collector(const NftContext& context) : context_(context) {}

    Outcome add(const std::string& what) {
        auto listed = list(what);
        if (!listed) {
            return tl::unexpected(listed.error());
        }
        for (json& object : *listed) {
            objects_.push_back(std::move(object));
        }
        return {};
    }

    // Without the object of the table itself.
    Outcome add_by_chain(const NftTable& table) {
        const auto chains = list("chains " + table.family);
        if (!chains) {
            return tl::unexpected(chains.error());
        }
        for (const json& object : *chains) {
            const json* chain = nft_member(object, "chain");
            if (chain == nullptr || nft_text(nft_member(*chain, "table")) != table.name) {
                continue;
            }
            const std::string name(nft_text(nft_member(*chain, "name")));
            auto added = add("chain " + table.family + " " + table.name + " " + name);
            if (!added) {
                return added;
            }
        }
        return add("sets " + table.family).and_then([&] { return add("maps " + table.family); });
    }

    json take() && { return json{{"nftables", std::move(objects_)}}; }

private:
    [[nodiscard]] tl::expected<json, std::string> list(const std::string& what) const {
        const auto listing = context_.run("list " + what + "\n");
        if (!listing) {
            return tl::unexpected(
                "nftables cannot list the " + what + ": " + listing.error() + "."
            );
        }
        auto document = parse_nft_json(*listing);
        if (!document) {
            return tl::unexpected(document.error());
        }
        json objects = std::move((*document)["nftables"]);
        if (!objects.is_array()) {
            return json::array();
        }
        return objects;
    }

    const NftContext& context_;
    json objects_ = json::array();
};

}  // namespace

tl::expected<json, std::string>
nft_document(const NftContext& context, std::span<const NftKernelTable> tables) {
    context.set_output(NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_ALL);
    Collector collector(context);
    for (const char* family : {"ip", "ip6", "inet"}) {
        std::vector<const NftKernelTable*> own;
        for (const NftKernelTable& table : tables) {
            if (table.key.family == family) {
                own.push_back(&table);
            }
        }
        if (own.empty()) {
            continue;
        }
        const auto has_flags = [](const NftKernelTable* table) { return table->has_flags; };
        if (std::none_of(own.begin(), own.end(), has_flags)) {
            if (auto added = collector.add(std::string("ruleset ") + family); !added) {
                return tl::unexpected(added.error());
            }
            continue;
        }
        for (const NftKernelTable* table : own) {
            if (table->is_dormant) {
                continue;
            }
            const NftTable& key = table->key;
            const auto added = table->has_flags
                                   ? collector.add_by_chain(key)
                                   : collector.add("table " + key.family + " " + key.name);
            if (!added) {
                return tl::unexpected(added.error());
            }
        }
    }
    return std::move(collector).take();
}

}  // namespace culvert::firewall
