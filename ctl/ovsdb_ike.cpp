// SPDX-License-Identifier: GPL-2.0-or-later
//
// Options of encryption in a database. See ovsdb_ike.hpp.
#include "ctl/ovsdb_ike.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "ctl/config_words.hpp"
#include "ctl/sentence.hpp"

namespace culvert::ctl {

namespace {

constexpr std::array<const char*, 3> kAuthenticationKeys{"psk", "remote_cert", "remote_name"};
/// What ovs-monitor-ipsec hands through to the IKE daemon.
constexpr std::string_view kCustomPrefix = "ipsec_";
/// The words of Libreswan and of strongSwan for one thing.
constexpr std::array<std::string_view, 2> kUdpEncapKeys{"ipsec_encapsulation", "ipsec_forceencaps"};

constexpr std::size_t kSocketPathBytesMax = 107;  // sizeof(sockaddr_un::sun_path) - 1.
constexpr std::size_t kPathBytesMax = 4095;       // PATH_MAX - 1.

bool is_path(const std::string& text, std::size_t bytes_max = kPathBytesMax) {
    return text.starts_with('/') && text.size() <= bytes_max;
}

std::string_view psk_problem(std::string_view psk) {
    if (psk.empty()) {
        return "is empty";
    }
    if (psk.size() > kPskBytesMax) {
        return "is too long";
    }
    return is_printable(psk) ? "" : "has a control character";
}

std::string read_psk(const OvsdbOptions& options, const std::string& psk, IkeConfig& ike) {
    for (const char* other : {"remote_cert", "remote_name"}) {
        if (find_option(options, other) != nullptr) {
            return "psk cannot stand beside " + std::string(other) +
                   "; valid: a pre-shared key or certificates, not both";
        }
    }
    if (const std::string_view problem = psk_problem(psk); !problem.empty()) {
        return "psk " + std::string(problem) +
               "; valid: a pre-shared key of 1-1024 bytes without control characters";
    }
    ike.psk = PrivateText(psk);
    return {};
}

std::string
read_certificates(const OvsdbOptions& options, const IkeDaemonConfig& daemon, IkeConfig& ike) {
    const std::string* cert = find_option(options, "remote_cert");
    const std::string* name = find_option(options, "remote_name");
    const std::string key = cert != nullptr ? "remote_cert" : "remote_name";
    if (cert != nullptr && !is_path(*cert)) {
        return "remote_cert=" + *cert +
               " is not an absolute path; valid: the file with the peer's certificate";
    }
    if (cert == nullptr && name->empty()) {
        return "remote_name is empty; valid: the common name (CN) of the peer's certificate";
    }
    if (daemon.certificate.empty() || daemon.private_key.empty()) {
        return key + " needs a certificate of this host; valid: other_config:certificate and "
                     "other_config:private_key of Open_vSwitch";
    }
    if (cert == nullptr && daemon.ca_cert.empty()) {
        return key + " needs the certificate of who signed the peer's; valid: "
                     "other_config:ca_cert of Open_vSwitch";
    }
    // As ovs-monitor-ipsec does, which takes the name from the certificate.
    ike.remote_cert = cert != nullptr ? *cert : "";
    ike.remote_name = cert != nullptr ? "" : *name;
    return {};
}

void read_custom(const OvsdbOptions& options, OvsdbIke& result) {
    for (const auto& [key, value] : options) {
        if (!key.starts_with(kCustomPrefix)) {
            continue;
        }
        const bool is_encap =
            std::find(kUdpEncapKeys.begin(), kUdpEncapKeys.end(), key) != kUdpEncapKeys.end();
        if (is_encap) {
            result.ike->udp_encap = value == "yes" || value == "true";
        } else {
            result.warnings.push_back(
                key + " has no effect; valid: ipsec_encapsulation, ipsec_forceencaps"
            );
        }
    }
}

void read_path(
    const OvsdbOptions& options,
    const char* key,
    std::size_t bytes_max,
    std::string& path,
    std::vector<std::string>& warnings
) {
    const std::string* text = find_option(options, key);
    if (text == nullptr) {
        return;
    }
    if (is_path(*text, bytes_max)) {
        path = *text;
        return;
    }
    warnings.push_back(
        "other_config:" + std::string(key) + "=" + *text +
        " is ignored; valid: an absolute path of at most " + std::to_string(bytes_max) + " bytes"
    );
}

}  // namespace

OvsdbIke read_ovsdb_ike(const OvsdbOptions& options, const IkeDaemonConfig& daemon) {
    OvsdbIke result;
    const bool wanted =
        std::any_of(kAuthenticationKeys.begin(), kAuthenticationKeys.end(), [&](const char* key) {
            return find_option(options, key) != nullptr;
        });
    if (!wanted) {
        return result;
    }
    IkeConfig& ike = result.ike.emplace();
    if (daemon.control == IkeControl::follow) {
        return result;  // Who drives the IKE daemon reads the same options, and judges them.
    }
    const std::string* psk = find_option(options, "psk");
    result.error =
        psk != nullptr ? read_psk(options, *psk, ike) : read_certificates(options, daemon, ike);
    if (!result.error.empty()) {
        result.ike.reset();
        return result;
    }
    if (!ike.remote_cert.empty() && find_option(options, "remote_name") != nullptr) {
        result.warnings.emplace_back(
            "remote_name has no effect beside remote_cert, which has the peer's name"
        );
    }
    read_custom(options, result);
    return result;
}

bool is_ovsdb_ike_key(std::string_view key) {
    return key.starts_with(kCustomPrefix) ||
           std::find(kAuthenticationKeys.begin(), kAuthenticationKeys.end(), key) !=
               kAuthenticationKeys.end();
}

void read_ovsdb_ike_daemon(
    const OvsdbOptions& options, IkeDaemonConfig& daemon, std::vector<std::string>& warnings
) {
    std::string certificate;
    std::string private_key;
    read_path(options, "certificate", kPathBytesMax, certificate, warnings);
    read_path(options, "private_key", kPathBytesMax, private_key, warnings);
    if (certificate.empty() != private_key.empty()) {
        warnings.push_back(
            std::string("other_config:") + (certificate.empty() ? "private_key" : "certificate") +
            " is ignored; valid: certificate and private_key together"
        );
    } else if (!certificate.empty()) {
        daemon.certificate = certificate;
        daemon.private_key = private_key;
    }
    read_path(options, "ca_cert", kPathBytesMax, daemon.ca_cert, warnings);
    read_path(options, "culvert-vici", kSocketPathBytesMax, daemon.vici, warnings);
    const std::string* control = find_option(options, "culvert-ike");
    if (control == nullptr) {
        return;
    }
    const auto* const word = std::find_if(
        kIkeControlWords.begin(),
        kIkeControlWords.end(),
        [&](const Word<IkeControl>& candidate) { return candidate.word == *control; }
    );
    if (word == kIkeControlWords.end()) {
        warnings.push_back(
            "other_config:culvert-ike=" + *control + " is unknown and ignored; valid: vici, follow"
        );
    } else {
        daemon.control = word->value;
    }
}

}  // namespace culvert::ctl
