// SPDX-License-Identifier: GPL-2.0-or-later
//
// charon is asked for its SAs, often while some are missing, and whenever it told of a change. From
// the answer follows what is to be started and to be ended: nothing depends on having seen every
// event.
//
// Who starts: the end with the lower address at once, the other one when nothing came for a while.
// Two ends that start at the same moment have two IKE SAs; both work, and the first end ends one.
#include <algorithm>
#include <tuple>
#include <utility>

#include "ctl/ike_impl.hpp"

namespace culvert::ctl {

using vici::Message;

namespace {

/// Whether nothing is lost without the other one.
bool has_children_of(const IkeSa& sa, const IkeSa& other) {
    return std::all_of(other.children.begin(), other.children.end(), [&](const IkeChildSa& wanted) {
        return !wanted.up ||
               std::any_of(sa.children.begin(), sa.children.end(), [&](const IkeChildSa& each) {
                   return each.up && each.name == wanted.name;
               });
    });
}

}  // namespace

void Ike::Impl::tick() {
    const auto now = Clock::now();
    limiter_.flush(now);
    if (client_ != nullptr && client_->is_connected() && !tidied_ && now >= tidy_at_) {
        unload_left_over();
        look_due_ = true;
    }
    const bool idle = work_.empty() && !look_due_;
    if (client_ == nullptr || !client_->is_connected() || looking_ || idle) {
        return;
    }
    const bool all_up =
        std::all_of(work_.begin(), work_.end(), [](const auto& each) { return each.second.up; });
    const auto interval = all_up ? times_.look_seldom : times_.look_often;
    if (look_due_ || now >= looked_at_ + interval) {
        look();
    }
}

void Ike::Impl::look() {
    looking_ = true;
    look_due_ = false;
    looked_at_ = Clock::now();
    started_.clear();
    auto found = std::make_shared<std::vector<IkeSa>>();
    client_->command(
        "list-sas",
        {},
        "list-sa",
        [found](const Message& message) {
            for (IkeSa& sa : read_ike_sas(message)) {
                found->push_back(std::move(sa));
            }
        },
        [this, found](const dataplane::Result<Message>& answer) {
            looking_ = false;
            if (answer.has_value()) {
                judge(*found);
            }
        }
    );
}

void Ike::Impl::judge(const std::vector<IkeSa>& sas) {
    sas_.clear();
    up_.clear();
    std::vector<std::uint32_t> spis;
    for (const IkeSa& sa : sas) {
        if (!is_of_culvert(sa.connection)) {
            continue;
        }
        sas_.push_back(sa);
        for (const IkeChildSa& child : sa.children) {
            spis.insert(spis.end(), child.spis.begin(), child.spis.end());
            if (child.up) {
                up_.emplace(sa.connection, child.name);
            }
        }
    }
    end_superfluous(sas_);
    update_statuses();
    start_missing(Clock::now());
    if (owner_.on_listed) {
        owner_.on_listed(spis);
    }
}

// ---- What is to be ended ------------------------------------------------------------------------

void Ike::Impl::end_sa(std::uint64_t id) {
    Message message;
    message.add("ike-id", std::to_string(id)).add("force", std::string("yes"));
    message.add("timeout", std::string("-1"));
    command("terminate", std::move(message));
}

void Ike::Impl::end_child(std::uint64_t id) {
    Message message;
    message.add("child-id", std::to_string(id)).add("timeout", std::string("-1"));
    command("terminate", std::move(message));
}

void Ike::Impl::end_superfluous(const std::vector<IkeSa>& sas) {
    const auto now = Clock::now();
    std::map<std::string, std::vector<const IkeSa*>> established;
    std::map<std::uint64_t, Clock::time_point> connecting;
    for (const IkeSa& sa : sas) {
        const auto link = wanted_.find(sa.connection);
        if (link == wanted_.end()) {
            if (is_left_over(sa.connection)) {
                end_sa(sa.id);
            }
            continue;
        }
        end_unwanted_children(sa, link->second);
        if (sa.established) {
            established[sa.connection].push_back(&sa);
        } else if (sa.connecting && sa.initiator) {
            const auto since = connecting_.find(sa.id);
            connecting.emplace(sa.id, since != connecting_.end() ? since->second : now);
        }
    }
    connecting_ = std::move(connecting);
    for (const IkeSa& sa : sas) {
        // The peer began meanwhile, as it was not there when this end did.
        const auto since = connecting_.find(sa.id);
        if (since != connecting_.end() && established.contains(sa.connection) &&
            now >= since->second + 2 * times_.settle) {
            end_sa(sa.id);
        }
    }
    for (const auto& [name, some] : established) {
        end_doubles(some);
    }
    end_foreign(sas);
}

/// Those of a tunnel that is gone, or was configured otherwise.
void Ike::Impl::end_unwanted_children(const IkeSa& sa, const Link& link) {
    for (const IkeChildSa& child : sa.children) {
        const bool wanted = std::any_of(
            link.wanted.children.begin(),
            link.wanted.children.end(),
            [&](const IkeChild& each) { return each.name == child.name; }
        );
        if (!wanted && child.up) {
            end_child(child.id);
        }
    }
}

/// IKE SAs of one connection. A peer that begins though there is one has lost that, so a much older
/// one is ended. Of two that began at the same time one is ended by the end that should have begun.
void Ike::Impl::end_doubles(const std::vector<const IkeSa*>& sas) {
    if (sas.size() < 2) {
        return;
    }
    const IkeConnection& connection = wanted_.at(sas.front()->connection).wanted;
    const auto settle_s = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(times_.settle).count()
    );
    const auto youngest = [](const IkeSa* a, const IkeSa* b) {
        return std::pair(a->age_s, b->id) < std::pair(b->age_s, a->id);
    };
    const IkeSa* newest = *std::min_element(sas.begin(), sas.end(), youngest);
    const auto worth = [](const IkeSa* sa) {
        const auto up =
            std::count_if(sa->children.begin(), sa->children.end(), [](const IkeChildSa& each) {
                return each.up;
            });
        return std::make_tuple(up, sa->initiator, sa->id);
    };
    const IkeSa* best =
        *std::max_element(sas.begin(), sas.end(), [&](const IkeSa* a, const IkeSa* b) {
            return worth(a) < worth(b);
        });
    const bool begins = connection.local < connection.remote;
    for (const IkeSa* sa : sas) {
        const bool lost = sa->age_s > newest->age_s + 2 * settle_s && has_children_of(*newest, *sa);
        const bool met = begins && sa != best && newest->age_s >= settle_s;
        if (lost || met) {
            end_sa(sa->id);
        }
    }
}

/// Children in the other manner that no tunnel needs, as the peer is a Culvert after all.
void Ike::Impl::end_foreign(const std::vector<IkeSa>& sas) {
    for (const IkeSa& sa : sas) {
        const auto link = wanted_.find(sa.connection);
        if (link == wanted_.end()) {
            continue;
        }
        for (const IkeChildSa& child : sa.children) {
            const auto& all = link->second.wanted.children;
            const auto wanted = std::find_if(all.begin(), all.end(), [&](const IkeChild& each) {
                return each.name == child.name;
            });
            if (wanted == all.end() || !child.up || !wanted->foreign) {
                continue;
            }
            const bool needless =
                std::all_of(wanted->tunnels.begin(), wanted->tunnels.end(), [&](const auto& name) {
                    const std::vector<Candidate> some = candidates(name);
                    return std::any_of(some.begin(), some.end(), [&](const Candidate& each) {
                        return !each.foreign && is_up(each);
                    });
                });
            if (needless) {
                end_child(child.id);
            }
        }
    }
}

// ---- What is to be started ----------------------------------------------------------------------

std::vector<Ike::Impl::Candidate> Ike::Impl::candidates(const std::string& tunnel) const {
    std::vector<Candidate> found;
    for (const auto& [name, link] : wanted_) {
        for (const IkeChild& child : link.wanted.children) {
            if (std::find(child.tunnels.begin(), child.tunnels.end(), tunnel) !=
                child.tunnels.end()) {
                found.push_back({&link, &child, child.foreign});
            }
        }
    }
    return found;
}

bool Ike::Impl::is_up(const Candidate& candidate) const {
    return up_.contains({candidate.link->wanted.name, candidate.child->name});
}

bool Ike::Impl::is_busy(const std::string& connection) const {
    return std::any_of(sas_.begin(), sas_.end(), [&](const IkeSa& sa) {
        return sa.connection == connection && (sa.connecting || sa.busy);
    });
}

void Ike::Impl::start_missing(Clock::time_point now) {
    for (auto& [name, work] : work_) {
        const std::vector<Candidate> all = candidates(name);
        const bool busy = std::any_of(all.begin(), all.end(), [&](const Candidate& each) {
            return is_busy(each.link->wanted.name);
        });
        const bool loaded = std::all_of(all.begin(), all.end(), [](const Candidate& each) {
            return each.link->loaded;
        });
        if (all.empty() || busy || !loaded) {
            continue;
        }
        const bool can_be_foreign =
            std::any_of(all.begin(), all.end(), [](const Candidate& each) { return each.foreign; });
        if (work.up) {
            if (!work.status.of_culvert && now >= work.next_asking) {
                const bool first = work.next_asking == Clock::time_point();
                work.next_asking = now + work.asking.take();
                if (!first) {
                    start(work, all, false);
                }
            }
        } else if (std::exchange(work.try_foreign, false) && can_be_foreign) {
            start(work, all, true);
        } else if (now >= work.next) {
            work.next = now + work.backoff.take();
            start(work, all, false);
        }
    }
}

/// One of the tunnels with that peer has, or had, its own identities accepted.
bool Ike::Impl::is_of_culvert_known(const Work& work) const {
    return std::any_of(sas_.begin(), sas_.end(), [&](const IkeSa& sa) {
        const auto link = wanted_.find(sa.connection);
        if (link == wanted_.end() || !sa.established) {
            return false;
        }
        const IkeConnection& connection = link->second.wanted;
        const bool same = connection.local == work.local && connection.remote == work.remote;
        const bool own_up = std::any_of(
            connection.children.begin(),
            connection.children.end(),
            [&](const IkeChild& child) {
                return !child.foreign && up_.contains({connection.name, child.name});
            }
        );
        return same && (own_up || (!connection.foreign && !connection.certificate));
    });
}

void Ike::Impl::start(Work& work, const std::vector<Candidate>& all, bool foreign) {
    // What such a peer refuses, it refuses.
    if (foreign && is_of_culvert_known(work)) {
        return;
    }
    work.foreign_tried = foreign;
    for (const Candidate& each : all) {
        const std::string& connection = each.link->wanted.name;
        if (each.foreign != foreign || is_up(each) ||
            !started_.emplace(connection, each.child->name).second) {
            continue;
        }
        Message message;
        message.add("child", each.child->name).add("ike", connection);
        message.add("timeout", std::string("-1"));
        client_->command(
            "initiate",
            std::move(message),
            [this, connection](const dataplane::Result<Message>& answer) {
                const auto link = wanted_.find(connection);
                if (!answer.has_value() && link != wanted_.end()) {
                    note_trouble(link->second, {IkeTroubleKind::local, answer.error()});
                }
            }
        );
    }
}

// ---- What is to be said -------------------------------------------------------------------------

/// What is wrong at this end comes first. What a peer refuses in the other manner, which is tried
/// last, says more than that it does not know this daemon's own.
std::string Ike::Impl::trouble_of(const std::vector<Candidate>& all) const {
    std::string found;
    unsigned best = 0;
    for (const Candidate& each : all) {
        if (each.link->wanted.certificate && !key_trouble_.empty()) {
            return key_trouble_;
        }
        const auto& trouble = each.link->trouble;
        if (!trouble.has_value()) {
            continue;
        }
        const bool local = trouble->kind == IkeTroubleKind::local;
        const unsigned rank = local ? 3 : each.foreign ? 2 : 1;
        if (rank > best) {
            best = rank;
            found = trouble->sentence;
        }
    }
    return found;
}

IkeStatus Ike::Impl::status_of(const std::string& tunnel, const Work& work) const {
    IkeStatus status;
    status.rekeyed = work.status.rekeyed;
    if (const auto trouble = troubles_.find(tunnel); trouble != troubles_.end()) {
        status.state = IkeState::failed;
        status.trouble = trouble->second;
        return status;
    }
    if (client_ == nullptr || !client_->is_connected()) {
        status.state = IkeState::no_daemon;
        status.trouble = client_ != nullptr ? client_->failure() : std::string();
        return status;
    }
    bool own = false;
    bool foreign = false;
    bool foreign_missing = false;
    const std::vector<Candidate> all = candidates(tunnel);
    for (const Candidate& each : all) {
        const bool up = is_up(each);
        own = own || (!each.foreign && up);
        foreign = foreign || (each.foreign && up);
        foreign_missing = foreign_missing || (each.foreign && !up);
        for (const IkeSa& sa : sas_) {
            if (sa.connection == each.link->wanted.name && sa.established) {
                status.peer_id = sa.peer_id;
            }
        }
    }
    status.of_culvert = own;
    if (own || (foreign && !foreign_missing)) {
        status.state = IkeState::established;
        return status;
    }
    status.trouble = trouble_of(all);
    status.state = status.trouble.empty() ? IkeState::negotiating : IkeState::failed;
    return status;
}

void Ike::Impl::update_statuses() {
    const auto now = Clock::now();
    bool changed = false;
    for (auto& [name, work] : work_) {
        const IkeStatus status = status_of(name, work);
        const bool up = status.state == IkeState::established;
        if (up && !work.up) {
            work.backoff.reset();
            work.try_foreign = false;
            logger("ike").info(
                "tunnel \"{}\": {} and this host have agreed on keys", name, work.remote.to_string()
            );
            for (const Candidate& each : candidates(name)) {
                wanted_.at(each.link->wanted.name).trouble.reset();
            }
        } else if (!up && work.up) {
            begin(work, now);
        }
        if (!status.trouble.empty() && status.trouble != work.status.trouble &&
            status.state == IkeState::failed) {
            limiter_.log(now, spdlog::level::warn, "tunnel \"{}\": {}", name, status.trouble);
        }
        if (status.of_culvert) {
            work.next_asking = {};
            work.asking.reset();
        }
        changed = changed || status.state != work.status.state ||
                  status.trouble != work.status.trouble || status.peer_id != work.status.peer_id ||
                  status.of_culvert != work.status.of_culvert;
        work.up = up;
        work.status = status;
    }
    if (changed) {
        notify();
    }
}

}  // namespace culvert::ctl
