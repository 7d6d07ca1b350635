// SPDX-License-Identifier: GPL-2.0-or-later
//
// The server's side of the control socket. A session reads only while it has nothing to answer, so
// a client that does not read its answers holds one answer and one read's worth of requests, no
// more. Handlers run to their end on the control thread; they must not block.
#include "ctl/unixctl.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <exception>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>

#include "ctl/json_stream.hpp"

namespace culvert::ctl {
namespace {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kReadBytes = 16384;
/// How long the server waits before it accepts again when the process is out of descriptors.
constexpr std::chrono::milliseconds kAcceptRetry{100};
/// How often and how soon the lock on the socket's folder is tried again at start.
constexpr unsigned kLockTries = 100;
constexpr std::chrono::milliseconds kLockRetry{20};

// ---- The socket's file --------------------------------------------------------------------------

std::string describe_error(const std::string& what, const std::string& path, int error) {
    return "cannot " + what + " control socket \"" + path + "\": " + std::strerror(error);
}

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_;
};

sockaddr_un make_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    return address;
}

/// Creates the socket's folder when needed and locks it: of two daemons that start at the same
/// moment, one would otherwise take the other's fresh socket for a stale one. The lock is the
/// folder's own, so no file is left behind.
Result<Descriptor> lock_folder(const std::string& path) {
    const std::string parent = std::filesystem::path(path).parent_path().string();
    const std::string folder = parent.empty() ? "." : parent;
    if (::mkdir(folder.c_str(), 0755) == 0) {
        ::chmod(folder.c_str(), 0755);  // Whatever the umask says.
    } else if (errno != EEXIST) {
        return tl::unexpected(describe_error("create the folder of", path, errno));
    }
    Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) {
        return tl::unexpected(describe_error("open the folder of", path, errno));
    }
    // The lock is held for a moment only, so a long wait means that somebody else uses the folder.
    for (unsigned tries_left = kLockTries; ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0;) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || --tries_left == 0) {
            return tl::unexpected(describe_error("lock the folder of", path, errno));
        }
        std::this_thread::sleep_for(kLockRetry);
    }
    return fd;
}

/// Makes sure that nothing is at `path`; removes the socket of a dead process.
Result<void> remove_stale(const std::string& path) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) {
            return {};
        }
        return tl::unexpected(describe_error("create", path, errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return tl::unexpected(
            "cannot create control socket \"" + path +
            "\": a file that is not a socket is there (remove it or choose another path)"
        );
    }
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = make_address(path);
    const int outcome =
        ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    // EAGAIN: somebody listens whose queue is full.
    if (outcome == 0 || errno == EAGAIN) {
        return tl::unexpected(
            "cannot create control socket \"" + path +
            "\": a running process listens there (stop it or choose another path)"
        );
    }
    if (errno != ECONNREFUSED) {
        return tl::unexpected(describe_error("take over", path, errno));
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return tl::unexpected(describe_error("remove stale", path, errno));
    }
    return {};
}

Result<Descriptor> listen_at(const std::string& path) {
    constexpr std::size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty() || path.size() > kPathMax) {
        return tl::unexpected(
            "control socket \"" + path + "\" has " + std::to_string(path.size()) +
            " characters; a socket's path has 1 to " + std::to_string(kPathMax)
        );
    }
    const auto lock = lock_folder(path);
    if (!lock.has_value()) {
        return tl::unexpected(lock.error());
    }
    if (auto removed = remove_stale(path); !removed.has_value()) {
        return tl::unexpected(removed.error());
    }
    Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = make_address(path);
    // Linux gives the file the mode of the socket (less the umask), so it is at no moment open to
    // others; chmod() then undoes what the umask took.
    if (fd.get() < 0 || ::fchmod(fd.get(), 0660) != 0 ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return tl::unexpected(describe_error("create", path, errno));
    }
    if (::chmod(path.c_str(), 0660) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
        const int error = errno;
        ::unlink(path.c_str());
        return tl::unexpected(describe_error("listen on", path, error));
    }
    return fd;
}

// ---- Clients ------------------------------------------------------------------------------------

class Session;

/// Accepts clients. Shared with them, so that handlers still queued when the server is destroyed
/// find it, closed.
class Listener : public std::enable_shared_from_this<Listener> {
public:
    Listener(
        asio::io_context& io,
        int fd,
        std::map<std::string, Command> command_map,
        UnixctlLimits bounds
    )
        : commands(std::move(command_map)), limits(bounds), io_(io), acceptor_(io, Protocol(), fd),
          retry_(io) {}

    void accept();
    void close();
    void forget(const std::shared_ptr<Session>& session) { sessions_.erase(session); }

    const std::map<std::string, Command> commands;
    const UnixctlLimits limits;

private:
    void admit(Protocol::socket socket);

    asio::io_context& io_;
    Protocol::acceptor acceptor_;
    asio::steady_timer retry_;
    std::set<std::shared_ptr<Session>> sessions_;
};

class Session : public std::enable_shared_from_this<Session> {
public:
    Session(asio::io_context& io, Protocol::socket socket, std::shared_ptr<Listener> listener)
        : listener_(std::move(listener)), socket_(std::move(socket)), stall_(io),
          stream_(listener_->limits.request_bytes_max) {}

    /// Answers the next request, or reads on when there is none.
    void advance() {
        if (!requests_.empty()) {
            const std::string request = std::move(requests_.front());
            requests_.pop_front();
            write(answer_request(listener_->commands, request));
            return;
        }
        if (const auto broken = stream_.feed({}); !broken.has_value()) {
            refuse(broken.error());
        } else if (!input_ended_) {
            read();
        } else if (stream_.pending()) {
            refuse("the request ends in its middle");
        } else {
            close();
        }
    }

    void close() {
        ErrorCode ignored;
        socket_.close(ignored);
        stall_.cancel();
        listener_->forget(shared_from_this());
    }

private:
    void refuse(std::string sentence) {
        last_answer_ = true;
        write(answer_refusal(std::move(sentence)));
    }

    void read() {
        watch_stall(stream_.pending());
        socket_.async_read_some(
            asio::buffer(input_),
            [self = shared_from_this()](ErrorCode error, std::size_t count) {
                self->on_read(error, count);
            }
        );
    }

    void on_read(ErrorCode error, std::size_t count) {
        if (!socket_.is_open()) {
            return;
        }
        if (error == asio::error::eof) {
            input_ended_ = true;
        } else if (error) {
            close();
            return;
        }
        // An error of the stream stays one; advance() asks for it when all is answered.
        if (auto texts = stream_.feed({input_.data(), count}); texts.has_value()) {
            std::move(texts->begin(), texts->end(), std::back_inserter(requests_));
        }
        advance();
    }

    void write(std::string text) {
        if (!socket_.is_open()) {
            return;  // The command closed the server.
        }
        output_ = std::move(text);
        written_ = 0;
        write_some();
    }

    void write_some() {
        watch_stall(true);
        socket_.async_write_some(
            asio::buffer(output_) + written_,
            [self = shared_from_this()](ErrorCode error, std::size_t count) {
                self->on_written(error, count);
            }
        );
    }

    void on_written(ErrorCode error, std::size_t count) {
        if (!socket_.is_open()) {
            return;
        }
        written_ += count;
        const bool complete = written_ == output_.size();
        if (error || (complete && last_answer_)) {
            close();
        } else if (complete) {
            output_ = {};
            advance();
        } else {
            write_some();
        }
    }

    /// Starts to count the time without progress, or stops counting.
    void watch_stall(bool on) {
        if (!on) {
            stall_.expires_at(asio::steady_timer::time_point::max());
            return;
        }
        stall_.expires_after(listener_->limits.stall_max);
        stall_.async_wait([self = shared_from_this()](ErrorCode error) {
            // Progress may have come after the timer fired but before this ran.
            if (!error && self->socket_.is_open() &&
                self->stall_.expiry() <= asio::steady_timer::clock_type::now()) {
                self->close();
            }
        });
    }

    std::shared_ptr<Listener> listener_;
    Protocol::socket socket_;
    asio::steady_timer stall_;
    JsonStream stream_;
    std::deque<std::string> requests_;
    std::array<char, kReadBytes> input_{};
    std::string output_;
    std::size_t written_ = 0;
    bool input_ended_ = false;
    bool last_answer_ = false;
};

void Listener::accept() {
    acceptor_.async_accept([self = shared_from_this()](ErrorCode error, Protocol::socket socket) {
        if (!self->acceptor_.is_open()) {
            return;
        }
        if (!error) {
            self->admit(std::move(socket));
            self->accept();
            return;
        }
        self->retry_.expires_after(kAcceptRetry);
        self->retry_.async_wait([self](ErrorCode cancelled) {
            if (!cancelled && self->acceptor_.is_open()) {
                self->accept();
            }
        });
    });
}

void Listener::admit(Protocol::socket socket) {
    if (sessions_.size() >= limits.clients_max) {
        ErrorCode ignored;
        socket.non_blocking(true, ignored);
        const std::string text = answer_refusal(
            "culvertd serves " + std::to_string(limits.clients_max) +
            " clients at once; try again when one of them has left"
        );
        socket.write_some(asio::buffer(text), ignored);
        return;  // Closes the socket.
    }
    const auto session = std::make_shared<Session>(io_, std::move(socket), shared_from_this());
    sessions_.insert(session);
    session->advance();
}

void Listener::close() {
    ErrorCode ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    const auto sessions = std::exchange(sessions_, {});
    for (const std::shared_ptr<Session>& session : sessions) {
        session->close();
    }
}

class Server final : public UnixctlServer {
public:
    Server(std::shared_ptr<Listener> listener, std::string path)
        : listener_(std::move(listener)), path_(std::move(path)) {
        ::lstat(path_.c_str(), &own_);
        listener_->accept();
    }
    ~Server() override {
        // Only our own file: somebody may have replaced it. While we still listen, no successor
        // takes it for a stale one.
        struct stat now {};
        if (::lstat(path_.c_str(), &now) == 0 && now.st_dev == own_.st_dev &&
            now.st_ino == own_.st_ino) {
            ::unlink(path_.c_str());
        }
        try {
            listener_->close();
        } catch (const std::exception&) {
            // Closing reports errors as values; what Asio might still throw finds nothing to undo.
        }
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

private:
    std::shared_ptr<Listener> listener_;
    std::string path_;
    struct stat own_ {};
};

}  // namespace

Result<std::unique_ptr<UnixctlServer>> UnixctlServer::open(
    asio::io_context& io,
    const std::string& path,
    std::map<std::string, Command> commands,
    const UnixctlLimits& limits
) {
    auto fd = listen_at(path);
    if (!fd.has_value()) {
        return tl::unexpected(fd.error());
    }
    auto listener = std::make_shared<Listener>(io, fd->get(), std::move(commands), limits);
    static_cast<void>(fd->release());
    return std::make_unique<Server>(std::move(listener), path);
}

}  // namespace culvert::ctl
