// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/ike_connection.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

#include <openssl/sha.h>

namespace culvert::ctl {
namespace {

using vici::Message;
using List = Message::List;

constexpr std::string_view kPrefix = "culvert-";
/// Between what a name is for and what it was made of.
constexpr char kMark = '~';
constexpr unsigned kIkeRekeySeconds = 14400;
/// How long a child SA lives on when its replacement does not succeed, at least.
constexpr std::uint32_t kOverSeconds = 30;
constexpr const char* kReplayWindow = "1024";
/// What ovs-monitor-ipsec asks of strongSwan and of Libreswan, which both take groups for granted
/// that this daemon's defaults do not have.
constexpr std::string_view kForeignProposals = "aes256gcm16-prfsha256-modp2048";
constexpr std::string_view kForeignEspProposals = "aes256gcm16-modp2048,aes256gcm16";
constexpr std::uint32_t kForeignReqidFirst = 0x20000000;
constexpr std::uint32_t kForeignReqidBits = 0x1ffffffe;

std::uint32_t digest(std::string_view text) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> sum{};
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): of bytes to bytes.
    ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), sum.data());
    return static_cast<std::uint32_t>(sum[0]) << 24U | static_cast<std::uint32_t>(sum[1]) << 16U |
           static_cast<std::uint32_t>(sum[2]) << 8U | sum[3];
}

/// `text` and a mark of what it stands for. No secret may be in `message`.
std::string marked(const std::string& text, const Message& message) {
    const auto bytes = vici::encode({vici::Operation::request, "", message});
    std::array<char, 9> hex{};
    std::snprintf(
        hex.data(), hex.size(), "%08x", digest(bytes.has_value() ? *bytes : bytes.error())
    );
    return text + kMark + hex.data();
}

List split(std::string_view text) {
    List parts;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        std::string_view part = text.substr(0, comma);
        while (part.starts_with(' ')) {
            part.remove_prefix(1);
        }
        while (part.ends_with(' ')) {
            part.remove_suffix(1);
        }
        if (!part.empty() && std::find(parts.begin(), parts.end(), part) == parts.end()) {
            parts.emplace_back(part);
        }
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return parts;
}

std::string text_of(std::uint64_t number) {
    return std::to_string(number);
}

std::string seconds(std::uint64_t number) {
    return std::to_string(number) + "s";
}

/// What a tunnel is called between its two ends, seen from the end `from`.
std::string title(
    const IkeTunnel& tunnel,
    const std::string& key,
    const tunnels::IpAddress& from,
    const tunnels::IpAddress& to
) {
    std::string text = "culvert/" + tunnel.type;
    if (tunnel.udp_port != 0) {
        text += ":" + std::to_string(tunnel.udp_port);
    }
    return text + "/" + key + "/" + from.to_string() + "/" + to.to_string();
}

std::string local_title(const IkeTunnel& tunnel) {
    return title(tunnel, tunnel.key, tunnel.local, tunnel.remote);
}

std::string remote_title(const IkeTunnel& tunnel) {
    return title(tunnel, swap_key(tunnel.key), tunnel.remote, tunnel.local);
}

/// The same at both ends.
std::string label(const IkeTunnel& tunnel) {
    return std::min(local_title(tunnel), remote_title(tunnel));
}

// ---- Children -----------------------------------------------------------------------------------

Message child_message(
    const IkeDaemonConfig& daemon,
    const std::string& esp_proposals,
    std::uint32_t reqid,
    const std::string& local,
    const std::string& remote
) {
    const std::uint32_t over = std::max(daemon.rekey_s / 10, kOverSeconds);
    Message child;
    child.add("mode", std::string("transport"));
    child.add("local_ts", List{"dynamic[" + local + "]"});
    child.add("remote_ts", List{"dynamic[" + remote + "]"});
    child.add("esp_proposals", split(esp_proposals));
    child.add("reqid", text_of(reqid));
    // The policy is this daemon's; the kernel's would hold packets of the kernel's own.
    child.add("policies", std::string("no"));
    child.add("replay_window", std::string(kReplayWindow));
    child.add("rekey_time", seconds(daemon.rekey_s));
    child.add("life_time", seconds(std::uint64_t{daemon.rekey_s} + over));
    child.add("rand_time", seconds(daemon.rekey_s / 10));
    // This daemon starts what it needs, again and again, and is there when packets are.
    child.add("start_action", std::string("none"));
    child.add("close_action", std::string("none"));
    child.add("dpd_action", std::string("clear"));
    return child;
}

struct MadeChild {
    IkeChild child;
    Message message;
};

MadeChild own_child(const IkeDaemonConfig& daemon, const IkeTunnel& tunnel, bool labelled) {
    // A UDP tunnel's source port is any, in both directions.
    const std::string protocol = tunnel.udp_port == 0 ? "gre" : "udp";
    Message message = child_message(daemon, daemon.esp_proposals, tunnel.reqid, protocol, protocol);
    if (labelled) {
        message.add("label", label(tunnel));
        message.add("label_mode", std::string("simple"));
    }
    IkeChild child{marked(tunnel.name, message), {tunnel.name}, tunnel.reqid, false, false};
    return {std::move(child), std::move(message)};
}

/// Of all tunnels of one protocol and port to a peer.
std::vector<MadeChild>
foreign_children(const IkeDaemonConfig& daemon, const std::vector<const IkeTunnel*>& tunnels) {
    const IkeTunnel& first = *tunnels.front();
    std::vector<std::string> names;
    names.reserve(tunnels.size());
    for (const IkeTunnel* tunnel : tunnels) {
        names.push_back(tunnel->name);
    }
    const std::string esp = daemon.esp_proposals + "," + std::string(kForeignEspProposals);
    const std::uint32_t reqid =
        foreign_reqid_of(first.config, first.udp_port, first.local, first.remote);
    if (first.udp_port == 0) {
        Message message = child_message(daemon, esp, reqid, "gre", "gre");
        return {{{marked("gre", message), names, reqid, true, false}, message}};
    }
    const std::string port = std::to_string(first.udp_port);
    Message out = child_message(daemon, esp, reqid, "udp", "udp/" + port);
    Message in = child_message(daemon, esp, reqid + 1, "udp/" + port, "udp");
    return {
        {{marked("udp" + port + "-out", out), names, reqid, true, false}, out},
        {{marked("udp" + port + "-in", in), names, reqid + 1, true, true}, in}};
}

/// By protocol and port, as they come.
std::vector<MadeChild>
all_foreign_children(const IkeDaemonConfig& daemon, const std::vector<const IkeTunnel*>& tunnels) {
    std::map<std::uint16_t, std::vector<const IkeTunnel*>> by_port;
    for (const IkeTunnel* tunnel : tunnels) {
        by_port[tunnel->udp_port].push_back(tunnel);
    }
    std::vector<MadeChild> all;
    for (const auto& [port, some] : by_port) {
        for (MadeChild& made : foreign_children(daemon, some)) {
            all.push_back(std::move(made));
        }
    }
    return all;
}

// ---- Connections --------------------------------------------------------------------------------

/// All of a connection but its children.
Message connection_message(
    const IkeDaemonConfig& daemon,
    const IkeTunnel& tunnel,
    const std::string& proposals,
    Message local,
    Message remote
) {
    Message message;
    message.add("version", std::string("2"));
    message.add("local_addrs", List{tunnel.local.to_string()});
    message.add("remote_addrs", List{tunnel.remote.to_string()});
    message.add("proposals", split(proposals));
    message.add("encap", std::string(tunnel.config.udp_encap ? "yes" : "no"));
    // The addresses of a tunnel do not move.
    message.add("mobike", std::string("no"));
    message.add("keyingtries", std::string("1"));
    message.add("rekey_time", seconds(kIkeRekeySeconds));
    message.add("dpd_delay", seconds(daemon.dpd_s));
    // Of two ends that begin at once each would say that it is its first contact, and the other one
    // would drop the other SA without a word: what is left are two halves.
    message.add("unique", std::string("never"));
    if (tunnel.config.psk.empty()) {
        message.add("send_cert", std::string("always"));
    }
    message.add("local", std::move(local));
    message.add("remote", std::move(remote));
    return message;
}

IkeConnection assemble(
    const std::string& name, const IkeTunnel& tunnel, Message message, std::vector<MadeChild> made
) {
    IkeConnection connection;
    connection.name = marked(std::string(kPrefix) + name, message);
    connection.local = tunnel.local;
    connection.remote = tunnel.remote;
    connection.certificate = tunnel.config.psk.empty();
    Message children;
    for (MadeChild& each : made) {
        children.add(each.child.name, std::move(each.message));
        connection.children.push_back(std::move(each.child));
    }
    message.add("children", std::move(children));
    connection.load.add(connection.name, std::move(message));
    return connection;
}

Message psk_end(const std::string& identity) {
    return Message().add("auth", std::string("psk")).add("id", identity);
}

IkeConnection psk_connection(const IkeDaemonConfig& daemon, const IkeTunnel& tunnel) {
    // Octets without a meaning (RFC 7296's ID_KEY_ID): nothing in a certificate could be the same.
    const std::string local = "keyid:" + local_title(tunnel);
    const std::string remote = "keyid:" + remote_title(tunnel);
    IkeConnection connection = assemble(
        tunnel.name,
        tunnel,
        connection_message(daemon, tunnel, daemon.proposals, psk_end(local), psk_end(remote)),
        {own_child(daemon, tunnel, false)}
    );
    // charon accepts every key that has one of the two identities, so neither may be another's.
    connection.secret = IkeSecret{connection.name, {local, remote}, tunnel.config.psk};
    return connection;
}

std::string foreign_proposals(const IkeDaemonConfig& daemon) {
    return daemon.proposals + "," + std::string(kForeignProposals);
}

IkeConnection foreign_psk_connection(
    const IkeDaemonConfig& daemon, const std::vector<const IkeTunnel*>& tunnels
) {
    const IkeTunnel& first = *tunnels.front();
    const std::string remote = first.remote.to_string();
    IkeConnection connection = assemble(
        "ovs-" + remote,
        first,
        connection_message(
            daemon,
            first,
            foreign_proposals(daemon),
            psk_end(first.local.to_string()),
            psk_end(remote)
        ),
        all_foreign_children(daemon, tunnels)
    );
    connection.foreign = true;
    connection.secret = IkeSecret{connection.name, {remote}, first.config.psk};
    return connection;
}

/// The certificate in a file that is configured, or why it cannot be used.
dataplane::Result<IkeCertificate>
certificate_in(const IkeCertificates& certificates, const std::string& path) {
    const auto found = certificates.find(path);
    return found != certificates.end()
               ? found->second
               : tl::unexpected<std::string>("certificate \"" + path + "\" was not read");
}

using Ends = std::pair<Message, Message>;

/// Both ends of a connection that certificates authenticate, or why there are none.
dataplane::Result<Ends> certificate_ends(
    const IkeDaemonConfig& daemon, const IkeConfig& config, const IkeCertificates& certificates
) {
    const auto failure = [](std::string sentence) {
        return tl::unexpected<std::string>(std::move(sentence));
    };
    if (daemon.certificate.empty() || daemon.private_key.empty()) {
        return failure(
            "encryption by certificates needs this host's `certificate` and `private_key`, and " +
            std::string(daemon.certificate.empty() ? "the first" : "the second") + " is not set"
        );
    }
    const auto own = certificate_in(certificates, daemon.certificate);
    if (!own.has_value()) {
        return failure(own.error());
    }
    Message local;
    local.add("auth", std::string("pubkey")).add("certs", List{own->pem}).add("id", own->identity);
    Message remote;
    remote.add("auth", std::string("pubkey"));
    if (!config.remote_cert.empty()) {
        const auto peer = certificate_in(certificates, config.remote_cert);
        if (!peer.has_value()) {
            return failure(peer.error());
        }
        remote.add("certs", List{peer->pem}).add("id", peer->identity);
        return Ends{std::move(local), std::move(remote)};
    }
    if (config.remote_name.empty() || daemon.ca_cert.empty()) {
        return failure(
            config.remote_name.empty()
                ? "there is no way to know the peer: set a pre-shared key, `remote_cert` or "
                  "`remote_name`"
                : "`remote_name` needs `ca_cert`, the certificate of who signs for the peer"
        );
    }
    const auto authority = certificate_in(certificates, daemon.ca_cert);
    if (!authority.has_value()) {
        return failure(authority.error());
    }
    const bool is_name = config.remote_name.find('=') == std::string::npos;
    remote.add("cacerts", List{authority->pem});
    remote.add("id", (is_name ? "fqdn:" : "asn1dn:") + config.remote_name);
    return Ends{std::move(local), std::move(remote)};
}

IkeConnection certificate_connection(
    const IkeDaemonConfig& daemon, const std::vector<const IkeTunnel*>& tunnels, const Ends& ends
) {
    const IkeTunnel& first = *tunnels.front();
    std::vector<MadeChild> made;
    made.reserve(tunnels.size());
    for (const IkeTunnel* tunnel : tunnels) {
        made.push_back(own_child(daemon, *tunnel, true));
    }
    std::vector<MadeChild> foreign = all_foreign_children(daemon, tunnels);
    std::move(foreign.begin(), foreign.end(), std::back_inserter(made));
    return assemble(
        "peer-" + first.remote.to_string(),
        first,
        connection_message(daemon, first, foreign_proposals(daemon), ends.first, ends.second),
        std::move(made)
    );
}

using Addresses = std::pair<tunnels::IpAddress, tunnels::IpAddress>;
using Group = std::vector<const IkeTunnel*>;

void plan_psk(const IkeDaemonConfig& daemon, const Group& psk, IkePlan& plan) {
    std::map<Addresses, Group> by_peer;
    for (const IkeTunnel* tunnel : psk) {
        plan.connections.push_back(psk_connection(daemon, *tunnel));
        by_peer[{tunnel->local, tunnel->remote}].push_back(tunnel);
    }
    for (const auto& [addresses, some] : by_peer) {
        // In the other manner there is one key between two hosts.
        const IkeConfig& first = some.front()->config;
        const bool one_key = std::all_of(some.begin(), some.end(), [&](const IkeTunnel* tunnel) {
            return tunnel->config.psk == first.psk && tunnel->config.udp_encap == first.udp_encap;
        });
        if (one_key) {
            plan.connections.push_back(foreign_psk_connection(daemon, some));
        }
    }
}

void plan_certificates(
    const IkeDaemonConfig& daemon,
    const Group& tunnels,
    const IkeCertificates& certificates,
    IkePlan& plan
) {
    using Peer = std::tuple<Addresses, std::string, std::string, bool>;
    std::map<Peer, Group> by_peer;
    for (const IkeTunnel* tunnel : tunnels) {
        const IkeConfig& config = tunnel->config;
        by_peer[{{tunnel->local, tunnel->remote},
                 config.remote_cert,
                 config.remote_name,
                 config.udp_encap}]
            .push_back(tunnel);
    }
    for (const auto& [peer, some] : by_peer) {
        const auto ends = certificate_ends(daemon, some.front()->config, certificates);
        if (ends.has_value()) {
            plan.connections.push_back(certificate_connection(daemon, some, *ends));
            continue;
        }
        for (const IkeTunnel* tunnel : some) {
            plan.troubles[tunnel->name] = ends.error();
        }
    }
}

}  // namespace

std::uint32_t foreign_reqid_of(
    const IkeConfig& ike,
    std::uint16_t udp_port,
    const tunnels::IpAddress& local,
    const tunnels::IpAddress& remote
) {
    // Who knows the pre-shared key of one tunnel proves nothing for one with certificates.
    const std::string proof = !ike.psk.empty() ? "psk" : ike.remote_cert + "|" + ike.remote_name;
    const std::string text =
        std::to_string(udp_port) + "/" + local.to_string() + "/" + remote.to_string() + "/" + proof;
    return kForeignReqidFirst | (digest(text) & kForeignReqidBits);
}

std::string swap_key(const std::string& key) {
    const std::size_t slash = key.find('/');
    return slash == std::string::npos ? key : key.substr(slash + 1) + "/" + key.substr(0, slash);
}

bool is_of_culvert(std::string_view name) {
    constexpr std::size_t kDigits = 8;
    if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + 1 + kDigits) {
        return false;
    }
    const std::string_view mark = name.substr(name.size() - kDigits - 1);
    return mark.front() == kMark &&
           mark.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

IkePlan plan_ike(
    const IkeDaemonConfig& daemon,
    const std::vector<IkeTunnel>& tunnels,
    const IkeCertificates& certificates
) {
    IkePlan plan;
    Group psk;
    Group others;
    std::map<std::string, std::string> titles;
    for (const IkeTunnel& tunnel : tunnels) {
        // They would be each other's peer, whichever was meant.
        const auto [other, added] = titles.emplace(local_title(tunnel), tunnel.name);
        if (!added) {
            plan.troubles[tunnel.name] =
                "tunnel \"" + other->second + "\" has the same type, key and addresses";
            continue;
        }
        (tunnel.config.psk.empty() ? others : psk).push_back(&tunnel);
    }
    plan_psk(daemon, psk, plan);
    plan_certificates(daemon, others, certificates, plan);
    return plan;
}

}  // namespace culvert::ctl
