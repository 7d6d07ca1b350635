// SPDX-License-Identifier: GPL-2.0-or-later
//
// Claims as rules of the table raw, through legacy_table.hpp and under the lock that iptables
// takes. Each family is a table of its own and is changed in one step; a claim that fails for the
// second is taken back in the first. Control thread only.
#include "firewall/claim_raw.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include <linux/netfilter/xt_comment.h>
#include <net/if.h>

#include "firewall/iptc.hpp"
#include "firewall/legacy_bytes.hpp"
#include "firewall/legacy_table.hpp"
#include "firewall/xtables_lock.hpp"

namespace culvert::firewall {

namespace {

constexpr LegacyTableName kRaw = {"raw", -300};
constexpr const char* kPrerouting = "PREROUTING";
constexpr std::string_view kCommentStart = "culvert claim ";
// A table that other programs change without the lock is read again so often.
constexpr unsigned kChangeTries = 16;

using entry::Bytes;

template <class T>
std::optional<T> take(std::span<const std::byte> bytes, std::size_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
        return std::nullopt;
    }
    T value{};
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

// Up to the first zero byte, if there is one.
template <std::size_t Size>
std::string text_of(const char (&bytes)[Size]) {
    return {bytes, strnlen(bytes, Size)};
}

template <class Iptc>
Bytes make_entry_as(const std::string& interface, const std::string& comment) {
    using Header = typename Iptc::Header;  // The first member of an entry.
    Bytes bytes(sizeof(typename Iptc::Entry));
    std::memcpy(bytes.data() + offsetof(Header, iniface), interface.data(), interface.size());
    // The zero behind the name is compared too, so that no longer name is meant.
    std::memset(bytes.data() + offsetof(Header, iniface_mask), 0xff, interface.size() + 1);

    entry::append_comment(bytes, comment);
    entry::finish<Iptc>(bytes, IPTC_LABEL_DROP);
    return bytes;
}

Bytes make_entry(Family family, const std::string& interface, const std::string& comment) {
    return family == Family::ipv4 ? make_entry_as<Iptc4>(interface, comment)
                                  : make_entry_as<Iptc6>(interface, comment);
}

// A rule that some Culvert process made.
struct RawClaim {
    std::uint64_t number = 0;  ///< In the chain, from 1.
    std::string interface;
    std::string instance;
    Process claimant;
};

// Nothing unless the rule is one that make_entry() makes.
template <class Iptc>
std::optional<RawClaim> read_entry_as(std::span<const std::byte> bytes) {
    const auto header = take<typename Iptc::Header>(bytes, 0);
    const auto info =
        take<xt_comment_info>(bytes, sizeof(typename Iptc::Entry) + sizeof(xt_entry_match));
    if (!header || !info) {
        return std::nullopt;
    }
    const std::string comment = text_of(info->comment);
    const std::size_t separator = comment.rfind(' ');
    if (!comment.starts_with(kCommentStart) || separator < kCommentStart.size()) {
        return std::nullopt;
    }
    const auto claimant = parse_process(std::string_view(comment).substr(separator + 1));
    const std::string interface = text_of(header->iniface);
    if (!claimant || interface.empty() || interface.size() >= IFNAMSIZ) {
        return std::nullopt;
    }
    // What the rule asks for stands in its header; its matches are a comment and no more when it is
    // as long.
    const Bytes made = make_entry_as<Iptc>(interface, comment);
    const bool is_ours =
        made.size() == bytes.size() &&
        std::equal(made.begin(), made.begin() + sizeof(typename Iptc::Header), bytes.begin());
    if (!is_ours) {
        return std::nullopt;
    }
    const std::string instance =
        comment.substr(kCommentStart.size(), separator - kCommentStart.size());
    return RawClaim{0, interface, instance, *claimant};
}

std::vector<RawClaim> claims_in(LegacyTable& table, Family family) {
    std::vector<RawClaim> claims;
    std::uint64_t number = 0;
    for (const Bytes& bytes : table.entries(kPrerouting)) {
        ++number;
        auto claim =
            family == Family::ipv4 ? read_entry_as<Iptc4>(bytes) : read_entry_as<Iptc6>(bytes);
        if (claim) {
            claim->number = number;
            claims.push_back(*std::move(claim));
        }
    }
    return claims;
}

std::string tool_of(Family family) {
    return family == Family::ipv4 ? Iptc4::kTool : Iptc6::kTool;
}

std::string table_trouble(Family family, const LegacyError& error) {
    return "the table raw of " + tool_of(family) + " cannot be changed: " + error.text;
}

// What to do with a table: rules to erase, and one to insert. An error leaves it as it is.
struct Change {
    std::vector<RawClaim> erased;
    std::optional<Bytes> inserted;
};
using Planner = std::function<tl::expected<Change, std::string>(const std::vector<RawClaim>&)>;

tl::expected<void, LegacyError> write(LegacyTable& table, const Change& change) {
    // From the last, so that the numbers of the others stay what they are.
    for (auto claim = change.erased.rbegin(); claim != change.erased.rend(); ++claim) {
        if (auto erased = table.erase(kPrerouting, claim->number); !erased) {
            return erased;
        }
    }
    if (change.inserted) {
        if (auto inserted = table.insert(kPrerouting, *change.inserted); !inserted) {
            return inserted;
        }
    }
    return table.commit();
}

tl::expected<Change, std::string> change(Family family, const Planner& planner) {
    const auto lock = XtablesLock::take();
    if (!lock) {
        return tl::unexpected(lock.error());
    }
    for (unsigned tries = 1;; ++tries) {
        const auto table = LegacyTable::open(family, kRaw);
        if (!table) {
            return tl::unexpected(table_trouble(family, table.error()));
        }
        auto planned = planner(claims_in(**table, family));
        if (!planned || (planned->erased.empty() && !planned->inserted)) {
            return planned;
        }
        const auto written = write(**table, *planned);
        if (written) {
            return planned;
        }
        if (written.error().error != EAGAIN || tries == kChangeTries) {
            return tl::unexpected(table_trouble(family, written.error()));
        }
    }
}

}  // namespace

RawClaims::RawClaims(std::string instance, const Process& self, std::vector<Family> families)
    : instance_(std::move(instance)), self_(self), families_(std::move(families)) {}

tl::expected<std::unique_ptr<RawClaims>, std::string>
RawClaims::open(const std::string& instance, const Process& self) {
    std::vector<Family> families;
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        load_legacy_module(family);
        const auto table = LegacyTable::open(family, kRaw);
        if (table) {
            families.push_back(family);
        } else if (family == Family::ipv4) {
            return tl::unexpected(table_trouble(family, table.error()));
        }
    }
    return std::unique_ptr<RawClaims>(new RawClaims(instance, self, std::move(families)));
}

tl::expected<unsigned, std::string> RawClaims::remove_stale() {
    std::set<std::tuple<std::string, std::uint64_t, std::uint64_t>> removed;
    for (const Family family : families_) {
        const auto done = change(family, [](const std::vector<RawClaim>& claims) {
            Change stale;
            std::copy_if(
                claims.begin(),
                claims.end(),
                std::back_inserter(stale.erased),
                [](const RawClaim& claim) { return !is_running(claim.claimant); }
            );
            return tl::expected<Change, std::string>(std::move(stale));
        });
        if (!done) {
            return tl::unexpected(done.error());
        }
        for (const RawClaim& claim : done->erased) {
            removed.emplace(claim.interface, claim.claimant.pid, claim.claimant.start_ticks);
        }
    }
    return static_cast<unsigned>(removed.size());
}

tl::expected<void, std::string> RawClaims::claim(const std::string& interface) {
    const std::string comment = std::string(kCommentStart) + instance_ + " " + to_string(self_);
    for (const Family family : families_) {
        const auto done = change(family, [&](const std::vector<RawClaim>& claims) {
            Change wanted;
            wanted.inserted = make_entry(family, interface, comment);
            for (const RawClaim& claim : claims) {
                if (claim.interface != interface) {
                    continue;
                }
                const bool own = claim.claimant == self_ && claim.instance == instance_;
                if (!own && is_running(claim.claimant)) {
                    return tl::expected<Change, std::string>(
                        tl::unexpect,
                        "it is already claimed by process " + std::to_string(claim.claimant.pid) +
                            " with a rule in the table raw of " + tool_of(family) +
                            "; stop that process first"
                    );
                }
                wanted.erased.push_back(claim);
            }
            return tl::expected<Change, std::string>(std::move(wanted));
        });
        if (!done) {
            // What was claimed in the other family is of no use without this one.
            static_cast<void>(release(interface));
            return tl::unexpected(
                "The interface " + interface + " cannot be claimed: " + done.error() + "."
            );
        }
    }
    return {};
}

tl::expected<void, std::string> RawClaims::release(const std::string& interface) {
    tl::expected<void, std::string> outcome;
    for (const Family family : families_) {
        const auto done = change(family, [&](const std::vector<RawClaim>& claims) {
            Change own;
            for (const RawClaim& claim : claims) {
                if (claim.interface == interface && claim.claimant == self_ &&
                    claim.instance == instance_) {
                    own.erased.push_back(claim);
                }
            }
            return tl::expected<Change, std::string>(std::move(own));
        });
        if (!done) {
            outcome = tl::unexpected(
                "The claim of the interface " + interface + " cannot be released: " + done.error() +
                "."
            );
        }
    }
    return outcome;
}

}  // namespace culvert::firewall
