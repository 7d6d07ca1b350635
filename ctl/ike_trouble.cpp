// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lines as strongSwan 5.9 to 6.0 write them (charon, level 1).
#include "ctl/ike_trouble.hpp"

#include <algorithm>
#include <array>

namespace culvert::ctl {
namespace {

using Kind = IkeTroubleKind;

struct Rule {
    std::string_view part;  ///< Of a line.
    Kind kind{};
    /// %R: the remote address; %A: what the peer is known by; %I, %E: proposals.
    std::string_view sentence;
};

// The first that fits. As initiator and as responder, in this order.
constexpr std::array<Rule, 24> kRules{{
    {"received AUTHENTICATION_FAILED notify", Kind::refused, "%R refuses this host: %F"},
    {"received NO_PROPOSAL_CHOSEN notify, no CHILD_SA",
     Kind::refused,
     "%R accepts none of the ESP proposals \"%E\", or cannot install SAs in its kernel"},
    {"received NO_PROPOSAL_CHOSEN notify",
     Kind::refused,
     "%R has no tunnel to this host, or accepts none of the IKE proposals \"%I\""},
    {"received INVALID_KE_PAYLOAD notify",
     Kind::refused,
     "%R accepts none of the key exchanges in \"%I\""},
    {"received TS_UNACCEPTABLE notify", Kind::refused, "%R has no such tunnel to this host"},
    {"received INVALID_SYNTAX notify", Kind::refused, "%R does not understand this host's IKE"},
    {"no acceptable ", Kind::refused, "%R proposes none of \"%I\" or, for ESP, of \"%E\""},
    {"received proposals unacceptable", Kind::refused, "%R proposes none of \"%I\""},
    {"but MAC mismatched", Kind::local, "%R has another pre-shared key than this host"},
    {"no shared key found for", Kind::local, "charon has no pre-shared key for %R"},
    {"no private key found for",
     Kind::local,
     "charon has no private key for this host's certificate: it is not the certificate's"},
    {"no trusted ", Kind::local, "the certificate of %R is not one to be trusted: %C"},
    {"no issuer certificate found",
     Kind::local,
     "the certificate of %R is not one to be trusted: %C"},
    {"constraint check failed",
     Kind::local,
     "the certificate of %R is not the one that is expected: %C"},
    {"subject certificate invalid", Kind::local, "the certificate of %R is not valid now"},
    {"signature validation failed", Kind::local, "%R cannot prove that its certificate is its own"},
    {"installing CHILD_SA", Kind::local, "charon cannot install the SAs of %R: %K"},
    {"unable to install ", Kind::local, "charon cannot install the SAs of %R: %K"},
    {"unable to allocate SPI", Kind::local, "charon cannot install the SAs of %R: %K"},
    {"traffic selectors ", Kind::local, "%R asks for a tunnel that this host does not have"},
    {"giving up after ", Kind::silent, "%R does not answer: %N"},
    {"retransmit ", Kind::silent, "%R does not answer: %N"},
    {"peer not responding", Kind::silent, "%R does not answer: %N"},
    {"no response ", Kind::silent, "%R does not answer: %N"},
}};

/// A line with one of the parts that is of no trouble.
constexpr std::array<std::string_view, 2> kHarmless{"traffic selectors of", "querying "};

std::string_view filling(char letter, const IkeAttempt& attempt, const IkeDaemonConfig& daemon) {
    switch (letter) {
    case 'R':
        return attempt.remote;
    case 'I':
        return daemon.proposals;
    case 'E':
        return daemon.esp_proposals;
    case 'F':
        return attempt.certificate
                   ? "it does not trust this host's certificate, or has no tunnel to this host"
                   : "it has another pre-shared key, or no such tunnel to this host";
    case 'C':
        return "check `ca_cert`, `remote_cert` and `remote_name`";
    case 'K':
        return "has this host's kernel ESP (modules esp4 and esp6) and the algorithm?";
    case 'N':
        return "nothing comes back from its UDP ports 500 and 4500";
    default:
        return "";
    }
}

}  // namespace

std::optional<IkeTrouble>
ike_trouble_in(std::string_view line, const IkeAttempt& attempt, const IkeDaemonConfig& daemon) {
    const auto is_in_line = [&](std::string_view part) {
        return line.find(part) != std::string_view::npos;
    };
    if (std::any_of(kHarmless.begin(), kHarmless.end(), is_in_line)) {
        return std::nullopt;
    }
    const auto* rule = std::find_if(kRules.begin(), kRules.end(), [&](const Rule& each) {
        return is_in_line(each.part);
    });
    if (rule == kRules.end()) {
        return std::nullopt;
    }
    IkeTrouble trouble{rule->kind, {}};
    for (std::size_t i = 0; i < rule->sentence.size(); ++i) {
        const char c = rule->sentence[i];
        if (c == '%' && i + 1 < rule->sentence.size()) {
            trouble.sentence += filling(rule->sentence[++i], attempt, daemon);
        } else {
            trouble.sentence += c;
        }
    }
    return trouble;
}

}  // namespace culvert::ctl
