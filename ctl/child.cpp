// SPDX-License-Identifier: GPL-2.0-or-later
//
// See child.hpp.

#include "ctl/child.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace culvert::ctl {

namespace {

/// A file without a name: a daemon that the child leaves behind keeps it open, and unlike the end
/// of a pipe nobody waits for that.
class Catch {
public:
    Catch() : file_(std::tmpfile()) {}
    ~Catch() {
        if (file_ != nullptr) {
            std::fclose(file_);
        }
    }
    Catch(const Catch&) = delete;
    Catch& operator=(const Catch&) = delete;

    [[nodiscard]] int fd() const { return file_ == nullptr ? -1 : fileno(file_); }
    [[nodiscard]] std::string text() const {
        std::string text;
        std::array<char, 4096> buffer{};
        off_t at = 0;
        for (;;) {
            const ssize_t got = pread(fd(), buffer.data(), buffer.size(), at);
            if (got <= 0) {
                return text;
            }
            text.append(buffer.data(), static_cast<std::size_t>(got));
            at += got;
        }
    }

private:
    std::FILE* file_;
};

}  // namespace

tl::expected<ChildOutcome, std::string> run_child(const std::vector<std::string>& argv) {
    const Catch output;
    const Catch errors;
    if (output.fd() < 0 || errors.fd() < 0) {
        return tl::unexpected(std::string("no temporary file can be made: ") + strerror(errno));
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output.fd(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors.fd(), STDERR_FILENO);
    std::vector<char*> words;
    words.reserve(argv.size() + 1);
    for (const std::string& word : argv) {
        words.push_back(const_cast<char*>(word.c_str()));  // NOLINT(*-const-cast): exec's type.
    }
    words.push_back(nullptr);
    pid_t pid = 0;
    const int failed = posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        return tl::unexpected(argv[0] + " cannot be run: " + strerror(failed));
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    constexpr int kSignalBase = 128;
    return ChildOutcome{
        WIFSIGNALED(status) ? kSignalBase + WTERMSIG(status) : WEXITSTATUS(status),
        output.text(),
        errors.text()};
}

std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace culvert::ctl
