// SPDX-License-Identifier: GPL-2.0-or-later
//
// IP sets by raw netlink (NFNL_SUBSYS_IPSET), in the network namespace that the calling thread is
// in at that time. Asks with protocol 6, which every kernel since 2.6.39 answers. An index is made
// a name by getsockopt(), as iptables does it: the netlink command for that is as new as Linux
// 4.20. Nothing is created and no set is changed. The instance's thread only.
#include "firewall/ipset.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>

#include "firewall/ipset_attributes.hpp"
#include "firewall/netfilter_socket.hpp"

namespace culvert::firewall {

namespace {

constexpr std::uint8_t kProtocolVersion = 6;
constexpr std::uint32_t kSequence = 1;
/// Times that a listing is asked for while others change the set.
constexpr unsigned kTriesMax = 16;

int take_message(const nlmsghdr* message, void* data) {
    const std::size_t header_bytes = MNL_ALIGN(sizeof(nfgenmsg));
    const std::size_t bytes = mnl_nlmsg_get_payload_len(message);
    if (bytes >= header_bytes) {
        const auto* payload = static_cast<const std::byte*>(mnl_nlmsg_get_payload(message));
        static_cast<IpsetListing*>(data)->add(std::span(payload, bytes).subspan(header_bytes));
    }
    return MNL_CB_OK;
}

// Nothing when there is no such set, or no sets at all in this kernel.
std::optional<IpsetListing> list_set(const std::string& name) {
    auto socket = NetfilterSocket::open();
    if (!socket || name.empty() || name.size() >= IPSET_MAXNAMELEN) {
        return std::nullopt;
    }
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = NFNL_SUBSYS_IPSET << 8U | IPSET_CMD_LIST;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = kSequence;
    auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg)));
    header->version = NFNETLINK_V0;
    mnl_attr_put_u8(request, IPSET_ATTR_PROTOCOL, kProtocolVersion);
    mnl_attr_put_strz(request, IPSET_ATTR_SETNAME, name.c_str());
    for (unsigned tries = 0; tries < kTriesMax; ++tries) {
        IpsetListing listing;
        const auto asked = socket->ask(request, take_message, &listing);
        if (asked) {
            return listing;
        }
        if (asked.error() != EINTR) {
            break;
        }
        socket = NetfilterSocket::open();  // The rest of the listing is still in the old one.
        if (!socket) {
            break;
        }
    }
    return std::nullopt;
}

std::string name_of_index(std::uint16_t index) {
    const int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd < 0) {
        return {};
    }
    ip_set_req_get_set request{};
    request.op = IP_SET_OP_GET_BYINDEX;
    request.version = kProtocolVersion;
    request.set.index = index;
    socklen_t bytes = sizeof(request);
    const bool answered = getsockopt(fd, SOL_IP, SO_IP_SET, &request, &bytes) == 0;
    close(fd);
    if (!answered) {
        return {};
    }
    std::array<char, IPSET_MAXNAMELEN> name{};
    std::memcpy(name.data(), &request.set, sizeof(request.set));
    return {name.data(), strnlen(name.data(), name.size())};
}

}  // namespace

struct KernelIpsets::Implementation {
    struct Found {
        std::shared_ptr<const Ipset> set;  ///< Null: there was none.
        std::uint64_t fingerprint = 0;
    };
    std::map<std::string, Found, std::less<>> by_name;
    std::map<std::uint16_t, std::string> by_index;
};

KernelIpsets::KernelIpsets() : implementation_(std::make_unique<Implementation>()) {}
KernelIpsets::~KernelIpsets() = default;

std::shared_ptr<const Ipset> KernelIpsets::find(std::string_view name) {
    auto& by_name = implementation_->by_name;
    if (const auto known = by_name.find(name); known != by_name.end()) {
        return known->second.set;
    }
    Implementation::Found found;
    if (const auto listing = list_set(std::string(name))) {
        found.set = std::make_shared<const Ipset>(listing->finish());
        found.fingerprint = listing->fingerprint();
    }
    return by_name.emplace(name, std::move(found)).first->second.set;
}

std::shared_ptr<const Ipset> KernelIpsets::find(std::uint16_t index) {
    auto& by_index = implementation_->by_index;
    auto known = by_index.find(index);
    if (known == by_index.end()) {
        known = by_index.emplace(index, name_of_index(index)).first;
    }
    return known->second.empty() ? nullptr : find(known->second);
}

void KernelIpsets::forget() {
    implementation_->by_name.clear();
    implementation_->by_index.clear();
}

std::uint64_t KernelIpsets::generation() {
    constexpr std::uint64_t kPrime = 1099511628211U;
    std::uint64_t sum = 0;
    for (const auto& [name, found] : implementation_->by_name) {
        const auto listing = list_set(name);
        sum = (sum ^ (listing ? listing->fingerprint() : 1)) * kPrime + 1;
    }
    return sum;
}

}  // namespace culvert::firewall
