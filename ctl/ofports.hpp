// SPDX-License-Identifier: GPL-2.0-or-later
//
// OpenFlow port numbers: what fdb/show, ovs-ofctl and the column Interface.ofport call a port. They
// mean nothing to the packet path. Numbers are given out as OVS does (ofproto.c): 65534 for the
// bridge's local port, else what is requested, else what the interface had before, else the next
// free one of 1-32767 (a number comes again as late as possible). Control thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace culvert::ctl {

class Ofports {
public:
    static constexpr std::uint16_t kLocal = 65534;
    static constexpr std::uint16_t kRequestMax = 65279;

    struct Request {
        std::string bridge;
        std::string interface;
        bool local = false;                           ///< The bridge's own.
        std::optional<std::uint16_t> requested = {};  ///< 1-65279.
        std::optional<std::uint16_t> before = {};     ///< Of an earlier run, as the database says.
        bool absent = false;  ///< Has no number now; the one it had is remembered.
    };

    /// Numbers for exactly these interfaces: who has one keeps it unless another is requested; who
    /// is not listed loses it, and who is absent has it again on return, if it is free. Of two that
    /// request the same number the one that has it keeps it.
    void assign(const std::vector<Request>& requests);

    [[nodiscard]] std::optional<std::uint16_t> find(const std::string& interface) const;
    /// The interface with this number, or null.
    [[nodiscard]] const std::string*
    interface(const std::string& bridge, std::uint16_t ofport) const;
    /// By number.
    [[nodiscard]] const std::map<std::uint16_t, std::string>& of_bridge(const std::string& bridge
    ) const;

private:
    struct Bridge {
        std::map<std::uint16_t, std::string> by_number;
        std::uint16_t next = 1;
    };
    struct Place {
        std::string bridge;
        std::uint16_t ofport = 0;
    };
    [[nodiscard]] std::map<std::string, Place> places_left(const std::vector<Request>& requests
    ) const;

    std::map<std::string, Bridge> bridges_;
    std::map<std::string, Place> places_;  ///< By interface.
    std::map<std::string, Place> left_;    ///< Where those were that are absent now.
};

}  // namespace culvert::ctl
