// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of ovs-ctl as culvert-ctl start and the like read them.

#include "ctl/service_options.hpp"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ctl {
namespace {

Checked<ServiceOptions> read(std::map<std::string, Words, std::less<>> options) {
    return read_service_options({.arguments = {}, .options = std::move(options)});
}

TEST(ServiceOptions, HaveTheDefaultsOfOvsCtl) {
    const auto options = read({});
    ASSERT_TRUE(options);
    EXPECT_TRUE(options->mlockall);
    EXPECT_TRUE(options->monitor);
    EXPECT_TRUE(options->ovsdb_server);
    EXPECT_TRUE(options->ovs_vswitchd);
    EXPECT_FALSE(options->delete_bridges);
    EXPECT_EQ(options->ovs_vswitchd_priority, -10);
    EXPECT_EQ(options->daemon_cwd, "/");
}

TEST(ServiceOptions, FoldersComeFromTheEnvironment) {
    ::setenv("OVS_RUNDIR", "/tmp/run-of-a-test", 1);
    ::setenv("OVS_SBINDIR", "/tmp/sbin-of-a-test", 1);
    const auto options = read({});
    ::unsetenv("OVS_RUNDIR");
    ::unsetenv("OVS_SBINDIR");
    ASSERT_TRUE(options);
    EXPECT_EQ(options->db_sock, "/tmp/run-of-a-test/db.sock");
    EXPECT_EQ(options->paths.vswitchd, "/tmp/sbin-of-a-test/ovs-vswitchd");
}

TEST(ServiceOptions, TheSwitchIsUnderThePrefixOfTheProgramThatRuns) {
    const std::filesystem::path program = std::filesystem::canonical("/proc/self/exe");
    EXPECT_EQ(
        read({})->paths.vswitchd, program.parent_path().parent_path() / "lib/culvert/ovs-vswitchd"
    );
}

TEST(ServiceOptions, TogglesTakeYesNoAndNothing) {
    EXPECT_TRUE(read({{"--delete-bridges", {}}})->delete_bridges);
    EXPECT_TRUE(read({{"--delete-bridges", {"yes"}}})->delete_bridges);
    EXPECT_FALSE(read({{"--mlockall", {"no"}}})->mlockall);
    EXPECT_FALSE(read({{"--no-monitor", {}}})->monitor);
}

TEST(ServiceOptions, BadOnesAreRefusedByName) {
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"--mlockall", "perhaps"},
        {"--ovs-vswitchd-priority", "20"},
        {"--ovsdb-server-priority", "low"},
        {"--external-id", "novalue"},
        {"--external-id", "=value"},
        {"--ovs-user", "openvswitch:openvswitch"},
    };
    for (const auto& [option, value] : cases) {
        const auto options = read({{option, {value}}});
        ASSERT_FALSE(options) << option << '=' << value;
        EXPECT_EQ(options.error().status, kStatusRefused);
        EXPECT_THAT(options.error().sentence, ::testing::StartsWith(option));
        EXPECT_THAT(options.error().sentence, ::testing::HasSubstr(value));
        EXPECT_THAT(options.error().sentence, ::testing::HasSubstr(" is not valid; valid: "));
    }
}

TEST(ServiceOptions, ListsAreSplitAtBlanks) {
    const auto options = read(
        {{"--ovs-vswitchd-options", {"-vdbg  --no-chdir"}},
         {"--ovs-vswitchd-wrapper", {"strace"}},
         {"--ovsdb-server-wrapper", {"valgrind"}},
         {"--external-id", {"a=1", "b=2=3"}}}
    );
    ASSERT_TRUE(options);
    EXPECT_EQ(options->ovs_vswitchd_options, (Words{"-vdbg", "--no-chdir"}));
    EXPECT_EQ(options->ovs_vswitchd_wrapper, (Words{"strace"}));
    EXPECT_EQ(options->ovsdb_server_wrapper.front(), "valgrind");
    EXPECT_EQ(options->external_ids[1].second, "2=3");
}

}  // namespace
}  // namespace culvert::ctl
