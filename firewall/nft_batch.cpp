// SPDX-License-Identifier: GPL-2.0-or-later
//
// Rules as nft and iptables-nft both write them, so that both list them in their own words:
//   [meta nfproto] [SADDR] meta l4proto PROTOCOL [th sport] [th dport] counter accept "comment"
// One thread at a time.
#include "firewall/nft_batch.hpp"

#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <vector>

#include <arpa/inet.h>

#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "firewall/netfilter_socket.hpp"
#include "firewall/nft_netlink.hpp"

namespace culvert::firewall {

namespace {

constexpr std::uint32_t kUserDataBytes = 256;
constexpr std::uint32_t kSourceOffsetIpv4 = 12;
constexpr std::uint32_t kSourceOffsetIpv6 = 8;
constexpr std::uint32_t kDestinationPortOffset = 2;
// A rule with all its expressions takes less than 1 KiB.
using MessageBuffer = std::array<char, 8192>;

struct Deleter {
    void operator()(nftnl_rule* rule) const { nftnl_rule_free(rule); }
    void operator()(nftnl_udata_buf* buffer) const { nftnl_udata_buf_free(buffer); }
};
template <class T>
using Held = std::unique_ptr<T, Deleter>;

class RuleWriter {
public:
    explicit RuleWriter(nftnl_rule* rule) : rule_(rule) {}

    void meta(std::uint32_t key, std::uint8_t value) {
        nftnl_expr* load = add("meta");
        nftnl_expr_set_u32(load, NFTNL_EXPR_META_KEY, key);
        nftnl_expr_set_u32(load, NFTNL_EXPR_META_DREG, NFT_REG_1);
        compare(&value, sizeof(value));
    }

    void port(std::uint32_t offset, std::uint16_t port) {
        payload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(port));
        const std::uint16_t value = htons(port);
        compare(&value, sizeof(value));
    }

    void source(const Prefix& prefix) {
        const bool is_ipv4 = prefix.address.family == Family::ipv4;
        const unsigned width = bits_of(prefix.address.family);
        const std::uint32_t bytes = width / 8;
        payload(NFT_PAYLOAD_NETWORK_HEADER, is_ipv4 ? kSourceOffsetIpv4 : kSourceOffsetIpv6, bytes);
        const auto address = bytes_of(prefix.address.value, bytes);
        if (prefix.bits < width) {
            const auto mask = bytes_of(prefix_mask(width, prefix.bits), bytes);
            const std::array<std::uint8_t, 16> zero{};
            nftnl_expr* bitwise = add("bitwise");
            nftnl_expr_set_u32(bitwise, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
            nftnl_expr_set_u32(bitwise, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
            nftnl_expr_set_u32(bitwise, NFTNL_EXPR_BITWISE_LEN, bytes);
            nftnl_expr_set(bitwise, NFTNL_EXPR_BITWISE_MASK, mask.data(), bytes);
            nftnl_expr_set(bitwise, NFTNL_EXPR_BITWISE_XOR, zero.data(), bytes);
        }
        compare(address.data(), bytes);
    }

    void accept() {
        add("counter");
        nftnl_expr* verdict = add("immediate");
        nftnl_expr_set_u32(verdict, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
        nftnl_expr_set_u32(verdict, NFTNL_EXPR_IMM_VERDICT, NF_ACCEPT);
    }

private:
    static std::array<std::uint8_t, 16> bytes_of(Value value, std::uint32_t count) {
        std::array<std::uint8_t, 16> bytes{};
        for (std::uint32_t i = 0; i < count; ++i) {
            bytes.at(i) = static_cast<std::uint8_t>(value >> (8 * (count - 1 - i)));
        }
        return bytes;
    }

    nftnl_expr* add(const char* name) {
        nftnl_expr* expression = nftnl_expr_alloc(name);
        if (expression == nullptr) {
            throw std::bad_alloc();
        }
        nftnl_rule_add_expr(rule_, expression);
        return expression;
    }

    void payload(std::uint32_t base, std::uint32_t offset, std::uint32_t bytes) {
        nftnl_expr* load = add("payload");
        nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_BASE, base);
        nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
        nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_LEN, bytes);
        nftnl_expr_set_u32(load, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
    }

    void compare(const void* value, std::uint32_t bytes) {
        nftnl_expr* comparison = add("cmp");
        nftnl_expr_set_u32(comparison, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
        nftnl_expr_set_u32(comparison, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
        nftnl_expr_set(comparison, NFTNL_EXPR_CMP_DATA, value, bytes);
    }

    nftnl_rule* rule_;
};

void write_selector(const Selector& selector, bool says_family, RuleWriter& writer) {
    if (says_family) {
        const bool is_ipv4 = selector.family == Family::ipv4;
        writer.meta(NFT_META_NFPROTO, is_ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
    }
    if (selector.source) {
        writer.source(*selector.source);
    }
    writer.meta(NFT_META_L4PROTO, selector.protocol);
    if (selector.source_port) {
        writer.port(0, *selector.source_port);
    }
    if (selector.destination_port) {
        writer.port(kDestinationPortOffset, *selector.destination_port);
    }
    writer.accept();
}

bool write_comment(const std::string& comment, nftnl_rule* rule) {
    const Held<nftnl_udata_buf> buffer(nftnl_udata_buf_alloc(kUserDataBytes));
    if (!buffer || !nftnl_udata_put_strz(buffer.get(), NFTNL_UDATA_RULE_COMMENT, comment.c_str())) {
        return false;
    }
    return nftnl_rule_set_data(
               rule,
               NFTNL_RULE_USERDATA,
               nftnl_udata_buf_data(buffer.get()),
               nftnl_udata_buf_len(buffer.get())
           ) == 0;
}

Held<nftnl_rule> make_rule(const NftEdit& edit) {
    Held<nftnl_rule> rule(nftnl_rule_alloc());
    if (!rule) {
        return nullptr;
    }
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, edit.table.name.c_str());
    nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, edit.chain.c_str());
    nftnl_rule_set_u32(rule.get(), NFTNL_RULE_FAMILY, nft_family_number(edit.table.family));
    if (edit.handle) {
        nftnl_rule_set_u64(rule.get(), NFTNL_RULE_HANDLE, *edit.handle);
        return rule;
    }
    RuleWriter writer(rule.get());
    write_selector(edit.selector, edit.table.family == "inet", writer);
    if (!edit.comment.empty() && !write_comment(edit.comment, rule.get())) {
        return nullptr;
    }
    return rule;
}

void append(std::vector<std::byte>& batch, const nlmsghdr* message) {
    const auto* bytes = static_cast<const std::byte*>(static_cast<const void*>(message));
    batch.insert(batch.end(), bytes, bytes + MNL_ALIGN(message->nlmsg_len));
}

}  // namespace

tl::expected<void, int> nft_commit(std::span<const NftEdit> edits, std::uint32_t generation) {
    auto socket = NetfilterSocket::open();
    if (!socket) {
        return tl::unexpected(socket.error());
    }
    std::vector<std::byte> batch;
    std::uint32_t sequence = 1;
    alignas(nlmsghdr) MessageBuffer buffer{};
    nlmsghdr* begin = nftnl_batch_begin(buffer.data(), sequence++);
    mnl_attr_put_u32(begin, NFNL_BATCH_GENID, htonl(generation));
    append(batch, begin);
    for (std::size_t i = 0; i < edits.size(); ++i) {
        const NftEdit& edit = edits[i];
        const auto rule = make_rule(edit);
        if (!rule) {
            return tl::unexpected(edit.comment.size() > kNftCommentBytesMax ? E2BIG : ENOMEM);
        }
        // Without NLM_F_APPEND a new rule becomes the first one.
        const unsigned flags = (edit.handle ? 0U : unsigned{NLM_F_CREATE}) |
                               (i + 1 == edits.size() ? unsigned{NLM_F_ACK} : 0U);
        buffer.fill(0);
        nlmsghdr* message = nftnl_nlmsg_build_hdr(
            buffer.data(),
            edit.handle ? NFT_MSG_DELRULE : NFT_MSG_NEWRULE,
            nft_family_number(edit.table.family),
            static_cast<std::uint16_t>(flags),
            sequence++
        );
        nftnl_rule_nlmsg_build_payload(message, rule.get());
        append(batch, message);
    }
    buffer.fill(0);
    append(batch, nftnl_batch_end(buffer.data(), sequence));
    return socket->transact(batch);
}

}  // namespace culvert::firewall
