// SPDX-License-Identifier: GPL-2.0-or-later
//
// Figures of the host, from files that the test writes in place of the kernel's, and of a daemon
// that there is.
#include "ctl/system_statistics.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/unit/net_namespace.hpp"

namespace culvert::ctl {

namespace {

using ::testing::Contains;
using ::testing::Key;
using ::testing::MatchesRegex;
using ::testing::Not;

class SystemStatistics : public ::testing::Test {
protected:
    SystemStatistics() {
        std::string pattern = ::testing::TempDir() + "system_statistics_XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        files_ = {.run_directory = folder_ + "/run", .proc = folder_ + "/proc"};
        std::filesystem::create_directories(files_.run_directory);
        std::filesystem::create_directories(files_.proc + "/self");
    }
    ~SystemStatistics() override { std::filesystem::remove_all(folder_); }

    void write(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream(path) << text;
    }
    /// A line of /proc/locks for a file.
    [[nodiscard]] std::string lock(const std::string& path, int pid) const {
        struct stat status {};
        EXPECT_EQ(::stat(path.c_str(), &status), 0);
        return fmt::format(
            "7: POSIX  ADVISORY  WRITE {} {:02x}:{:02x}:{} 0 EOF\n",
            pid,
            major(status.st_dev),
            minor(status.st_dev),
            status.st_ino
        );
    }
    /// proc_pid_stat(5) of a process that used 3 s, has 2 MiB and 5 pages, and was started 100 s
    /// after the host.
    static std::string process(const std::string& name, int parent, int start_s) {
        const long ticks = ::sysconf(_SC_CLK_TCK);
        return fmt::format(
            "9 ({}) S {} 0 0 0 0 0 0 0 0 0 {} {} 0 0 20 0 3 0 {} 2097152 5 0 0 0 0 0 0 0 0 0 0 0 0 "
            "0 17 6 0 0 0 0 0\n",
            name,
            parent,
            ticks * 2,
            ticks,
            ticks * start_s
        );
    }

    std::string folder_;
    SystemFiles files_;
};

TEST_F(SystemStatistics, MemoryIsInTheOrderOfTheManual) {
    write(
        files_.proc + "/meminfo",
        "MemTotal:  1000 kB\nMemFree:  300 kB\nMemAvailable: 999 kB\nBuffers: 20 kB\nCached: 40 "
        "kB\nSwapCached: 999 kB\nSwapTotal: 500 kB\nSwapFree: 450 kB\n"
    );
    EXPECT_EQ(system_statistics(files_)["memory"], "1000,700,60,500,50");
}

TEST_F(SystemStatistics, WhatCannotBeReadIsLeftOut) {
    const auto figures = system_statistics({.run_directory = "/nowhere", .proc = "/nowhere"});
    EXPECT_THAT(figures, Not(Contains(Key("memory"))));
    EXPECT_THAT(figures, Not(Contains(Key("file_systems"))));
    EXPECT_THAT(figures.at("cpu"), MatchesRegex("[1-9][0-9]*"));
    EXPECT_THAT(
        figures.at("load_average"),
        MatchesRegex("[0-9]+\\.[0-9][0-9],[0-9]+\\.[0-9][0-9],[0-9]+\\.[0-9][0-9]")
    );
}

TEST_F(SystemStatistics, ADaemonIsWhoHoldsAPidfile) {
    const std::string page_kb = std::to_string(5 * ::sysconf(_SC_PAGESIZE) / 1024);
    const std::string held = files_.run_directory + "/ovs-vswitchd.pid";
    write(held, "77\n");
    write(files_.run_directory + "/stale.pid", "77\n");
    write(files_.run_directory + "/db.sock", "");
    write(files_.proc + "/locks", lock(held, 77));
    write(files_.proc + "/uptime", "160.00 1.0\n");
    write(files_.proc + "/77/stat", process("a (odd) name", 1, 100));
    const auto figures = system_statistics(files_);
    EXPECT_EQ(figures.at("process_ovs-vswitchd"), "2048," + page_kb + ",3000,0,60000,60000,6");
    EXPECT_THAT(figures, Not(Contains(Key("process_stale"))));
    EXPECT_THAT(figures, Not(Contains(Key("process_db"))));
}

TEST_F(SystemStatistics, AMonitorTellsOfCrashesAndWhenItBegan) {
    const std::string page_kb = std::to_string(5 * ::sysconf(_SC_PAGESIZE) / 1024);
    const std::string held = files_.run_directory + "/ovsdb-server.pid";
    write(held, "78\n");
    write(files_.proc + "/locks", lock(held, 78));
    write(files_.proc + "/uptime", "160.00 1.0\n");
    write(files_.proc + "/78/stat", process("ovsdb-server", 70, 150));
    write(files_.proc + "/70/stat", process("ovsdb-server", 1, 100));
    write(
        files_.proc + "/70/cmdline",
        "ovsdb-server: monitoring pid 78 (2 crashes: pid 77 died, killed)"
    );
    EXPECT_EQ(
        system_statistics(files_).at("process_ovsdb-server"),
        "2048," + page_kb + ",3000,2,60000,10000,6"
    );
}

TEST_F(SystemStatistics, FileSystemsAreLocalOnesThatCanBeWritten) {
    const std::string place = folder_ + "/a b,c";
    std::filesystem::create_directories(place);
    write(
        files_.proc + "/self/mounts",
        "/dev/one " + folder_ + "/a\\040b,c ext4 rw,relatime 0 0\n" +  //
            "/dev/two " + folder_ + " ext4 ro,relatime 0 0\n" +        //
            "server:/x " + folder_ + " nfs rw 0 0\n" +                 //
            "/dev/three /nowhere ext4 rw 0 0\n"
    );
    EXPECT_THAT(
        system_statistics(files_).at("file_systems"), MatchesRegex(folder_ + "/a_b_c,[0-9]+,[0-9]+")
    );
}

/// The kernel's own files. The lock of the process that holds one stays.
TEST(SystemStatisticsOfAKernel, KnowsALockedPidfile) {
    std::string pattern = "/dev/shm/system_statistics_XXXXXX";
    const std::string folder = ::mkdtemp(pattern.data());
    const std::string path = folder + "/culvertd.pid";
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    ASSERT_EQ(::fcntl(file, F_SETLK, &lock), 0);
    const auto figures = system_statistics({.run_directory = folder, .proc = "/proc"});
    EXPECT_THAT(
        figures.at("process_culvertd"),
        MatchesRegex("[1-9][0-9]*,[1-9][0-9]*,[0-9]+,[0-9]+,[0-9]+,[0-9]+,[0-9]+")
    );
    EXPECT_THAT(figures, Contains(Key("memory")));
    {
        const test::Child other([&] {
            const int same = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
            struct flock taken {};
            taken.l_type = F_WRLCK;
            test::require(::fcntl(same, F_SETLK, &taken) != 0, "the lock was lost");
        });
    }
    ::close(file);
    std::filesystem::remove_all(folder);
}

}  // namespace

}  // namespace culvert::ctl
