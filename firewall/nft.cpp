// SPDX-License-Identifier: GPL-2.0-or-later
//
// The backend of nftables. Read by libnftables, as JSON for the meaning and as text for people;
// written by nft_batch.hpp on condition that nothing changed since. nftables has no lock, so the
// generation of its ruleset is what tells: a listing during which it changed is made again.
//
// The generation does not count elements that rules add to sets by themselves, nor those that time
// out; where rules read such a set, the backend lets its own generation change when it is time to
// read again. Contexts of libnftables live for one reading, as they keep everything that they
// listed.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nftables/libnftables.h>
#include <nlohmann/json.hpp>

#include "firewall/backend.hpp"
#include "firewall/command.hpp"
#include "firewall/error_text.hpp"
#include "firewall/ipset.hpp"
#include "firewall/nft_batch.hpp"
#include "firewall/nft_context.hpp"
#include "firewall/nft_document.hpp"
#include "firewall/nft_json.hpp"
#include "firewall/nft_listing.hpp"
#include "firewall/nft_netlink.hpp"

namespace culvert::firewall {

namespace {

/// Times that a reading or a change is tried while others change the ruleset. Each one that fails
/// means that somebody else got on.
constexpr unsigned kTriesMax = 64;
constexpr unsigned kPauseMaxMs = 20;

using Clock = std::chrono::steady_clock;
/// A ruleset with sets that change by themselves is read again after this many times as long as it
/// took, and at least a second.
constexpr unsigned kRereadShare = 20;

Trouble failed(std::string text) {
    return {Trouble::Kind::failed, std::move(text)};
}

// A kernel without nf_tables answers that it does not know such a request, or has no netfilter to
// be asked at all.
bool means_absence(int error) {
    return error == EINVAL || error == EOPNOTSUPP || error == EPROTONOSUPPORT ||
           error == EAFNOSUPPORT || error == ENOENT;
}

Trouble trouble_of(int error) {
    if (means_absence(error)) {
        return {Trouble::Kind::absent, "The kernel has no nftables."};
    }
    return failed("nftables cannot be asked: " + error_text(error) + "; it needs CAP_NET_ADMIN.");
}

// Writers that collide must not do so in step.
void pause() {
    static thread_local std::minstd_rand random(std::random_device{}());
    std::uniform_int_distribution<unsigned> milliseconds(0, kPauseMaxMs);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds(random)));
}

struct Reading {
    Ruleset rules;
    std::uint32_t generation = 0;
    bool has_tables = false;
};

class NftBackend final : public Backend {
public:
    [[nodiscard]] std::string_view name() const override { return "nftables"; }

    [[nodiscard]] Answer<Ruleset> read() override {
        auto reading = read_whole();
        if (!reading) {
            return tl::unexpected(std::move(reading.error()));
        }
        if (!reading->has_tables) {
            return tl::unexpected(Trouble{Trouble::Kind::absent, "nftables has no tables."});
        }
        return std::move(reading->rules);
    }

    [[nodiscard]] Answer<std::uint64_t> generation() override {
        const auto generation = nft_generation();
        if (!generation) {
            return tl::unexpected(trouble_of(generation.error()));
        }
        if (reread_at_ && Clock::now() >= *reread_at_) {
            reread_at_.reset();
            ++rereads_;
        }
        return (sets_.generation() + rereads_) * 0x9e3779b97f4a7c15U + *generation;
    }

    // There is no table that nft would make by itself, so nothing is created.
    [[nodiscard]] Answer<void> change(const Planner& planner, bool /*create*/) override {
        for (unsigned tries = 0; tries < kTriesMax; ++tries) {
            const auto reading = read_whole();
            if (!reading) {
                return tl::unexpected(reading.error());
            }
            const auto plan = planner(reading->rules);
            if (!plan) {
                return tl::unexpected(failed(plan.error()));
            }
            const auto edits = edits_of(reading->rules, *plan);
            if (!edits) {
                return tl::unexpected(edits.error());
            }
            if (edits->empty()) {
                return {};
            }
            const auto committed = nft_commit(*edits, reading->generation);
            if (committed) {
                return {};
            }
            const int error = committed.error();
            if (error != ERESTART && error != ENOENT && error != EINTR) {
                return tl::unexpected(
                    failed("The ruleset of nftables cannot be changed: " + error_text(error) + ".")
                );
            }
            pause();
        }
        return tl::unexpected(failed(
            "The ruleset of nftables cannot be changed: it changed under each of " +
            std::to_string(kTriesMax) + " tries."
        ));
    }

    [[nodiscard]] std::string command_of(const Ruleset& rules, const Edit& edit) const override {
        if (edit.chain >= rules.chains.size()) {
            return {};
        }
        const Chain& chain = rules.chains[edit.chain];
        const bool is_insert = edit.kind == Edit::Kind::insert;
        const Rule* rule =
            !is_insert && edit.rule < chain.rules.size() ? &chain.rules[edit.rule] : nullptr;
        if (!is_insert && rule == nullptr) {
            return {};
        }
        const Family family = chain.families == Families::ipv6 ? Family::ipv6 : Family::ipv4;
        const auto selector = is_insert ? std::optional(edit.selector) : selector_of(*rule, family);
        if (chain.tool == Tool::iptables_nft && selector) {
            const std::string& comment = is_insert ? edit.comment : rule->comment;
            return std::string(family == Family::ipv4 ? "iptables-nft" : "ip6tables-nft") +
                   (chain.table == "filter" ? "" : " -t " + shell_word(chain.table)) +
                   (is_insert ? " -I " : " -D ") + shell_word(chain.name) + " " +
                   iptables_words(*selector, comment);
        }
        const std::string place = std::string(nft_family_of(chain)) + " " +
                                  shell_word(chain.table) + " " + shell_word(chain.name) + " ";
        if (is_insert) {
            return "nft insert rule " + place +
                   nft_words(edit.selector, edit.comment, chain.families == Families::both);
        }
        return "nft delete rule " + place + "handle " + std::to_string(rule->handle);
    }

private:
    // With the generation that it is of.
    Answer<Reading> read_whole() {
        for (unsigned tries = 0; tries < kTriesMax; ++tries) {
            const auto before = nft_generation();
            if (!before) {
                return tl::unexpected(trouble_of(before.error()));
            }
            if (given_up_at_ == *before) {
                return tl::unexpected(failed(given_up_));
            }
            auto reading = read_once(*before);
            const auto after = nft_generation();
            if (!after) {
                return tl::unexpected(trouble_of(after.error()));
            }
            if (*before == *after) {
                if (reading) {
                    reading->generation = *before;
                }
                return reading;
            }
            pause();
        }
        return tl::unexpected(failed(
            "The ruleset of nftables cannot be read: it changed during each of " +
            std::to_string(kTriesMax) + " tries."
        ));
    }

    Answer<Reading> read_once(std::uint32_t generation) {
        sets_.forget();
        reread_at_.reset();
        const auto started = Clock::now();
        const auto tables = nft_kernel_tables();
        if (!tables) {
            return tl::unexpected(trouble_of(tables.error()));
        }
        Reading reading;
        reading.has_tables = !tables->empty();
        if (!reading.has_tables) {
            return reading;
        }
        const auto context = NftContext::open();
        if (!context) {
            return tl::unexpected(failed(context.error()));
        }
        const auto document = nft_document(*context, *tables);
        if (!document) {
            if (context->is_broken()) {
                given_up_at_ = generation;
                given_up_ = document.error();
            }
            return tl::unexpected(failed(document.error()));
        }
        NftKernelExtensions extensions(sets_);
        for (const NftTable& table : nft_tables_with_extensions(*document)) {
            if (const auto loaded = extensions.load(table); !loaded) {
                return tl::unexpected(trouble_of(loaded.error()));
            }
        }
        std::optional<std::uint64_t> keeps_for;
        reading.rules = read_nft_json(*document, &extensions, &keeps_for);
        add_texts(*context, reading.rules);
        if (keeps_for) {
            note_reread(*keeps_for, Clock::now() - started);
        }
        return reading;
    }

    void note_reread(std::uint64_t keeps_for, Clock::duration cost) {
        constexpr std::uint64_t kLongest = 86400;
        const std::chrono::seconds wait(std::min(keeps_for, kLongest) + 1);
        reread_at_ = Clock::now() + std::max<Clock::duration>(wait, cost * kRereadShare);
    }

    // Only of tables that are nft's own: to print a rule of iptables-nft, libnftables would load
    // the extensions of iptables, which end the process when something displeases them. Without
    // its text a rule means the same.
    static void add_texts(const NftContext& context, Ruleset& rules) {
        std::set<std::string> commands;
        for (const Chain& chain : rules.chains) {
            if (chain.tool == Tool::nftables) {
                commands.insert(
                    "list table " + std::string(nft_family_of(chain)) + " " + chain.table + "\n"
                );
            }
        }
        context.set_output(NFT_CTX_OUTPUT_HANDLE | NFT_CTX_OUTPUT_STATELESS);
        for (const std::string& command : commands) {
            if (const auto text = context.run(command)) {
                set_nft_texts(*text, rules);
            }
        }
    }

    static Answer<std::vector<NftEdit>> edits_of(const Ruleset& rules, const Plan& plan) {
        std::vector<NftEdit> edits;
        for (const Edit& edit : plan) {
            if (edit.chain >= rules.chains.size()) {
                return tl::unexpected(failed(
                    "The plan names the chain " + std::to_string(edit.chain) + " of " +
                    std::to_string(rules.chains.size()) + "."
                ));
            }
            const Chain& chain = rules.chains[edit.chain];
            NftEdit made;
            made.table = {std::string(nft_family_of(chain)), chain.table};
            made.chain = chain.name;
            if (edit.kind == Edit::Kind::erase) {
                if (edit.rule >= chain.rules.size()) {
                    return tl::unexpected(failed(
                        "The plan names the rule " + std::to_string(edit.rule) + " of " +
                        to_string(chain) + ", which has " + std::to_string(chain.rules.size()) + "."
                    ));
                }
                made.handle = chain.rules[edit.rule].handle;
            } else if (edit.comment.size() > kNftCommentBytesMax) {
                return tl::unexpected(failed(
                    "The comment \"" + edit.comment + "\" is " +
                    std::to_string(edit.comment.size()) + " bytes long; nftables takes at most " +
                    std::to_string(kNftCommentBytesMax) + "."
                ));
            }
            made.selector = edit.selector;
            made.comment = edit.comment;
            edits.push_back(std::move(made));
        }
        return edits;
    }

    KernelIpsets sets_;
    /// The ruleset that libnftables gave up on, and why: tried again, it would lose memory again.
    std::optional<std::uint32_t> given_up_at_;
    std::string given_up_;
    std::optional<Clock::time_point> reread_at_;
    std::uint64_t rereads_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_nft_backend() {
    return std::make_unique<NftBackend>();
}

}  // namespace culvert::firewall
