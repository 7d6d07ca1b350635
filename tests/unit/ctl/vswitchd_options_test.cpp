// SPDX-License-Identifier: GPL-2.0-or-later
//
// The command line in ovs-vswitchd's place: what stock ovs-ctl passes, every option, every refusal.
#include "ctl/vswitchd_options.hpp"

#include <filesystem>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace culvert::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const OvsFolders kFolders = {"/r", "/l", "/d", "/c/openvswitch", ""};

Result<VswitchdOptions> parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/sbin/ovs-vswitchd");
    return parse_vswitchd_options(arguments, kFolders);
}

TEST(VswitchdOptions, TakesWhatOvsCtlPasses) {
    const auto options = parse(
        {"unix:/r/db.sock",
         "-vconsole:emer",
         "-vsyslog:err",
         "-vfile:info",
         "--mlockall",
         "--no-self-confinement",
         "--no-chdir",
         "--log-file=/l/ovs-vswitchd.log",
         "--pidfile=/r/ovs-vswitchd.pid",
         "--detach",
         "--monitor"}
    );
    ASSERT_TRUE(options.has_value()) << options.error();
    EXPECT_EQ(options->action, VswitchdOptions::Action::run);
    EXPECT_EQ(options->database, "unix:/r/db.sock");
    EXPECT_THAT(options->vlog, ElementsAre("console:emer", "syslog:err", "file:info"));
    EXPECT_TRUE(options->lock_memory);
    EXPECT_FALSE(options->change_folder);
    EXPECT_EQ(options->log_file, "/l/ovs-vswitchd.log");
    EXPECT_EQ(options->pidfile, "/r/ovs-vswitchd.pid");
    EXPECT_TRUE(options->detach);
    EXPECT_TRUE(options->monitor);
    EXPECT_FALSE(options->unixctl.has_value());
    EXPECT_THAT(options->notes, IsEmpty());
}

TEST(VswitchdOptions, StandsInTheFoldersWithoutArguments) {
    const auto options = parse({});
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(options->database, "unix:/r/db.sock");
    EXPECT_FALSE(options->pidfile.has_value());
    EXPECT_FALSE(options->log_file.has_value());
    EXPECT_FALSE(options->detach || options->monitor || options->lock_memory);
    EXPECT_FALSE(options->overwrite_pidfile);
    EXPECT_TRUE(options->change_folder);
}

TEST(VswitchdOptions, NamesFilesByTheirDefaults) {
    const auto options = parse({"--pidfile", "--log-file"});
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(options->pidfile, "/r/ovs-vswitchd.pid");
    EXPECT_EQ(options->log_file, "/l/ovs-vswitchd.log");
}

TEST(VswitchdOptions, RelativePathsCountFromOvsFolders) {
    const auto options = parse({"--pidfile=a.pid", "--unixctl=a.ctl", "--log-file=a.log"});
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(options->pidfile, "/r/a.pid");
    EXPECT_EQ(options->unixctl, "/r/a.ctl");
    EXPECT_EQ(options->log_file, (std::filesystem::current_path() / "a.log").string());
}

TEST(VswitchdOptions, TakesEveryOtherOption) {
    const auto options = parse(
        {"-p",
         "/k",
         "--certificate=/e",
         "-C/ca",
         "-v",
         "--verbose",
         "--verbose=dbg",
         "--syslog-method=null",
         "--overwrite-pidf",
         "--syslog-target=1:2",
         "--unixctl=none",
         "--config=/x.toml",
         "--disable-system",
         "--disable-system-route",
         "ssl:1.2.3.4:5"}
    );
    ASSERT_TRUE(options.has_value()) << options.error();
    EXPECT_EQ(options->private_key, "/k");
    EXPECT_EQ(options->certificate, "/e");
    EXPECT_EQ(options->ca_certificate, "/ca");
    EXPECT_THAT(options->vlog, ElementsAre("", "", "dbg"));
    EXPECT_EQ(options->syslog_method, "null");
    EXPECT_EQ(options->syslog_target, "1:2");
    EXPECT_TRUE(options->overwrite_pidfile);
    EXPECT_EQ(options->unixctl, "");
    EXPECT_EQ(options->config, "/x.toml");
    EXPECT_EQ(options->database, "ssl:1.2.3.4:5");
}

TEST(VswitchdOptions, SaysWhatHasNoEffect) {
    const auto options =
        parse({"--peer-ca-cert=/p", "--ssl-ciphers=HIGH", "--bootstrap-ca-cert=/b"});
    ASSERT_TRUE(options.has_value());
    EXPECT_THAT(
        options->notes,
        ElementsAre(
            StartsWith("--peer-ca-cert has no effect"),
            StartsWith("--ssl-protocols and --ssl-ciphers have no effect"),
            StartsWith("--bootstrap-ca-cert: ")
        )
    );
    EXPECT_EQ(options->ca_certificate, "/b");
}

TEST(VswitchdOptions, HelpAndVersionAreActions) {
    EXPECT_EQ(parse({"--help"})->action, VswitchdOptions::Action::help);
    EXPECT_EQ(parse({"-V"})->action, VswitchdOptions::Action::version);
}

TEST(VswitchdOptions, RefusesInOneSentence) {
    const std::map<std::string, std::string> refused = {
        {"--nope", "unrecognized option \"--nope\""},
        {"-x", "unrecognized option \"-x\""},
        {"--unixctl", "option \"--unixctl\" requires an argument"},
        {"-p", "option \"-p\" requires an argument"},
        {"--detach=yes", "option \"--detach=yes\" takes no argument"},
        {"--user=ovs", "--user \"ovs\" is not supported"},
        {"--dpdk", "--dpdk is not supported"},
        {"--enable-dummy=system", "--enable-dummy is not supported"},
        {"--ca-cert=none", "--ca-cert \"none\" is not supported"},
    };
    for (const auto& [word, sentence] : refused) {
        const auto options = parse({"--no-chdir", word});
        ASSERT_FALSE(options.has_value()) << word;
        EXPECT_THAT(options.error(), StartsWith(sentence)) << word;
    }
    const auto two = parse({"unix:/a", "unix:/b"});
    ASSERT_FALSE(two.has_value());
    EXPECT_THAT(two.error(), StartsWith("at most one DATABASE is accepted, and \"unix:/b\""));
}

TEST(VswitchdOptions, VersionIsReadAsOvsScriptsReadIt) {
    const std::string version = vswitchd_version();
    EXPECT_THAT(version, StartsWith("ovs-vswitchd (Open vSwitch) "));
    const std::string first = version.substr(0, version.find('\n'));
    std::smatch parts;
    const std::string last = first.substr(first.rfind(' ') + 1);
    ASSERT_TRUE(std::regex_match(last, parts, std::regex(R"((\d+)\.(\d+)\.(\d+))"))) << last;
    EXPECT_GE(std::stoi(parts[1]), 3);
    EXPECT_THAT(version, HasSubstr("\nCulvert " CULVERT_VERSION "\n"));
}

TEST(VswitchdOptions, UsageNamesTheFolders) {
    EXPECT_THAT(vswitchd_usage(kFolders), HasSubstr("unix:/r/db.sock"));
    EXPECT_THAT(vswitchd_usage(kFolders), HasSubstr("/l/ovs-vswitchd.log"));
}

TEST(WantsVswitchd, ByNameOrByDatabase) {
    EXPECT_TRUE(wants_vswitchd({"/usr/lib/culvert/ovs-vswitchd"}));
    EXPECT_TRUE(wants_vswitchd({"ovs-vswitchd", "--version"}));
    EXPECT_TRUE(wants_vswitchd({"culvertd", "--detach", "tcp:127.0.0.1:6640"}));
    EXPECT_FALSE(wants_vswitchd({"culvertd", "--config", "unix:odd.toml"}));
    EXPECT_FALSE(wants_vswitchd({"culvertd", "--check"}));
    EXPECT_FALSE(wants_vswitchd({}));
}

TEST(OvsFolders, ComeFromTheEnvironmentOrThePackages) {
    std::map<std::string, const char*> environment;
    const auto find = [&](const char* name) -> const char* {
        const auto found = environment.find(name);
        return found == environment.end() ? nullptr : found->second;
    };
    OvsFolders folders = find_ovs_folders(find);
    EXPECT_EQ(folders.run, "/var/run/openvswitch");
    EXPECT_EQ(folders.log, "/var/log/openvswitch");
    EXPECT_EQ(folders.configuration, "/etc/openvswitch");
    EXPECT_EQ(folders.database, "/etc/openvswitch");
    environment = {{"OVS_RUNDIR", "/r"}, {"OVS_LOGDIR", ""}, {"OVS_SYSCONFDIR", "/s"}};
    folders = find_ovs_folders(find);
    EXPECT_EQ(folders.run, "/r");
    EXPECT_EQ(folders.log, "/var/log/openvswitch");
    EXPECT_EQ(folders.database, "/s/openvswitch");
    EXPECT_EQ(folders.state, "");
    environment["OVS_DBDIR"] = "/d";
    EXPECT_EQ(find_ovs_folders(find).database, "/d");
    EXPECT_EQ(find_ovs_folders(find).state, "/d");
}

}  // namespace
}  // namespace culvert::ctl
