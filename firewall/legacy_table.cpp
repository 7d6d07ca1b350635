// SPDX-License-Identifier: GPL-2.0-or-later
//
// Tables through libip4tc and libip6tc. libiptc carries the counters of all other rules over a
// commit, and the kernel refuses one whose snapshot has another number of rules than the table has
// by then (EAGAIN). One thread.
#include "firewall/legacy_table.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

#include <spawn.h>
#include <sys/wait.h>

#include "firewall/iptc.hpp"
#include "firewall/legacy_entry.hpp"
#include "firewall/xt_match.hpp"

namespace culvert::firewall {

namespace {

// A snapshot taken while another program writes fails and is taken again.
constexpr unsigned kSnapshotTries = 64;

constexpr const char* kInput = "INPUT";

template <class Iptc>
class IptcTable final : public LegacyTable {
public:
    IptcTable(xtc_handle* handle, const LegacyTableName& name) : handle_(handle), name_(name) {}
    ~IptcTable() override { Iptc::kFree(handle_); }
    IptcTable(const IptcTable&) = delete;
    IptcTable& operator=(const IptcTable&) = delete;

    Ruleset read(IpsetReader& sets) override {
        Ruleset rules;
        Chains chains(rules.chains);
        LegacyEntryReader reader(Iptc::kFamily, sets);
        xt_counters counters{};
        const char* const policy = Iptc::kGetPolicy(kInput, &counters, handle_);
        rules.input.push_back(
            {chains.index_of(kInput, name_),
             name_.priority,
             policy != nullptr && std::string_view(policy) == IPTC_LABEL_DROP,
             name_.priority == kLegacyFilter.priority}
        );
        // Chains that a rule names are appended, and so are read in turn.
        for (std::size_t i = 0; i < rules.chains.size(); ++i) {
            const std::string name = rules.chains[i].name;
            std::vector<Rule> list;
            for (const auto* entry = Iptc::kFirstRule(name.c_str(), handle_); entry != nullptr;
                 entry = Iptc::kNextRule(entry, handle_)) {
                list.push_back(read_rule(*entry, reader, chains));
                list.back().handle = list.size();
            }
            rules.chains[i].rules = std::move(list);
        }
        return rules;
    }

    std::vector<std::vector<std::byte>> entries(const std::string& chain) override {
        std::vector<std::vector<std::byte>> found;
        for (const auto* entry = Iptc::kFirstRule(chain.c_str(), handle_); entry != nullptr;
             entry = Iptc::kNextRule(entry, handle_)) {
            const auto* const bytes =
                static_cast<const std::byte*>(static_cast<const void*>(entry));
            found.emplace_back(bytes, bytes + entry->next_offset);
        }
        return found;
    }

    tl::expected<void, LegacyError>
    insert(const std::string& chain, std::span<const std::byte> entry) override {
        const auto* const made =
            static_cast<const typename Iptc::Entry*>(static_cast<const void*>(entry.data()));
        return done(Iptc::kInsertEntry(chain.c_str(), made, 0, handle_));
    }

    tl::expected<void, LegacyError> erase(const std::string& chain, std::uint64_t number) override {
        const auto index = static_cast<unsigned>(number - 1);
        return done(Iptc::kDeleteEntry(chain.c_str(), index, handle_));
    }

    tl::expected<void, LegacyError> commit() override {
        keep_policy_counters();
        return done(Iptc::kCommit(handle_));
    }

    static LegacyError last_error() {
        const int error = errno;
        return {error, Iptc::kError(error)};
    }

private:
    // The chains read so far, by name.
    class Chains {
    public:
        explicit Chains(std::vector<Chain>& chains) : chains_(chains) {}

        std::uint32_t index_of(const std::string& name, const LegacyTableName& table) {
            const auto next = static_cast<std::uint32_t>(chains_.size());
            const auto [entry, is_new] = indices_.try_emplace(name, next);
            if (is_new) {
                Chain chain;
                chain.name = name;
                chain.table = table.name;
                chain.families = Iptc::kFamily == Family::ipv4 ? Families::ipv4 : Families::ipv6;
                chains_.push_back(std::move(chain));
            }
            return entry->second;
        }

    private:
        std::vector<Chain>& chains_;
        std::map<std::string, std::uint32_t> indices_;
    };

    Rule read_rule(const typename Iptc::Entry& entry, LegacyEntryReader& reader, Chains& chains) {
        const auto* const bytes = static_cast<const std::byte*>(static_cast<const void*>(&entry));
        auto rule = reader.read({bytes, entry.next_offset});
        if (!rule) {
            Rule unreadable;
            unreadable.steps.emplace_back(UnknownMatch{rule.error()});
            unreadable.action = Action::unknown;
            unreadable.unknown = rule.error();
            unreadable.text = "(unreadable: " + rule.error() + ")";
            return unreadable;
        }
        if (rule->action != Action::jump && rule->action != Action::go_to) {
            return *std::move(rule);
        }
        const char* const target = Iptc::kGetTarget(&entry, handle_);
        if (target == nullptr || *target == '\0') {
            rule->action = Action::none;
            return *std::move(rule);
        }
        rule->chain = chains.index_of(target, name_);
        rule->text += rule->text.empty() ? "" : " ";
        rule->text += rule->action == Action::jump ? "-j " : "-g ";
        rule->text += xt::printable(target);
        return *std::move(rule);
    }

    // libiptc 1.8.9 takes the counters of policies back to zero with any commit (netfilter's bug
    // 912, mended in 1.8.10), so they are set to what they were. What is counted between the
    // reading and the commit is missing from them, unlike from the rules' counters.
    void keep_policy_counters() {
        std::vector<std::string> names;
        for (const char* name = Iptc::kFirstChain(handle_); name != nullptr;
             name = Iptc::kNextChain(handle_)) {
            if (Iptc::kIsBuiltin(name, handle_) != 0) {
                names.emplace_back(name);
            }
        }
        for (const std::string& name : names) {
            xt_counters counters{};
            if (const char* const policy = Iptc::kGetPolicy(name.c_str(), &counters, handle_)) {
                Iptc::kSetPolicy(name.c_str(), policy, &counters, handle_);
            }
        }
    }

    static tl::expected<void, LegacyError> done(int result) {
        if (result == 0) {
            return tl::unexpected(last_error());
        }
        return {};
    }

    xtc_handle* handle_;
    LegacyTableName name_;
};

template <class Iptc>
tl::expected<std::unique_ptr<LegacyTable>, LegacyError> open_as(const LegacyTableName& name) {
    for (unsigned i = 0; i < kSnapshotTries; ++i) {
        if (xtc_handle* const handle = Iptc::kInit(name.name); handle != nullptr) {
            return std::make_unique<IptcTable<Iptc>>(handle, name);
        }
        if (errno != EAGAIN) {
            break;
        }
    }
    return tl::unexpected(IptcTable<Iptc>::last_error());
}

template <class Iptc>
tl::expected<std::vector<LegacyTableName>, LegacyError> existing() {
    std::vector<LegacyTableName> found;
    errno = 0;
    std::ifstream file(Iptc::kNamesFile);
    if (!file) {
        if (errno == ENOENT) {
            return found;
        }
        const int error = errno;
        return tl::unexpected(LegacyError{error, std::strerror(error)});
    }
    for (std::string line; std::getline(file, line);) {
        const auto known = std::find_if(
            std::begin(kLegacyTables),
            std::end(kLegacyTables),
            [&](const auto& table) { return line == table.name; }
        );
        if (known != std::end(kLegacyTables)) {
            found.push_back(*known);
        }
    }
    return found;
}

}  // namespace

tl::expected<std::unique_ptr<LegacyTable>, LegacyError>
LegacyTable::open(Family family, const LegacyTableName& name) {
    return family == Family::ipv4 ? open_as<Iptc4>(name) : open_as<Iptc6>(name);
}

tl::expected<std::vector<LegacyTableName>, LegacyError> existing_legacy_tables(Family family) {
    return family == Family::ipv4 ? existing<Iptc4>() : existing<Iptc6>();
}

void load_legacy_module(Family family) {
    std::string program;
    std::getline(std::ifstream("/proc/sys/kernel/modprobe"), program);
    if (program.empty()) {
        return;
    }
    std::string quiet = "-q";
    std::string module = family == Family::ipv4 ? Iptc4::kModule : Iptc6::kModule;
    char* arguments[] = {program.data(), quiet.data(), module.data(), nullptr};
    pid_t pid = 0;
    if (posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments, environ) != 0) {
        return;
    }
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

}  // namespace culvert::firewall
