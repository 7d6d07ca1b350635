// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/ike_impl.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "ctl/ike_certificate.hpp"

namespace culvert::ctl {
namespace {

using vici::Message;

const std::vector<std::string>& events() {
    static const std::vector<std::string> value = {
        "ike-updown", "child-updown", "child-rekey", "log", "list-sa"};
    return value;
}

}  // namespace

Ike::Impl::Impl(boost::asio::io_context& io, Ike& owner, const IkeTimes& times)
    : io_(io), owner_(owner), times_(times), limiter_(logger("ike"), 10, std::chrono::minutes(1)) {}

// ---- The configuration --------------------------------------------------------------------------

void Ike::Impl::configure(const IkeDaemonConfig& daemon, const std::vector<IkeTunnel>& tunnels) {
    const bool follows = daemon.control == IkeControl::follow;
    const std::vector<IkeTunnel> wanted = follows ? std::vector<IkeTunnel>() : tunnels;
    if (follows && !configured_) {
        return;
    }
    daemon_ = daemon;
    if (!std::exchange(configured_, true)) {
        tidy_at_ = Clock::now() + times_.settle;
    }
    read_files(wanted);
    plan_work(wanted);
    apply(plan_ike(daemon_, wanted, certificates_));
    // Without tunnels too: an earlier process may have left some behind.
    if (client_ == nullptr || path_ != daemon.vici) {
        open(daemon.vici);
    }
    update_statuses();
}

/// Not each time: whoever replaces certificate and key writes one after the other.
void Ike::Impl::read_files(const std::vector<IkeTunnel>& tunnels) {
    if (std::exchange(files_due_, false)) {
        certificates_.clear();
        key_path_.clear();
    }
    key_trouble_.clear();
    const auto read = [&](const std::string& what, const std::string& path) {
        const auto found = certificates_.find(path);
        if (!path.empty() && (found == certificates_.end() || !found->second.has_value())) {
            certificates_.insert_or_assign(path, read_ike_certificate(what, path));
        }
    };
    const bool needed = std::any_of(tunnels.begin(), tunnels.end(), [](const IkeTunnel& tunnel) {
        return tunnel.config.psk.empty();
    });
    if (needed) {
        read("certificate", daemon_.certificate);
        read("CA certificate", daemon_.ca_cert);
        for (const IkeTunnel& tunnel : tunnels) {
            read("certificate of the peer", tunnel.config.remote_cert);
        }
    }
    const std::string path = needed ? daemon_.private_key : std::string();
    if (!path.empty() && path == key_path_) {
        return;
    }
    key_path_.clear();
    PrivateText key;
    if (!path.empty()) {
        if (auto content = read_ike_private_key(path); content.has_value()) {
            key = std::move(*content);
            key_path_ = path;
        } else {
            key_trouble_ = content.error();
        }
    }
    if (!(key == private_key_)) {
        if (!key_id_.empty()) {
            command("unload-key", Message().add("id", std::exchange(key_id_, {})));
        }
        private_key_ = std::move(key);
        load_private_key();
    }
}

/// Tunnels that stay keep what they know of their peers.
void Ike::Impl::plan_work(const std::vector<IkeTunnel>& tunnels) {
    const auto now = Clock::now();
    std::map<std::string, Work> before = std::exchange(work_, {});
    for (const IkeTunnel& tunnel : tunnels) {
        const auto found = before.find(tunnel.name);
        if (found != before.end() && found->second.local == tunnel.local &&
            found->second.remote == tunnel.remote) {
            work_.emplace(tunnel.name, std::move(found->second));
            continue;
        }
        Work work;
        work.local = tunnel.local;
        work.remote = tunnel.remote;
        work.backoff = {times_.retry_min, times_.retry_max};
        work.asking = {times_.ask_again_min, times_.ask_again_max};
        begin(work, now);
        work_.emplace(tunnel.name, std::move(work));
    }
}

/// The end with the lower address at once; were it both, they would meet.
void Ike::Impl::begin(Work& work, Clock::time_point now) const {
    work.backoff.reset();
    work.next = now + (work.remote < work.local ? times_.grace : Clock::duration(0));
}

void Ike::Impl::begin(const IkeConnection& connection) {
    for (const IkeChild& child : connection.children) {
        for (const std::string& tunnel : child.tunnels) {
            if (const auto work = work_.find(tunnel); work != work_.end()) {
                begin(work->second, Clock::now());
            }
        }
    }
}

void Ike::Impl::apply(IkePlan plan) {
    troubles_ = std::move(plan.troubles);
    Wanted before = std::exchange(wanted_, {});
    std::vector<std::string> changed;
    for (IkeConnection& connection : plan.connections) {
        const std::string name = connection.name;
        auto found = before.find(name);
        if (found == before.end()) {
            wanted_.emplace(name, Link{std::move(connection)});
            changed.push_back(name);
            continue;
        }
        Link link = std::move(found->second);
        before.erase(found);
        if (link.wanted.secret != connection.secret) {
            // Of the old key nothing may be left.
            end_sas_of(name);
        }
        if (link.wanted != connection) {
            link = Link{std::move(connection)};
            changed.push_back(name);
        }
        wanted_.emplace(name, std::move(link));
    }
    // First, as others may have the same identities.
    for (const auto& [name, link] : before) {
        unload(link.wanted);
        end_sas_of(name);
    }
    for (const std::string& name : changed) {
        begin(wanted_.at(name).wanted);
        load(wanted_.at(name));
    }
    look_due_ = true;
}

// ---- charon -------------------------------------------------------------------------------------

void Ike::Impl::open(const std::string& path) {
    path_ = path;
    looking_ = false;
    key_id_.clear();
    client_ = std::make_unique<vici::Client>(io_, vici::ClientOptions{path, events()});
    client_->on_connected = [this] { on_connected(); };
    client_->on_lost = [this] { on_lost(); };
    client_->on_event = [this](const std::string& name, const Message& message) {
        on_event(name, message);
    };
}

void Ike::Impl::on_connected() {
    logger("ike").info("connected to charon at \"{}\"", path_);
    unload_left_over();
    load_private_key();
    for (auto& [name, link] : wanted_) {
        load(link);
    }
    // There may be a new charon, which knows nothing of what was.
    sas_.clear();
    up_.clear();
    started_.clear();
    connecting_.clear();
    looking_ = false;
    look();
}

void Ike::Impl::on_lost() {
    looking_ = false;
    for (auto& [name, link] : wanted_) {
        link.loaded = false;
    }
    if (!wanted_.empty()) {
        limiter_.log(Clock::now(), spdlog::level::warn, "{}", client_->failure());
    }
    update_statuses();
    notify();
}

/// What is answered is looked at by nobody: a refusal shows when SAs are missing.
void Ike::Impl::command(const std::string& name, Message message) {
    if (client_ != nullptr) {
        client_->command(name, std::move(message));
    }
}

/// Not at once: after a start it takes a moment until every tunnel knows its addresses. What would
/// take a wanted one's place does not wait.
bool Ike::Impl::is_left_over(const std::string& name) const {
    if (!is_of_culvert(name) || wanted_.contains(name)) {
        return false;
    }
    const auto purpose = [](const std::string& some) { return some.substr(0, some.rfind('~')); };
    return Clock::now() >= tidy_at_ ||
           std::any_of(wanted_.begin(), wanted_.end(), [&](const auto& each) {
               return purpose(each.first) == purpose(name);
           });
}

/// An earlier process may have ended without a word.
void Ike::Impl::unload_left_over() {
    tidied_ = Clock::now() >= tidy_at_;
    client_->command("get-conns", {}, [this](const dataplane::Result<Message>& answer) {
        const Message::List* names = answer.has_value() ? answer->list("conns") : nullptr;
        for (const std::string& name : names != nullptr ? *names : Message::List()) {
            if (is_left_over(name)) {
                command("unload-conn", Message().add("name", name));
            }
        }
    });
    client_->command("get-shared", {}, [this](const dataplane::Result<Message>& answer) {
        const Message::List* ids = answer.has_value() ? answer->list("keys") : nullptr;
        for (const std::string& id : ids != nullptr ? *ids : Message::List()) {
            if (is_left_over(id)) {
                command("unload-shared", Message().add("id", id));
            }
        }
    });
}

void Ike::Impl::load_private_key() {
    if (client_ == nullptr || !client_->is_connected() || private_key_.empty()) {
        return;
    }
    Message message;
    message.add("type", std::string("any")).add("data", private_key_);
    client_
        ->command("load-key", std::move(message), [this](const dataplane::Result<Message>& answer) {
            if (answer.has_value()) {
                key_id_ = answer->text("id");
            } else {
                key_trouble_ = answer.error();
            }
            look_due_ = true;
        });
}

void Ike::Impl::load(Link& link) {
    if (client_ == nullptr || !client_->is_connected()) {
        return;
    }
    if (const auto& secret = link.wanted.secret) {
        Message message;
        message.add("id", secret->id).add("type", std::string("ike"));
        message.add("data", secret->data).add("owners", secret->owners);
        command("load-shared", std::move(message));
    }
    const std::string name = link.wanted.name;
    client_->command(
        "load-conn",
        link.wanted.load,
        [this, name](const dataplane::Result<Message>& answer) {
            const auto found = wanted_.find(name);
            if (found == wanted_.end()) {
                return;
            }
            found->second.loaded = answer.has_value();
            found->second.trouble.reset();
            if (!answer.has_value()) {
                note_trouble(found->second, {IkeTroubleKind::local, answer.error()});
            }
            look_due_ = true;
        }
    );
}

void Ike::Impl::unload(const IkeConnection& connection) {
    command("unload-conn", Message().add("name", connection.name));
    if (connection.secret.has_value()) {
        command("unload-shared", Message().add("id", connection.secret->id));
    }
}

void Ike::Impl::end_sas_of(const std::string& connection) {
    Message message;
    message.add("ike", connection).add("force", std::string("yes"));
    message.add("timeout", std::string("-1"));
    command("terminate", std::move(message));
}

void Ike::Impl::on_event(const std::string& name, const Message& message) {
    if (name == "log") {
        on_log(message);
        return;
    }
    for (const vici::Entry& entry : message.entries()) {
        const auto* sa = std::get_if<Message>(&entry.value);
        const auto link = wanted_.find(entry.name);
        if (sa == nullptr || link == wanted_.end()) {
            continue;
        }
        look_due_ = true;
        if (name == "ike-updown" && message.text("up") == "yes") {
            link->second.trouble.reset();  // They know each other now.
        }
        const Message* children = name == "child-rekey" ? sa->section("child-sas") : nullptr;
        for (const IkeChild& child : link->second.wanted.children) {
            if (children == nullptr || child.inbound_only ||
                children->section(child.name) == nullptr) {
                continue;
            }
            for (const std::string& tunnel : child.tunnels) {
                if (const auto work = work_.find(tunnel); work != work_.end()) {
                    ++work->second.status.rekeyed;
                }
            }
        }
    }
}

/// Each end tells the other that it refuses, and only itself why. Who hears both keeps the latter.
void Ike::Impl::note_trouble(Link& link, const IkeTrouble& trouble) {
    const auto now = Clock::now();
    look_due_ = true;
    if (link.trouble.has_value() && link.trouble->kind == IkeTroubleKind::local &&
        trouble.kind == IkeTroubleKind::refused && now < link.trouble_at + 2 * times_.retry_max) {
        return;
    }
    link.trouble = trouble;
    link.trouble_at = now;
}

void Ike::Impl::on_log(const Message& message) {
    const auto found = wanted_.find(std::string(message.text("ikesa-name")));
    if (found == wanted_.end()) {
        return;
    }
    Link& link = found->second;
    const auto trouble = ike_trouble_in(
        message.text("msg"), {link.wanted.remote.to_string(), link.wanted.certificate}, daemon_
    );
    if (!trouble.has_value()) {
        return;
    }
    note_trouble(link, *trouble);
    if (trouble->kind != IkeTroubleKind::refused || link.wanted.foreign) {
        return;
    }
    for (const IkeChild& child : link.wanted.children) {
        for (const std::string& tunnel : child.tunnels) {
            const auto work = work_.find(tunnel);
            if (work != work_.end() && !work->second.foreign_tried && !work->second.up) {
                work->second.try_foreign = true;
            }
        }
    }
}

IkeStatus Ike::Impl::status(const std::string& tunnel) const {
    const auto found = work_.find(tunnel);
    return found != work_.end() ? found->second.status : IkeStatus();
}

void Ike::Impl::notify() {
    if (owner_.on_change) {
        owner_.on_change();
    }
}

// ---- Ike ----------------------------------------------------------------------------------------

Ike::Ike(boost::asio::io_context& io, const IkeTimes& times)
    : impl_(std::make_unique<Impl>(io, *this, times)) {}

Ike::~Ike() = default;

void Ike::configure(const IkeDaemonConfig& daemon, const std::vector<IkeTunnel>& tunnels) {
    impl_->configure(daemon, tunnels);
}

void Ike::read_files_anew() {
    impl_->read_files_anew();
}

void Ike::tick() {
    impl_->tick();
}

IkeStatus Ike::status(const std::string& tunnel) const {
    return impl_->status(tunnel);
}

}  // namespace culvert::ctl
