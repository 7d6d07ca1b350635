// SPDX-License-Identifier: GPL-2.0-or-later
//
// ETHTOOL_GDRVINFO and ETHTOOL_GLINKSETTINGS (linux/ethtool.h).
#include "ctl/link_facts.hpp"

#include <array>
#include <cstddef>
#include <cstring>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "dataplane/kernel_device.hpp"

namespace culvert::ctl {

namespace {

// Words of one bit map of link modes; the kernel needs 4 so far, and says how many it wants.
constexpr std::size_t kModeWordsMax = 16;

/// ethtool_link_settings and room for its bit maps.
using LinkSettings = std::array<std::byte, sizeof(ethtool_link_settings) + 12 * kModeWordsMax>;

template <class Question>
bool ask(int socket, const std::string& interface, Question& question) {
    ifreq request = dataplane::interface_request(interface);
    request.ifr_data = reinterpret_cast<char*>(&question);
    return ::ioctl(socket, SIOCETHTOOL, &request) == 0;
}

template <std::size_t Bytes>
std::string text(const char (&bytes)[Bytes]) {
    return {bytes, ::strnlen(bytes, Bytes)};
}

void ask_driver(int socket, const std::string& interface, LinkFacts& facts) {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    if (ask(socket, interface, info)) {
        facts.driver = {text(info.driver), text(info.version), text(info.fw_version)};
    }
}

/// False when the kernel has no answer; `head` is its front otherwise.
bool ask_settings(int socket, const std::string& interface, ethtool_link_settings& head) {
    head.cmd = ETHTOOL_GLINKSETTINGS;
    LinkSettings settings{};
    std::memcpy(settings.data(), &head, sizeof head);
    if (!ask(socket, interface, settings)) {
        return false;
    }
    std::memcpy(&head, settings.data(), sizeof head);
    return true;
}

void ask_link(int socket, const std::string& interface, LinkFacts& facts) {
    // The first answer is the size of the bit maps, as a negative number.
    ethtool_link_settings size{};
    if (!ask_settings(socket, interface, size) || size.link_mode_masks_nwords >= 0 ||
        size.link_mode_masks_nwords < -static_cast<int>(kModeWordsMax)) {
        return;
    }
    ethtool_link_settings link{};
    link.link_mode_masks_nwords = static_cast<__s8>(-size.link_mode_masks_nwords);
    if (!ask_settings(socket, interface, link)) {
        return;
    }
    if (link.speed != 0 && link.speed != static_cast<std::uint32_t>(SPEED_UNKNOWN)) {
        facts.speed_mbps = link.speed;
    }
    if (link.duplex != DUPLEX_UNKNOWN) {
        facts.full_duplex = link.duplex == DUPLEX_FULL;
    }
}

}  // namespace

LinkFacts query_link_facts(const std::string& interface) {
    LinkFacts facts;
    const dataplane::Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (socket.is_open() && dataplane::is_interface_name(interface)) {
        ask_driver(socket.get(), interface, facts);
        ask_link(socket.get(), interface, facts);
    }
    return facts;
}

}  // namespace culvert::ctl
