// SPDX-License-Identifier: GPL-2.0-or-later
//
// Connects, one remote after the other; feeds a Dialogue with what arrives and sends what it says;
// gives a connection up that is silent, out of step or of no use. What bounds memory: one message
// (message_bytes_max, and a sixteenth of it in values), what is to be sent (output_bytes_max), and
// the replica (replica_bytes_max), of which there are two while new contents take the place of old.
#include "ctl/ovsdb/client.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include "ctl/backoff.hpp"
#include "ctl/json_stream.hpp"
#include "ctl/log.hpp"
#include "ctl/ovsdb/dialogue.hpp"
#include "ctl/ovsdb/mirror.hpp"
#include "ctl/ovsdb/remote.hpp"
#include "ctl/ovsdb/stream.hpp"

namespace culvert::ctl::ovsdb {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = std::size_t{128} << 10U;
/// Bytes of an unfinished message in a probe interval that are a sign of life.
constexpr std::size_t kProgressBytes = 4096;
/// Signs of life that a server may be asked for before it has sent the contents.
constexpr unsigned kProbesUnsynchronised = 6;
/// Reads that one notice to the user may cover.
constexpr unsigned kReadsInBatch = 64;

bool is_ssl(const std::string& remote) {
    return remote.starts_with("ssl:");
}

}  // namespace

class Client::Session : public std::enable_shared_from_this<Session> {
public:
    Session(asio::io_context& io, Client& owner, ClientOptions options)
        : io_(io), owner_(&owner), options_(std::move(options)),
          dialogue_options_{options_.database, options_.lock, options_.wanted},
          mirror_(options_.replica_bytes_max), backoff_(options_.backoff_min, options_.backoff_max),
          retry_(io), watch_(io), limiter_(logger("ovsdb"), 3, std::chrono::minutes(1)),
          buffer_(kReadBytes) {}

    void start() {
        asio::post(io_, [self = shared_from_this()] { self->connect(); });
    }
    void stop() {
        owner_ = nullptr;
        close();
        retry_.cancel();
    }
    void transact(const nlohmann::json& operations, Dialogue::Done done);
    void set_tls(const TlsFiles& files);
    [[nodiscard]] std::string status() const;
    [[nodiscard]] const Replica& replica() const { return mirror_.replica(); }
    [[nodiscard]] const Selection& selection() const { return mirror_.selection(); }
    /// Null when there is no connection.
    [[nodiscard]] const Dialogue* dialogue() const { return dialogue_.get(); }

private:
    enum class Next : unsigned char { other_remote, wait };
    enum class Probe : unsigned char { none, sent, overheard };

    [[nodiscard]] const std::string& remote() const { return options_.remotes[remote_]; }
    void close();
    void connect();
    void on_connected(const std::string& failure);
    void read();
    void on_read(ErrorCode error, std::size_t count);
    [[nodiscard]] bool receive(std::size_t count);
    void after_messages();
    void flush();
    void on_written(ErrorCode error);
    void fail(const std::string& sentence, Next next);
    void retry_after(std::chrono::milliseconds delay);
    void run(const std::vector<std::function<void()>>& tasks);
    void notify();
    void say_synchronised();
    void watch();
    void on_watch();

    /// A handler of the present connection: nothing when there is another one, or none.
    template <class Handler>
    auto bind(Handler handler) {
        return [self = shared_from_this(), stream = stream_, handler](auto&&... arguments) {
            if (self->stream_ == stream) {
                handler(*self, arguments...);
            }
        };
    }

    asio::io_context& io_;
    Client* owner_;  ///< Null: gone.
    ClientOptions options_;
    DialogueOptions dialogue_options_;
    Mirror mirror_;
    std::size_t remote_ = 0;
    std::size_t tried_ = 0;  ///< Remotes, since the last wait.
    Backoff backoff_;
    asio::steady_timer retry_;
    asio::steady_timer watch_;
    LogLimiter limiter_;
    std::string failure_;  ///< Of the last connection.

    std::shared_ptr<Stream> stream_;  ///< Null: none.
    std::unique_ptr<Dialogue> dialogue_;
    std::optional<JsonStream> messages_;
    std::vector<char> buffer_;
    std::string output_;  ///< Being written.
    unsigned reads_ = 0;  ///< Since the user was last told.
    bool changed_ = false;
    std::optional<Clock::time_point> synchronised_at_;
    Clock::time_point alive_at_{};       ///< The last sign of life, or the probe for one.
    std::size_t bytes_since_alive_ = 0;  ///< Of an unfinished message.
    unsigned probes_ = 0;                ///< Before the contents were there.
    Probe probe_ = Probe::none;
};

// ---- Connections --------------------------------------------------------------------------------

void Client::Session::connect() {
    if (owner_ == nullptr || stream_ != nullptr) {
        return;
    }
    if (options_.remotes.empty()) {
        failure_ = "there is no remote";
        return;
    }
    const auto parsed = parse_remote(remote());
    auto stream = parsed.has_value() ? make_stream(io_, *parsed, options_.tls)
                                     : tl::unexpected<std::string>(parsed.error());
    if (!stream.has_value()) {
        fail(stream.error(), Next::other_remote);
        return;
    }
    stream_ = std::move(*stream);
    stream_->connect(bind([](Session& self, const std::string& failure) {
        self.on_connected(failure);
    }));
    alive_at_ = Clock::now();
    watch();
}

void Client::Session::on_connected(const std::string& failure) {
    if (!failure.empty()) {
        fail(failure, Next::other_remote);
        return;
    }
    dialogue_ = std::make_unique<Dialogue>(dialogue_options_, mirror_);
    messages_.emplace(JsonLimits{
        .bytes_max = options_.message_bytes_max,
        .values_max = options_.message_bytes_max / 16,
        .brackets_only = true});
    alive_at_ = Clock::now();
    flush();
    read();
}

void Client::Session::close() {
    if (stream_ != nullptr) {
        stream_->close();
        stream_ = nullptr;
    }
    watch_.cancel();
    dialogue_ = nullptr;
    messages_.reset();
    output_ = {};
    reads_ = 0;
    changed_ = false;
    synchronised_at_.reset();
    bytes_since_alive_ = 0;
    probes_ = 0;
    probe_ = Probe::none;
}

void Client::Session::fail(const std::string& sentence, Next next) {
    const auto now = Clock::now();
    if (synchronised_at_.has_value()) {
        backoff_.connection_lasted(now - *synchronised_at_);
    }
    failure_ = sentence;
    std::vector<std::function<void()>> tasks;
    const bool was_open = dialogue_ != nullptr;
    // That a server of a cluster is not its leader is nothing to worry about.
    const bool harmless = was_open && dialogue_->is_unsuitable();
    limiter_.log(
        now, harmless ? spdlog::level::info : spdlog::level::warn, "{}: {}", remote(), sentence
    );
    if (was_open) {
        dialogue_->fail(remote() + ": the connection was lost: " + sentence);
        tasks = dialogue_->take_finished();
    }
    close();
    remote_ = (remote_ + 1) % options_.remotes.size();
    if (next == Next::other_remote && ++tried_ < options_.remotes.size()) {
        retry_after(std::chrono::milliseconds(0));
    } else {
        tried_ = 0;
        retry_after(backoff_.take());
    }
    run(tasks);
    if (was_open) {
        notify();
    }
}

void Client::Session::retry_after(std::chrono::milliseconds delay) {
    retry_.expires_after(delay);
    retry_.async_wait([self = shared_from_this()](ErrorCode error) {
        if (!error) {
            self->connect();
        }
    });
}

// ---- Bytes --------------------------------------------------------------------------------------

void Client::Session::read() {
    stream_->read_some(
        asio::buffer(buffer_),
        bind([](Session& self, ErrorCode error, std::size_t count) { self.on_read(error, count); })
    );
}

void Client::Session::on_read(ErrorCode error, std::size_t count) {
    if (error) {
        fail(
            error == asio::error::eof ? "the server closed the connection"
                                      : "the connection broke: " + error.message(),
            Next::other_remote
        );
        return;
    }
    if (!receive(count)) {
        return;
    }
    after_messages();
}

/// Returns false when the connection has ended.
bool Client::Session::receive(std::size_t count) {
    bytes_since_alive_ += count;
    auto texts = messages_->feed({buffer_.data(), count});
    const bool whole = texts.has_value() && !texts->empty();
    if (whole || bytes_since_alive_ >= kProgressBytes) {
        alive_at_ = Clock::now();
        bytes_since_alive_ = 0;
        probe_ = Probe::none;
    }
    while (texts.has_value() && !texts->empty()) {
        for (std::string& text : *texts) {
            const auto received = dialogue_->receive(std::exchange(text, {}));
            if (!received.has_value()) {
                fail(
                    received.error(), dialogue_->is_unsuitable() ? Next::other_remote : Next::wait
                );
                return false;
            }
            if (dialogue_->output_bytes() + output_.size() > options_.output_bytes_max) {
                fail("the server does not read what it asked for", Next::wait);
                return false;
            }
        }
        texts = messages_->feed({});  // The error after the last good text.
    }
    if (!texts.has_value()) {
        fail(texts.error(), Next::wait);
        return false;
    }
    return true;
}

void Client::Session::after_messages() {
    say_synchronised();
    changed_ = dialogue_->take_changed() || changed_;
    auto tasks = dialogue_->take_finished();
    flush();
    // What is there already comes first, so that a burst is one change.
    const bool due = changed_ && (++reads_ >= kReadsInBatch || !stream_->is_readable());
    if (due) {
        reads_ = 0;
        changed_ = false;
    }
    // Last, because the user's functions may do anything to this session.
    read();
    run(tasks);
    if (due) {
        notify();
    }
}

void Client::Session::say_synchronised() {
    if (!dialogue_->is_synchronised()) {
        return;
    }
    if (!synchronised_at_.has_value()) {
        synchronised_at_ = Clock::now();
        tried_ = 0;
        probes_ = 0;
        limiter_.log(*synchronised_at_, spdlog::level::info, "{}: connected", remote());
    }
}

void Client::Session::flush() {
    if (!output_.empty() || dialogue_->output_bytes() == 0) {
        return;
    }
    output_ = dialogue_->take_output();
    stream_->write(asio::buffer(output_), bind([](Session& self, ErrorCode error, std::size_t) {
                       self.on_written(error);
                   }));
}

void Client::Session::on_written(ErrorCode error) {
    if (error) {
        fail("the connection broke: " + error.message(), Next::other_remote);
        return;
    }
    output_.clear();
    flush();
}

// ---- Signs of life ------------------------------------------------------------------------------

void Client::Session::watch() {
    watch_.expires_at(alive_at_ + options_.probe_interval);
    watch_.async_wait(bind([](Session& self, ErrorCode error) {
        if (!error) {
            self.on_watch();
        }
    }));
}

void Client::Session::on_watch() {
    const auto now = Clock::now();
    if (now < alive_at_ + options_.probe_interval) {
        watch();
        return;
    }
    const std::string interval = std::to_string(options_.probe_interval.count()) + " ms";
    if (dialogue_ == nullptr) {
        fail("cannot connect: no answer within " + interval, Next::other_remote);
    } else if (probe_ == Probe::sent && stream_->is_readable()) {
        // Perhaps it is this process that has not been listening. Once is enough: a server that
        // sends byte after byte would otherwise go on for ever.
        probe_ = Probe::overheard;
        alive_at_ = now;
        watch();
    } else if (probe_ != Probe::none) {
        fail("no answer to a probe within " + interval, Next::other_remote);
    } else if (!dialogue_->is_synchronised() && ++probes_ > kProbesUnsynchronised) {
        fail("the server answers probes, but does not send the contents", Next::other_remote);
    } else {
        dialogue_->probe();
        flush();
        probe_ = Probe::sent;
        bytes_since_alive_ = 0;
        alive_at_ = now;
        watch();
    }
}

// ---- The user -----------------------------------------------------------------------------------

void Client::Session::run(const std::vector<std::function<void()>>& tasks) {
    for (const auto& task : tasks) {
        if (owner_ == nullptr) {
            return;
        }
        task();
    }
}

void Client::Session::notify() {
    if (owner_ != nullptr && owner_->on_change) {
        owner_->on_change();
    }
}

void Client::Session::transact(const nlohmann::json& operations, Dialogue::Done done) {
    std::string refusal;
    if (dialogue_ == nullptr || !dialogue_->is_synchronised()) {
        refusal = status() + ": no transaction is possible";
    } else if (dialogue_->output_bytes() + output_.size() > options_.output_bytes_max) {
        refusal = status() + ", but the server does not read what is sent";
    }
    if (!refusal.empty()) {
        asio::post(
            io_,
            [self = shared_from_this(), refusal = std::move(refusal), done = std::move(done)] {
                if (self->owner_ != nullptr && done) {
                    done(tl::unexpected(refusal));
                }
            }
        );
        return;
    }
    dialogue_->transact(operations, std::move(done));
    flush();
    // One that is refused at once is not answered inside this call.
    asio::post(io_, bind([](Session& self) { self.run(self.dialogue_->take_finished()); }));
}

void Client::Session::set_tls(const TlsFiles& files) {
    if (files == options_.tls) {
        return;
    }
    options_.tls = files;
    if (std::none_of(options_.remotes.begin(), options_.remotes.end(), is_ssl)) {
        return;
    }
    asio::post(io_, [self = shared_from_this()] {
        if (self->owner_ == nullptr) {
            return;
        }
        self->backoff_.reset();
        if (self->stream_ != nullptr && !is_ssl(self->remote())) {
            return;
        }
        if (self->stream_ != nullptr) {
            self->fail("connecting anew with other TLS files", Next::wait);
        }
        self->tried_ = 0;
        self->retry_after(std::chrono::milliseconds(0));
    });
}

std::string Client::Session::status() const {
    if (options_.remotes.empty()) {
        return "no remote";
    }
    if (dialogue_ != nullptr) {
        return remote() + (dialogue_->is_synchronised() ? ": connected"
                                                        : ": connected, waiting for the contents");
    }
    // Of several remotes, the one that failed last is the one before.
    const std::size_t count = options_.remotes.size();
    return failure_.empty() ? remote() + ": connecting"
                            : options_.remotes[(remote_ + count - 1) % count] + ": " + failure_;
}

// ---- The client ---------------------------------------------------------------------------------

Client::Client(asio::io_context& io, ClientOptions options)
    : session_(std::make_shared<Session>(io, *this, std::move(options))) {
    session_->start();
}

Client::~Client() {
    session_->stop();
}

const Replica& Client::replica() const {
    return session_->replica();
}

bool Client::has_column(std::string_view table, std::string_view column) const {
    const auto columns = session_->selection().find(table);
    return columns != session_->selection().end() && columns->second.contains(column);
}

bool Client::is_synchronised() const {
    return session_->dialogue() != nullptr && session_->dialogue()->is_synchronised();
}

bool Client::has_lock() const {
    return session_->dialogue() != nullptr && session_->dialogue()->has_lock();
}

bool Client::is_lock_contended() const {
    return session_->dialogue() != nullptr && session_->dialogue()->is_lock_contended();
}

void Client::transact(
    const nlohmann::json& operations, std::function<void(Result<nlohmann::json>)> done
) {
    session_->transact(operations, std::move(done));
}

void Client::set_tls(const TlsFiles& files) {
    session_->set_tls(files);
}

std::string Client::status() const {
    return session_->status();
}

}  // namespace culvert::ctl::ovsdb
