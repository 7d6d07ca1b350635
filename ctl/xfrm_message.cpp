// SPDX-License-Identifier: GPL-2.0-or-later
//
// The parser of XFRM messages. Of an SA's attributes those are read that change what is on the
// wire; its interface (XFRMA_IF_ID), offload and security context are not. Keys are copied into a
// Secret and nowhere else. Any thread.
#include "ctl/xfrm_message.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <linux/ipsec.h>
#include <linux/udp.h>
#include <linux/xfrm.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "ctl/netlink_bytes.hpp"
#include "tunnels/esp/algorithm.hpp"

namespace culvert::ctl {

namespace {

using tunnels::EspAlgorithmRow;
using tunnels::IpAddress;

constexpr unsigned kBitsPerByte = 8;

// The front of struct xfrm_algo, xfrm_algo_auth and xfrm_algo_aead.
struct AlgorithmHead {
    std::array<char, 64> name;
    std::uint32_t key_bits;
};

// One algorithm of an SA: XFRMA_ALG_*.
struct Part {
    std::string name;
    Bytes key;
    std::uint32_t icv_bits = 0;
};

bool read_part(Bytes value, bool has_icv, std::optional<Part>& result) {
    AlgorithmHead head{};
    Part part;
    if (!take(value, head) || (has_icv && !take(value, part.icv_bits))) {
        return false;
    }
    const auto end = std::find(head.name.begin(), head.name.end(), '\0');
    const std::size_t key_bytes = (std::size_t{head.key_bits} + kBitsPerByte - 1) / kBitsPerByte;
    if (end == head.name.end() || key_bytes > value.size()) {
        return false;
    }
    part.name.assign(head.name.begin(), end);
    part.key = value.first(key_bytes);
    result = std::move(part);
    return true;
}

template <class T>
bool read_value(Bytes value, std::optional<T>& result) {
    T read{};
    if (!take(value, read)) {
        return false;
    }
    result = read;
    return true;
}

// The front of struct xfrm_replay_state_esn, without its bitmap.
struct ReplayHead {
    std::uint32_t bitmap_words;
    std::uint32_t oseq;
    std::uint32_t seq;
    std::uint32_t oseq_hi;
    std::uint32_t seq_hi;
    std::uint32_t window;
};
static_assert(sizeof(ReplayHead) == sizeof(xfrm_replay_state_esn));

struct Attributes {
    std::optional<Part> aead;
    std::optional<Part> cipher;
    std::optional<Part> integrity;
    std::optional<xfrm_encap_tmpl> encapsulation;
    std::optional<xfrm_replay_state> replay;
    std::optional<ReplayHead> extended_replay;
    std::optional<xfrm_mark> mark;
};

bool read_attribute(unsigned type, Bytes value, Attributes& result) {
    switch (type) {
    case XFRMA_ALG_AEAD:
        return read_part(value, true, result.aead);
    case XFRMA_ALG_CRYPT:
        return read_part(value, false, result.cipher);
    case XFRMA_ALG_AUTH:
        // It comes with XFRMA_ALG_AUTH_TRUNC of the same key, which says more, in either order.
        return result.integrity || read_part(value, false, result.integrity);
    case XFRMA_ALG_AUTH_TRUNC:
        return read_part(value, true, result.integrity);
    case XFRMA_ENCAP:
        return read_value(value, result.encapsulation);
    case XFRMA_REPLAY_VAL:
        return read_value(value, result.replay);
    case XFRMA_REPLAY_ESN_VAL:
        if (!read_value(value, result.extended_replay)) {
            return false;
        }
        return result.extended_replay->bitmap_words <=
                   XFRMA_REPLAY_ESN_MAX / (sizeof(std::uint32_t) * kBitsPerByte) &&
               result.extended_replay->window <=
                   result.extended_replay->bitmap_words * sizeof(std::uint32_t) * kBitsPerByte;
    case XFRMA_MARK:
        return read_value(value, result.mark);
    default:
        return true;
    }
}

bool is_of_family(const EspAlgorithmRow& row, const Attributes& parts) {
    if (parts.aead) {
        return row.linux_aead == parts.aead->name;
    }
    return row.linux_aead.empty() && row.linux_cipher == parts.cipher->name &&
           row.linux_integrity == parts.integrity->name;
}

std::string bits_text(std::size_t bytes) {
    return std::to_string(bytes * kBitsPerByte);
}

// Keys behind each other, as IKE orders them; nothing when they are longer than any that there is.
std::optional<tunnels::Secret> join_keys(Bytes first, Bytes second) {
    std::array<std::byte, tunnels::Secret::kBytesMax> joined{};
    if (first.size() + second.size() > joined.size()) {
        return std::nullopt;
    }
    std::copy(second.begin(), second.end(), std::copy(first.begin(), first.end(), joined.begin()));
    const tunnels::Secret key{Bytes(joined).first(first.size() + second.size())};
    tunnels::wipe(joined);
    return key;
}

bool is_all_zero(Bytes bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) {
        return byte == std::byte{0};
    });
}

// False: the SA has no keys yet, it is only a number that the kernel keeps for an IKE daemon.
bool set_algorithm(const Attributes& parts, KernelSa& sa) {
    if (!parts.aead && !parts.cipher && !parts.integrity) {
        return false;
    }
    const Part none;
    const Part& first = parts.aead ? *parts.aead : parts.cipher ? *parts.cipher : none;
    const Part& second = parts.aead || !parts.integrity ? none : *parts.integrity;
    const std::uint32_t icv_bits = parts.aead ? first.icv_bits : second.icv_bits;
    sa.algorithm_name = first.name;
    if (!second.name.empty()) {
        sa.algorithm_name += (first.name.empty() ? "" : " ") + second.name;
    }
    if (is_all_zero(first.key)) {
        // A kernel that is locked down (lockdown=confidentiality) shows zeros.
        sa.algorithm_name += first.key.empty() ? " (without encryption)" : " (its key is hidden)";
        return true;
    }
    if (parts.aead || parts.integrity) {
        for (const EspAlgorithmRow& row : tunnels::kEspAlgorithms) {
            if (is_of_family(row, parts) &&
                first.key.size() == std::size_t{row.cipher_key_bytes} + row.salt_bytes &&
                second.key.size() == row.integrity_key_bytes &&
                icv_bits == row.icv_bytes * kBitsPerByte) {
                sa.algorithm = row.algorithm;
                sa.key = join_keys(first.key, second.key).value_or(tunnels::Secret{});
                return true;
            }
        }
    }
    sa.algorithm_name += " (key of " + bits_text(first.key.size()) + " bits, ICV of " +
                         std::to_string(icv_bits) + " bits)";
    return true;
}

// Makes it an SA that is not used, and says why.
void refuse(KernelSa& sa, std::string_view why) {
    sa.algorithm.reset();
    sa.key.wipe();
    sa.algorithm_name += why;
}

IpAddress read_address(unsigned family, const xfrm_address_t& address) {
    return family == AF_INET ? IpAddress::from_v4(&address) : IpAddress::from_v6(&address);
}

std::optional<std::uint64_t> limit(std::uint64_t value) {
    return value == XFRM_INF ? std::nullopt : std::optional(value);
}

std::optional<std::uint64_t> limit_s(std::uint64_t value) {
    return value == 0 ? std::nullopt : std::optional(value);
}

KernelSelector read_selector(const xfrm_selector& selector) {
    constexpr std::uint16_t kExact = 0xffff;
    KernelSelector result;
    result.protocol = selector.proto;
    if (selector.sport_mask == kExact) {
        result.source_port = ntohs(selector.sport);
    }
    if (selector.dport_mask == kExact) {
        result.destination_port = ntohs(selector.dport);
    }
    return result;
}

void set_replay(const xfrm_usersa_info& info, const Attributes& attributes, XfrmSa& result) {
    constexpr unsigned kHalfBits = 32;
    KernelSa& sa = result.sa;
    sa.extended = (info.flags & XFRM_STATE_ESN) != 0;
    if (const auto& replay = attributes.extended_replay) {
        result.replay = {replay->bitmap_words, replay->window};
        sa.next_sequence = replay->oseq;
        sa.received_sequence = replay->seq;
        if (sa.extended) {
            sa.next_sequence |= std::uint64_t{replay->oseq_hi} << kHalfBits;
            sa.received_sequence |= std::uint64_t{replay->seq_hi} << kHalfBits;
        }
    } else {
        result.replay.window = info.replay_window;
        if (attributes.replay) {
            sa.next_sequence = attributes.replay->oseq;
            sa.received_sequence = attributes.replay->seq;
        }
    }
    sa.replay_window = result.replay.window;
}

enum class Outcome { passed_over, malformed, read };

Outcome parse_sa(Bytes body, XfrmMessage& message) {
    xfrm_usersa_info info{};
    if (!take(body, info)) {
        return Outcome::malformed;
    }
    if (info.id.proto != IPPROTO_ESP || info.id.spi == 0 ||
        (info.family != AF_INET && info.family != AF_INET6)) {
        return Outcome::passed_over;
    }
    Attributes attributes;
    if (!visit_attributes(body, [&attributes](unsigned type, Bytes value) {
            return read_attribute(type, value, attributes);
        })) {
        return Outcome::malformed;
    }
    XfrmSa result;
    KernelSa& sa = result.sa;
    sa.spi = ntohl(info.id.spi);
    sa.source = read_address(info.family, info.saddr);
    sa.destination = read_address(info.family, info.id.daddr);
    sa.tunnel_mode = info.mode == XFRM_MODE_TUNNEL;
    sa.reqid = info.reqid;
    sa.selector = read_selector(info.sel);
    if (!set_algorithm(attributes, sa)) {
        return Outcome::passed_over;
    }
    if (info.mode != XFRM_MODE_TRANSPORT && info.mode != XFRM_MODE_TUNNEL) {
        refuse(sa, " (in a mode that is neither transport nor tunnel)");
    }
    set_replay(info, attributes, result);
    if (attributes.encapsulation) {
        sa.udp_source = ntohs(attributes.encapsulation->encap_sport);
        sa.udp_destination = ntohs(attributes.encapsulation->encap_dport);
        if (attributes.encapsulation->encap_type != UDP_ENCAP_ESPINUDP) {
            refuse(sa, " (encapsulated otherwise than in RFC 3948)");
        }
    }
    sa.soft = {
        limit(info.lft.soft_byte_limit),
        limit(info.lft.soft_packet_limit),
        limit_s(info.lft.soft_add_expires_seconds)};
    sa.hard = {
        limit(info.lft.hard_byte_limit),
        limit(info.lft.hard_packet_limit),
        limit_s(info.lft.hard_add_expires_seconds)};
    sa.added_s = info.curlft.add_time;
    if (attributes.mark) {
        result.mark = {attributes.mark->v, attributes.mark->m};
    }
    message = std::move(result);
    return Outcome::read;
}

Outcome parse_removal(
    unsigned family,
    const xfrm_address_t& destination,
    std::uint32_t spi,
    unsigned protocol,
    XfrmMessage& message
) {
    if (protocol != IPPROTO_ESP || spi == 0 || (family != AF_INET && family != AF_INET6)) {
        return Outcome::passed_over;
    }
    message = KernelSaRemoved{ntohl(spi), read_address(family, destination)};
    return Outcome::read;
}

Outcome parse_deletion(Bytes body, XfrmMessage& message) {
    xfrm_usersa_id id{};
    if (!take(body, id)) {
        return Outcome::malformed;
    }
    return parse_removal(id.family, id.daddr, id.spi, id.proto, message);
}

Outcome parse_expiry(Bytes body, XfrmMessage& message) {
    xfrm_user_expire expiry{};
    if (!take(body, expiry)) {
        return Outcome::malformed;
    }
    if (expiry.hard == 0) {
        return Outcome::passed_over;
    }
    const xfrm_usersa_info& state = expiry.state;
    return parse_removal(state.family, state.id.daddr, state.id.spi, state.id.proto, message);
}

Outcome parse_flush(Bytes body, XfrmMessage& message) {
    xfrm_usersa_flush flush{};
    if (!take(body, flush)) {
        return Outcome::malformed;
    }
    if (flush.proto != IPPROTO_ESP && flush.proto != IPSEC_PROTO_ANY && flush.proto != 0) {
        return Outcome::passed_over;
    }
    message = XfrmFlush{};
    return Outcome::read;
}

Outcome parse_message(std::uint16_t type, Bytes body, XfrmMessage& message) {
    switch (type) {
    case XFRM_MSG_NEWSA:
    case XFRM_MSG_UPDSA:
        return parse_sa(body, message);
    case XFRM_MSG_DELSA:
        return parse_deletion(body, message);
    case XFRM_MSG_EXPIRE:
        return parse_expiry(body, message);
    case XFRM_MSG_FLUSHSA:
        return parse_flush(body, message);
    default:
        return Outcome::passed_over;
    }
}

}  // namespace

std::vector<XfrmMessage> parse_xfrm(std::span<const std::byte> bytes) {
    std::vector<XfrmMessage> messages;
    visit_messages(bytes, [&messages](std::uint16_t type, Bytes body) {
        XfrmMessage message;
        const Outcome outcome = parse_message(type, body, message);
        if (outcome == Outcome::read) {
            messages.push_back(std::move(message));
        }
        return outcome != Outcome::malformed;
    });
    return messages;
}

}  // namespace culvert::ctl
