// SPDX-License-Identifier: GPL-2.0-or-later
//
// Questions about nftables on top of libnftnl. Extensions keep the order that they have in their
// rule, which is the order of the "xt" expressions in a listing.
#include "firewall/nft_netlink.hpp"

#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/gen.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "firewall/extension.hpp"
#include "firewall/netfilter_socket.hpp"

namespace culvert::firewall {

namespace {

constexpr std::uint32_t kSequence = 1;
using RequestBuffer = std::array<char, 4096>;

struct Deleter {
    void operator()(nftnl_gen* generation) const { nftnl_gen_free(generation); }
    void operator()(nftnl_table* table) const { nftnl_table_free(table); }
    void operator()(nftnl_rule* rule) const { nftnl_rule_free(rule); }
};
template <class T>
using Held = std::unique_ptr<T, Deleter>;

std::string text_of(const char* text) {
    return text == nullptr ? std::string() : std::string(text);
}

std::string_view family_name(std::uint32_t number) {
    switch (number) {
    case NFPROTO_IPV4:
        return "ip";
    case NFPROTO_IPV6:
        return "ip6";
    case NFPROTO_INET:
        return "inet";
    default:
        return "";
    }
}

tl::expected<void, int>
ask(std::uint16_t type,
    std::uint16_t family,
    std::uint16_t flags,
    const Held<nftnl_rule>& filter,
    NetfilterSocket::Take take,
    void* data) {
    auto socket = NetfilterSocket::open();
    if (!socket) {
        return tl::unexpected(socket.error());
    }
    alignas(nlmsghdr) RequestBuffer buffer{};
    nlmsghdr* request = nftnl_nlmsg_build_hdr(buffer.data(), type, family, flags, kSequence);
    if (filter) {
        nftnl_rule_nlmsg_build_payload(request, filter.get());
    }
    return socket->ask(request, take, data);
}

// Left out, it would look as if there were nothing. Not EINVAL and the like, which say that the
// kernel has no nftables.
int not_understood() {
    errno = EBADMSG;
    return MNL_CB_ERROR;
}

int take_generation(const nlmsghdr* message, void* data) {
    const Held<nftnl_gen> generation(nftnl_gen_alloc());
    if (!generation || nftnl_gen_nlmsg_parse(message, generation.get()) < 0) {
        return not_understood();
    }
    *static_cast<std::uint32_t*>(data) = nftnl_gen_get_u32(generation.get(), NFTNL_GEN_ID);
    return MNL_CB_OK;
}

int take_table(const nlmsghdr* message, void* data) {
    const Held<nftnl_table> table(nftnl_table_alloc());
    if (!table || nftnl_table_nlmsg_parse(message, table.get()) < 0) {
        return not_understood();
    }
    const auto family = family_name(nftnl_table_get_u32(table.get(), NFTNL_TABLE_FAMILY));
    const std::uint32_t flags = nftnl_table_get_u32(table.get(), NFTNL_TABLE_FLAGS);
    if (!family.empty()) {
        static_cast<std::vector<NftKernelTable>*>(data)->push_back(
            {{std::string(family), text_of(nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME))},
             (flags & NFT_TABLE_F_DORMANT) != 0,
             flags != 0}
        );
    }
    return MNL_CB_OK;
}

struct Expressions {
    std::vector<NftKernelExtensions::Blob> blobs;
    unsigned orders = 0;  ///< Comparisons by order, both ends of a range being none.
    bool is_behind_low_end = false;
};

// Both ends of a range are compared with what was loaded once, the low one first.
void take_comparison(const nftnl_expr* expression, Expressions& taken) {
    const std::uint32_t operation = nftnl_expr_get_u32(expression, NFTNL_EXPR_CMP_OP);
    if (operation == NFT_CMP_EQ || operation == NFT_CMP_NEQ) {
        return;
    }
    if (taken.is_behind_low_end && operation == NFT_CMP_LTE) {
        --taken.orders;
    } else {
        ++taken.orders;
    }
}

int take_expression(nftnl_expr* expression, void* data) {
    auto& taken = *static_cast<Expressions*>(data);
    const std::string kind = text_of(nftnl_expr_get_str(expression, NFTNL_EXPR_NAME));
    if (kind == "cmp") {
        take_comparison(expression, taken);
    }
    taken.is_behind_low_end =
        kind == "cmp" && nftnl_expr_get_u32(expression, NFTNL_EXPR_CMP_OP) == NFT_CMP_GTE;
    const bool is_target = kind == "target";
    if (!is_target && kind != "match") {
        return MNL_CB_OK;
    }
    const std::uint16_t name =
        is_target ? std::uint16_t{NFTNL_EXPR_TG_NAME} : std::uint16_t{NFTNL_EXPR_MT_NAME};
    const std::uint16_t revision =
        is_target ? std::uint16_t{NFTNL_EXPR_TG_REV} : std::uint16_t{NFTNL_EXPR_MT_REV};
    const std::uint16_t content =
        is_target ? std::uint16_t{NFTNL_EXPR_TG_INFO} : std::uint16_t{NFTNL_EXPR_MT_INFO};
    NftKernelExtensions::Blob blob;
    blob.is_target = is_target;
    blob.name = text_of(nftnl_expr_get_str(expression, name));
    blob.revision = static_cast<std::uint8_t>(nftnl_expr_get_u32(expression, revision));
    std::uint32_t bytes = 0;
    const auto* info = static_cast<const std::byte*>(nftnl_expr_get(expression, content, &bytes));
    if (info != nullptr) {
        blob.info.assign(info, info + bytes);
    }
    taken.blobs.push_back(std::move(blob));
    return MNL_CB_OK;
}

struct RulesTaken {
    NftTable table;
    std::map<NftRuleKey, std::vector<NftKernelExtensions::Blob>>* blobs;
    std::set<NftRuleKey>* two_orders;
};

int take_rule(const nlmsghdr* message, void* data) {
    auto* taken = static_cast<RulesTaken*>(data);
    const Held<nftnl_rule> rule(nftnl_rule_alloc());
    if (!rule || nftnl_rule_nlmsg_parse(message, rule.get()) < 0 ||
        text_of(nftnl_rule_get_str(rule.get(), NFTNL_RULE_TABLE)) != taken->table.name) {
        return MNL_CB_OK;
    }
    Expressions expressions;
    nftnl_expr_foreach(rule.get(), take_expression, &expressions);
    const NftRuleKey key{
        taken->table,
        text_of(nftnl_rule_get_str(rule.get(), NFTNL_RULE_CHAIN)),
        nftnl_rule_get_u64(rule.get(), NFTNL_RULE_HANDLE)};
    if (!expressions.blobs.empty()) {
        (*taken->blobs)[key] = std::move(expressions.blobs);
    }
    if (expressions.orders > 1) {
        taken->two_orders->insert(key);
    }
    return MNL_CB_OK;
}

}  // namespace

std::uint16_t nft_family_number(std::string_view family) {
    if (family == "ip") {
        return NFPROTO_IPV4;
    }
    return family == "ip6" ? NFPROTO_IPV6 : NFPROTO_INET;
}

tl::expected<std::uint32_t, int> nft_generation() {
    std::uint32_t generation = 0;
    const auto asked =
        ask(NFT_MSG_GETGEN, NFPROTO_UNSPEC, NLM_F_ACK, nullptr, take_generation, &generation);
    if (!asked) {
        return tl::unexpected(asked.error());
    }
    return generation;
}

tl::expected<std::vector<NftKernelTable>, int> nft_kernel_tables() {
    std::vector<NftKernelTable> tables;
    const auto asked =
        ask(NFT_MSG_GETTABLE, NFPROTO_UNSPEC, NLM_F_DUMP, nullptr, take_table, &tables);
    if (!asked) {
        return tl::unexpected(asked.error());
    }
    return tables;
}

tl::expected<void, int> NftKernelExtensions::load(const NftTable& table) {
    const Held<nftnl_rule> filter(nftnl_rule_alloc());
    if (!filter) {
        return tl::unexpected(ENOMEM);
    }
    nftnl_rule_set_str(filter.get(), NFTNL_RULE_TABLE, table.name.c_str());
    RulesTaken taken{table, &blobs_, &two_orders_};
    return ask(
        NFT_MSG_GETRULE, nft_family_number(table.family), NLM_F_DUMP, filter, take_rule, &taken
    );
}

bool NftKernelExtensions::read(
    const NftRuleKey& key, std::size_t index, std::string_view name, Rule& rule
) {
    const auto found = blobs_.find(key);
    if (found == blobs_.end() || index >= found->second.size() ||
        found->second[index].name != name) {
        return false;
    }
    const Blob& blob = found->second[index];
    const Extension extension{blob.name, blob.revision, blob.info};
    if (blob.is_target) {
        read_target(extension, rule);
    } else {
        const Family family = key.table.family == "ip6" ? Family::ipv6 : Family::ipv4;
        read_match(extension, family, sets_, rule);
    }
    return true;
}

}  // namespace culvert::firewall
