// SPDX-License-Identifier: GPL-2.0-or-later
//
// ioctls and rtnetlink about one interface. Everything is asked by interface index, so that a
// renamed interface is followed and a new one of the old name is not mistaken for it. Control
// thread.

#include "dataplane/kernel_device.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>

#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace culvert::dataplane {

namespace {

constexpr std::size_t kReplyBytes = 16384;

/// Reads a T from the front; the kernel aligns messages, the buffer need not be.
template <class T>
std::optional<T> read_front(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < sizeof(T)) {
        return std::nullopt;
    }
    T value{};
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// The value of an attribute of an RTM_NEWLINK message; std::nullopt when it has none.
std::optional<std::span<const std::byte>>
find_attribute(std::span<const std::byte> message, unsigned short type) noexcept {
    constexpr std::size_t kHeaderBytes = NLMSG_SPACE(sizeof(ifinfomsg));
    const auto header = read_front<nlmsghdr>(message);
    if (!header || header->nlmsg_type != RTM_NEWLINK || header->nlmsg_len > message.size() ||
        header->nlmsg_len < kHeaderBytes) {
        return std::nullopt;
    }
    auto attributes = message.first(header->nlmsg_len).subspan(kHeaderBytes);
    while (const auto attribute = read_front<rtattr>(attributes)) {
        if (attribute->rta_len < sizeof(rtattr) || attribute->rta_len > attributes.size()) {
            return std::nullopt;
        }
        if (attribute->rta_type == type) {
            return attributes.first(attribute->rta_len).subspan(sizeof(rtattr));
        }
        const std::size_t step = RTA_ALIGN(attribute->rta_len);
        attributes = attributes.subspan(std::min(step, attributes.size()));
    }
    return std::nullopt;
}

using LinkReply = std::array<std::byte, kReplyBytes>;

/// What the kernel says of a link (RTM_GETLINK); std::nullopt when it does not answer.
std::optional<std::span<const std::byte>> ask_link(int netlink, int index, LinkReply& reply) {
    struct Request {
        nlmsghdr header;
        ifinfomsg link;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_GETLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.link.ifi_index = index;
    if (::send(netlink, &request, sizeof request, MSG_DONTWAIT) < 0) {
        return std::nullopt;
    }
    const ssize_t bytes = ::recv(netlink, reply.data(), reply.size(), MSG_DONTWAIT);
    return bytes < 0 ? std::nullopt
                     : std::optional(
                           std::span<const std::byte>(reply).first(static_cast<std::size_t>(bytes))
                       );
}

// What ethtool's ioctls take (linux/ethtool.h), whose own structures end in arrays without size.
constexpr std::size_t kFeaturesMax = 256;
constexpr std::size_t kBitsPerBlock = 32;

struct FeatureCount {
    std::uint32_t command = ETHTOOL_GSSET_INFO;
    std::uint32_t reserved = 0;
    std::uint64_t mask = 1U << ETH_SS_FEATURES;
    std::uint32_t count = 0;
};

struct FeatureNames {
    std::uint32_t command = ETHTOOL_GSTRINGS;
    std::uint32_t set = ETH_SS_FEATURES;
    std::uint32_t count = 0;
    std::array<std::array<char, ETH_GSTRING_LEN>, kFeaturesMax> names{};
};

struct Features {
    std::uint32_t command = ETHTOOL_GFEATURES;
    std::uint32_t size = kFeaturesMax / kBitsPerBlock;
    std::array<ethtool_get_features_block, kFeaturesMax / kBitsPerBlock> blocks{};
};

bool ask_ethtool(int socket, const std::string& name, void* question) noexcept {
    ifreq request = interface_request(name);
    request.ifr_data = static_cast<char*>(question);
    return ::ioctl(socket, SIOCETHTOOL, &request) == 0;
}

}  // namespace

Descriptor::~Descriptor() {
    if (value_ >= 0) {
        ::close(value_);
    }
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
}

std::string error_text(int error) {
    return std::generic_category().message(error);
}

bool is_interface_name(const std::string& name) noexcept {
    return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
           name.find_first_of("/:% \t\n\v\f\r") == std::string::npos &&
           name.find('\0') == std::string::npos;
}

ifreq interface_request(const std::string& name) noexcept {
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
    return request;
}

std::optional<int> find_kernel_device(int socket, const std::string& name) {
    ifreq request = interface_request(name);
    if (::ioctl(socket, SIOCGIFINDEX, &request) != 0) {
        return std::nullopt;
    }
    return request.ifr_ifindex;
}

std::optional<KernelDevice> query_kernel_device(int socket, int index) {
    ifreq request{};
    request.ifr_ifindex = index;
    if (::ioctl(socket, SIOCGIFNAME, &request) != 0) {
        return std::nullopt;
    }
    KernelDevice device;
    device.name = request.ifr_name;
    if (::ioctl(socket, SIOCGIFHWADDR, &request) != 0) {
        return std::nullopt;
    }
    device.hardware_type = request.ifr_hwaddr.sa_family;
    std::memcpy(device.mac.bytes.data(), request.ifr_hwaddr.sa_data, device.mac.bytes.size());
    if (::ioctl(socket, SIOCGIFMTU, &request) != 0) {
        return std::nullopt;
    }
    device.mtu = static_cast<std::uint32_t>(request.ifr_mtu);
    if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0) {
        return std::nullopt;
    }
    constexpr int kUp = IFF_UP | IFF_RUNNING;
    device.link_up = (request.ifr_flags & kUp) == kUp;
    return device;
}

bool query_udp_segmentation(int socket, const std::string& name) noexcept {
    // The feature's bit is found by its name, as bits differ between kernels.
    constexpr std::string_view kFeature = "tx-udp-segmentation";
    FeatureCount count;
    FeatureNames names;
    Features features;
    if (!ask_ethtool(socket, name, &count) || count.mask == 0 || count.count > kFeaturesMax) {
        return false;
    }
    names.count = count.count;
    if (!ask_ethtool(socket, name, &names) || !ask_ethtool(socket, name, &features)) {
        return false;
    }
    for (std::size_t bit = 0; bit < count.count; ++bit) {
        const auto& text = names.names[bit];
        if (kFeature == std::string_view(text.data(), strnlen(text.data(), text.size()))) {
            const std::uint32_t active = features.blocks[bit / kBitsPerBlock].active;
            return (active >> (bit % kBitsPerBlock) & 1U) != 0;
        }
    }
    return false;
}

std::optional<std::uint64_t> query_tx_dropped(int netlink, int index) {
    LinkReply reply{};
    const auto message = ask_link(netlink, index, reply);
    const auto value = message ? find_attribute(*message, IFLA_STATS64) : std::nullopt;
    if (!value) {
        return std::nullopt;
    }
    // An older kernel's structure is shorter; the counters asked for are at its front.
    rtnl_link_stats64 stats{};
    std::memcpy(&stats, value->data(), std::min(value->size(), sizeof stats));
    return stats.tx_dropped;
}

std::optional<std::string> query_alias(int netlink, int index) {
    LinkReply reply{};
    const auto message = ask_link(netlink, index, reply);
    if (!message || !read_front<nlmsghdr>(*message) ||
        read_front<nlmsghdr>(*message)->nlmsg_type != RTM_NEWLINK) {
        return std::nullopt;
    }
    std::string alias;
    for (const std::byte octet :
         find_attribute(*message, IFLA_IFALIAS).value_or(std::span<const std::byte>{})) {
        if (octet == std::byte{0}) {
            break;
        }
        alias += std::to_integer<char>(octet);
    }
    return alias;
}

int write_alias(int netlink, int index, const std::string& alias) {
    constexpr std::size_t kAliasBytesMax = 256;  // IFALIASZ.
    struct Request {
        nlmsghdr header;
        ifinfomsg link;
        rtattr attribute;
        std::array<char, kAliasBytesMax> text;
    } request{};
    if (alias.size() > request.text.size()) {
        return EINVAL;
    }
    request.header.nlmsg_len =
        static_cast<std::uint32_t>(offsetof(Request, text) + RTA_ALIGN(alias.size()));
    request.header.nlmsg_type = RTM_NEWLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request.link.ifi_index = index;
    request.attribute.rta_type = IFLA_IFALIAS;
    request.attribute.rta_len = static_cast<unsigned short>(RTA_LENGTH(alias.size()));
    std::memcpy(request.text.data(), alias.data(), alias.size());
    if (::send(netlink, &request, request.header.nlmsg_len, MSG_DONTWAIT) < 0) {
        return errno;
    }
    LinkReply reply{};
    const ssize_t bytes = ::recv(netlink, reply.data(), reply.size(), MSG_DONTWAIT);
    if (bytes < 0) {
        return errno;
    }
    const auto answer = std::span<const std::byte>(reply).first(static_cast<std::size_t>(bytes));
    const auto error = answer.size() < NLMSG_HDRLEN
                           ? std::nullopt
                           : read_front<nlmsgerr>(answer.subspan(NLMSG_HDRLEN));
    return error ? -error->error : EIO;
}

}  // namespace culvert::dataplane
