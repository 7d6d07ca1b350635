// SPDX-License-Identifier: GPL-2.0-or-later
//
// What charon is to have loaded for tunnels whose keys are negotiated: connections, their children
// and the pre-shared keys, as vici wants them. A pure function of the configuration; the names of
// what it makes tell what they were made of, so that what charon has can be compared with what it
// should have, by whomever it was loaded.
//
// A tunnel with a pre-shared key has a connection of its own: its identities are the tunnel's, seen
// from either end, so that any number of them can be between two addresses, each with its own key.
// With certificates the identities are the certificates', so all tunnels to a peer are children of
// one connection, and a label (RFC 9478) tells them apart. A peer that is not a Culvert knows
// neither identities nor labels: for it there are connections as ovs-monitor-ipsec makes them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/ike.hpp"
#include "ctl/vici/message.hpp"

namespace culvert::ctl {

/// What charon must know of a certificate.
struct IkeCertificate {
    std::string pem;
    std::string identity;  ///< As vici takes it: "fqdn:host1", "asn1dn:#30...".
    bool operator==(const IkeCertificate&) const = default;
};

/// The PEM files that the configuration names, by path; why one cannot be used, in one sentence.
using IkeCertificates = std::map<std::string, dataplane::Result<IkeCertificate>>;

/// A child of a connection: it has a pair of SAs.
struct IkeChild {
    std::string name;
    std::vector<std::string> tunnels;  ///< That it is for.
    std::uint32_t reqid = 0;
    bool foreign = false;       ///< In the manner of Open vSwitch.
    bool inbound_only = false;  ///< As in foreign_reqid_of().
    bool operator==(const IkeChild&) const = default;
};

struct IkeSecret {
    std::string id;
    std::vector<std::string> owners;
    PrivateText data;
    bool operator==(const IkeSecret&) const = default;
};

struct IkeConnection {
    std::string name;
    tunnels::IpAddress local;
    tunnels::IpAddress remote;
    bool foreign = false;      ///< In the manner of Open vSwitch.
    bool certificate = false;  ///< Certificates authenticate, not a pre-shared key.
    std::vector<IkeChild> children;
    vici::Message load;  ///< For load-conn.
    std::optional<IkeSecret> secret;
    bool operator==(const IkeConnection&) const = default;
};

struct IkePlan {
    std::vector<IkeConnection> connections;
    std::map<std::string, std::string> troubles;  ///< Why a tunnel has no connection.
};

[[nodiscard]] IkePlan plan_ike(
    const IkeDaemonConfig& daemon,
    const std::vector<IkeTunnel>& tunnels,
    const IkeCertificates& certificates
);

/// Whether a connection, or a secret, of charon was made by this, now or by an earlier process.
[[nodiscard]] bool is_of_culvert(std::string_view name);

/// "5/6" from the other end: "6/5".
[[nodiscard]] std::string swap_key(const std::string& key);

}  // namespace culvert::ctl
