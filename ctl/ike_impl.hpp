// SPDX-License-Identifier: GPL-2.0-or-later
//
// The inside of Ike. ike.cpp keeps charon loaded with what is wanted; ike_progress.cpp looks at the
// SAs that come of it, and starts and ends some.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ctl/backoff.hpp"
#include "ctl/ike.hpp"
#include "ctl/ike_connection.hpp"
#include "ctl/ike_sas.hpp"
#include "ctl/ike_trouble.hpp"
#include "ctl/log.hpp"
#include "ctl/vici/client.hpp"

namespace culvert::ctl {

class Ike::Impl {
public:
    using Clock = std::chrono::steady_clock;

    Impl(boost::asio::io_context& io, Ike& owner, const IkeTimes& times);

    void configure(const IkeDaemonConfig& daemon, const std::vector<IkeTunnel>& tunnels);
    void tick();
    void read_files_anew() { files_due_ = true; }
    [[nodiscard]] IkeStatus status(const std::string& tunnel) const;

private:
    /// A connection that is wanted.
    struct Link {
        explicit Link(IkeConnection connection) : wanted(std::move(connection)) {}

        IkeConnection wanted;
        std::optional<IkeTrouble>
            trouble;  ///< Of the last negotiation, or of the attempt to load it.
        Clock::time_point trouble_at{};
        bool loaded = false;
    };
    /// A tunnel that is wanted.
    struct Work {
        tunnels::IpAddress local;
        tunnels::IpAddress remote;
        Backoff backoff{{}, {}};
        Backoff asking{{}, {}};           ///< Whether a foreign peer is one of Culvert's.
        Clock::time_point next{};         ///< Attempt.
        Clock::time_point next_asking{};  ///< The first one too.
        bool foreign_tried = false;       ///< By the last attempt.
        bool try_foreign = false;         ///< At once: the other manner was refused.
        bool up = false;
        IkeStatus status;
    };
    /// A child that could have a tunnel's SAs.
    struct Candidate {
        const Link* link = nullptr;
        const IkeChild* child = nullptr;
        bool foreign = false;  ///< In the manner of Open vSwitch.
    };
    using Wanted = std::map<std::string, Link>;

    // ike.cpp
    void open(const std::string& path);
    void on_connected();
    void on_lost();
    void on_event(const std::string& name, const vici::Message& message);
    void on_log(const vici::Message& message);
    void note_trouble(Link& link, const IkeTrouble& trouble);
    void read_files(const std::vector<IkeTunnel>& tunnels);
    void apply(IkePlan plan);
    void plan_work(const std::vector<IkeTunnel>& tunnels);
    void begin(Work& work, Clock::time_point now) const;
    void begin(const IkeConnection& connection);
    void load_private_key();
    void load(Link& link);
    void unload(const IkeConnection& connection);
    [[nodiscard]] bool is_left_over(const std::string& name) const;
    void unload_left_over();
    void end_sas_of(const std::string& connection);
    void command(const std::string& name, vici::Message message);

    // ike_progress.cpp
    void look();
    void judge(const std::vector<IkeSa>& sas);
    void end_superfluous(const std::vector<IkeSa>& sas);
    void end_unwanted_children(const IkeSa& sa, const Link& link);
    void end_doubles(const std::vector<const IkeSa*>& sas);
    void end_foreign(const std::vector<IkeSa>& sas);
    void end_sa(std::uint64_t id);
    void end_child(std::uint64_t id);
    [[nodiscard]] std::vector<Candidate> candidates(const std::string& tunnel) const;
    [[nodiscard]] bool is_up(const Candidate& candidate) const;
    [[nodiscard]] bool is_busy(const std::string& connection) const;
    void start_missing(Clock::time_point now);
    void start(Work& work, const std::vector<Candidate>& all, bool foreign);
    [[nodiscard]] bool is_of_culvert_known(const Work& work) const;
    void update_statuses();
    [[nodiscard]] std::string trouble_of(const std::vector<Candidate>& all) const;
    [[nodiscard]] IkeStatus status_of(const std::string& tunnel, const Work& work) const;
    void notify();

    boost::asio::io_context& io_;
    Ike& owner_;
    IkeTimes times_;
    LogLimiter limiter_;
    IkeDaemonConfig daemon_;
    bool configured_ = false;
    Clock::time_point tidy_at_{};  ///< What an earlier process left is ended.
    bool tidied_ = false;
    bool files_due_ = true;  ///< They are to be read anew.
    IkeCertificates certificates_;
    std::string key_path_;  ///< From where private_key_ is; empty: from nowhere.
    PrivateText private_key_;
    std::string key_trouble_;
    std::string key_id_;  ///< As charon calls the key; empty: it has none of ours.
    Wanted wanted_;       ///< By name.
    std::map<std::string, std::string> troubles_;  ///< By tunnel: why it has no connection.
    std::map<std::string, Work> work_;             ///< By tunnel.

    std::string path_;
    std::unique_ptr<vici::Client> client_;
    bool looking_ = false;
    bool look_due_ = false;
    Clock::time_point looked_at_{};
    std::vector<IkeSa> sas_;                                 ///< When charon was last asked.
    std::set<std::pair<std::string, std::string>> up_;       ///< Connection and child.
    std::set<std::pair<std::string, std::string>> started_;  ///< Since charon was last asked.
    std::map<std::uint64_t, Clock::time_point> connecting_;  ///< IKE SAs, since when.
};

}  // namespace culvert::ctl
