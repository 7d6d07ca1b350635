// SPDX-License-Identifier: GPL-2.0-or-later
//
// The pidfile, with a second process that asks, since a process does not see locks of its own.
#include "ctl/pidfile.hpp"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/ctl/unixctl_fixture.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

class PidfileTest : public ::testing::Test {
protected:
    /// What another process finds.
    [[nodiscard]] pid_t owner_seen_by_another() const {
        const pid_t pid = ::fork();
        if (pid == 0) {
            const auto owner = pidfile_owner(path_);
            _exit(!owner ? 2 : *owner == ::getppid() ? 1 : *owner == 0 ? 0 : 3);
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
        EXPECT_TRUE(WIFEXITED(status));
        return WEXITSTATUS(status) == 1 ? ::getpid() : WEXITSTATUS(status) == 0 ? 0 : -1;
    }

    [[nodiscard]] std::string text() const {
        std::ifstream stream(path_);
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    TemporaryFolder folder_;
    const std::string path_ = folder_.file("d.pid");
};

TEST_F(PidfileTest, IsLockedByTheProcessThatItNames) {
    const auto pidfile = Pidfile::create(path_);
    ASSERT_TRUE(pidfile.has_value()) << pidfile.error();
    EXPECT_EQ(owner_seen_by_another(), ::getpid());
    EXPECT_EQ(text(), std::to_string(::getpid()) + "\n");  // Reading it here ends the lock.
}

TEST_F(PidfileTest, LeavesNothingBeside) {
    const auto pidfile = Pidfile::create(path_);
    ASSERT_TRUE(pidfile.has_value());
    const std::string folder = std::filesystem::path(path_).parent_path();
    EXPECT_EQ(
        std::distance(
            std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()
        ),
        1
    );
}

TEST_F(PidfileTest, GoesWithItsDaemon) {
    {
        const auto pidfile = Pidfile::create(path_);
        ASSERT_TRUE(pidfile.has_value());
    }
    EXPECT_FALSE(std::filesystem::exists(path_));
    EXPECT_EQ(pidfile_owner(path_), 0);
    EXPECT_TRUE(check_not_running(path_).has_value());
}

TEST_F(PidfileTest, OfADeadProcessIsStale) {
    std::ofstream(path_) << "1\n";
    EXPECT_EQ(pidfile_owner(path_), 0);
    EXPECT_TRUE(check_not_running(path_).has_value());
    const auto pidfile = Pidfile::create(path_);
    ASSERT_TRUE(pidfile.has_value());
    EXPECT_EQ(text(), std::to_string(::getpid()) + "\n");
}

TEST_F(PidfileTest, ASecondDaemonIsToldWhoRuns) {
    const auto pidfile = Pidfile::create(path_);
    ASSERT_TRUE(pidfile.has_value());
    const std::string sentence =
        path_ + ": already running as pid " + std::to_string(::getpid()) + ", aborting";
    const pid_t pid = ::fork();
    if (pid == 0) {
        const auto alone = check_not_running(path_);
        _exit(!alone && alone.error() == sentence ? 0 : 1);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
}

TEST_F(PidfileTest, AnothersFileIsNotRemoved) {
    {
        const auto pidfile = Pidfile::create(path_);
        ASSERT_TRUE(pidfile.has_value());
        std::filesystem::remove(path_);
        std::ofstream(path_) << "1\n";
    }
    EXPECT_EQ(text(), "1\n");
}

TEST_F(PidfileTest, FailureNamesTheFile) {
    const auto pidfile = Pidfile::create(folder_.file("none/d.pid"));
    ASSERT_FALSE(pidfile.has_value());
    EXPECT_THAT(pidfile.error(), HasSubstr("cannot create the pidfile \""));
    EXPECT_THAT(pidfile.error(), HasSubstr("No such file or directory"));
    EXPECT_FALSE(pidfile_owner(folder_.file("")).has_value());
}

}  // namespace
}  // namespace culvert::ctl
