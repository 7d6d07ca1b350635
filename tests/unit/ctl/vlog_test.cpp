// SPDX-License-Identifier: GPL-2.0-or-later
//
// Patterns, syslog, and the log in Open vSwitch's words. The log is process-wide, so that each test
// gives it back as it was.
#include "ctl/vlog.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "ctl/log_pattern.hpp"
#include "ctl/syslog_sender.hpp"
#include "tests/unit/ctl/unixctl_fixture.hpp"
#include "tests/unit/source_dir.hpp"

namespace culvert::ctl {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using testing::TemporaryFolder;

LogLine sample_line() {
    LogLine line;
    line.time = std::chrono::system_clock::from_time_t(1769860800) + std::chrono::milliseconds(7);
    line.level = spdlog::level::warn;
    line.area = "switch";
    line.message = "hello";
    line.number = 42;
    line.program = "ovs-vswitchd";
    return line;
}

TEST(LogPattern, WritesTheFormatsOfBothPrograms) {
    EXPECT_EQ(
        format_log_line(kOvsFilePattern, sample_line()),
        "2026-01-31T12:00:00.007Z|00042|switch|WARN|hello"
    );
    EXPECT_EQ(
        format_log_line(kOvsConsolePattern, sample_line()),
        "2026-01-31T12:00:00Z|00042|switch|WARN|hello"
    );
    EXPECT_EQ(
        format_log_line(kCulvertPattern, sample_line()),
        "2026-01-31T12:00:00.007Z|warning|switch|hello"
    );
    LogLine monitor = sample_line();
    monitor.subprogram = "monitor";
    EXPECT_EQ(format_log_line(kOvsSyslogPattern, monitor), "ovs|00042|switch(monitor)|WARN|hello");
}

TEST(LogPattern, TakesEveryConversion) {
    EXPECT_EQ(
        format_log_line("%A %c %p %l %m %N %%", sample_line()),
        "ovs-vswitchd switch WARN warning "
        "hello 42 %"
    );
    EXPECT_EQ(format_log_line("<%B>", sample_line()), "<28>");  // daemon.warning.
    EXPECT_EQ(format_log_line("%P", sample_line()), std::to_string(::getpid()));
    EXPECT_EQ(format_log_line("%t%T%n", sample_line()), "\n");
    EXPECT_EQ(format_log_line("%D{%j}", sample_line()), "031");
    EXPECT_THAT(format_log_line("%d", sample_line()), StartsWith("2026-0"));
    EXPECT_THAT(format_log_line("%E", sample_line()), ::testing::Not(IsEmpty()));
}

TEST(LogPattern, PadsToTheWidth) {
    EXPECT_EQ(
        format_log_line("%8c|%-8c|%08N|%3c", sample_line()), "  switch|switch  |00000042|switch"
    );
    EXPECT_EQ(format_log_line("%99999m", sample_line()).size(), 255U);
}

TEST(LogPattern, SurvivesWhatIsNoPattern) {
    EXPECT_EQ(format_log_line("", sample_line()), "");
    EXPECT_EQ(format_log_line("50%", sample_line()), "50%");
    EXPECT_EQ(format_log_line("%z %5z", sample_line()), "%z   %5z");
    EXPECT_THAT(format_log_line("%D{%Y", sample_line()), EndsWith("{%Y"));
}

TEST(Syslog, MethodsAreRefusedByName) {
    for (const char* method :
         {"",
          "tcp:1.2.3.4:5",
          "unix:",
          "udp:localhost:5",
          "udp:1.2.3.4",
          "udp:1.2.3.4:0",
          "udp:1.2.3.4:99999"}) {
        const auto sender = SyslogSender::open(method, "x");
        ASSERT_FALSE(sender.has_value()) << method;
        EXPECT_THAT(sender.error(), HasSubstr("is not one of libc, null, unix:FILE, udp:IP:PORT"));
    }
    EXPECT_TRUE(SyslogSender::open("udp:[::1]:514", "x").has_value());
    EXPECT_FALSE(parse_facility("kitchen").has_value());
    EXPECT_EQ(*parse_facility("local7"), LOG_LOCAL7);
}

class Vlog : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(log_start(LogLevel::info, "").has_value()); }
    void TearDown() override {
        ASSERT_TRUE(log_start(LogLevel::info, "").has_value());
        ASSERT_TRUE(log_set_syslog("null").has_value());
        ASSERT_TRUE(log_set_facility("daemon").has_value());
        log_set_program("culvertd");
        for (const auto destination :
             {LogDestination::console, LogDestination::syslog, LogDestination::file}) {
            log_set_pattern(destination, std::string(kCulvertPattern));
        }
    }

    static Result<std::string> run(const std::string& name, const Arguments& arguments = {}) {
        return make_vlog_commands().at(name).handler(arguments);
    }
    [[nodiscard]] std::vector<std::string> lines() const {
        std::ifstream stream(file_);
        std::vector<std::string> lines;
        for (std::string line; std::getline(stream, line);) {
            lines.push_back(line);
        }
        return lines;
    }

    TemporaryFolder folder_;
    const std::string file_ = folder_.file("log");
};

TEST_F(Vlog, SpecificationsOfOvsAppctl) {
    const auto console = parse_vlog("console:emer");
    ASSERT_TRUE(console.has_value());
    EXPECT_EQ(console->area, "");
    EXPECT_THAT(console->destinations, ElementsAre(LogDestination::console));
    EXPECT_EQ(console->level, spdlog::level::critical);

    const auto all = parse_vlog("switch file,WARN");
    ASSERT_TRUE(all.has_value());
    EXPECT_EQ(all->area, "switch");
    EXPECT_THAT(all->destinations, ElementsAre(LogDestination::file));
    EXPECT_EQ(all->level, spdlog::level::warn);

    const auto any = parse_vlog("ANY:any:off");
    ASSERT_TRUE(any.has_value());
    EXPECT_EQ(any->destinations.size(), kLogDestinations);
    EXPECT_EQ(any->level, spdlog::level::off);

    const auto level_left_out = parse_vlog("switch");
    ASSERT_TRUE(level_left_out.has_value());
    EXPECT_EQ(level_left_out->level, spdlog::level::debug);
}

TEST_F(Vlog, UnknownWordsAreNamed) {
    const auto word = parse_vlog("bogus");
    ASSERT_FALSE(word.has_value());
    EXPECT_THAT(word.error(), StartsWith("no destination, level, or module \"bogus\" ("));
    EXPECT_THAT(word.error(), HasSubstr("switch"));
    EXPECT_THAT(parse_vlog("alpha:beta").error(), HasSubstr("\"alpha\""));
    EXPECT_THAT(parse_vlog("file:syslog").error(), StartsWith("cannot specify multiple dest"));
    EXPECT_THAT(parse_vlog("dbg:info").error(), StartsWith("cannot specify multiple levels"));
}

TEST_F(Vlog, ModulesOfOvsMayBeNamedAtTheStartOnly) {
    EXPECT_TRUE(apply_vlog("ofproto_dpif:file:dbg", VlogModules::foreign_too).has_value());
    EXPECT_FALSE(apply_vlog("ofproto_dpif:file:dbg", VlogModules::known).has_value());
    EXPECT_EQ(log_levels("switch")[2], spdlog::level::off);
}

TEST_F(Vlog, ListShowsWhatSetDid) {
    ASSERT_TRUE(run("vlog/set", {"console:emer", "ANY:syslog:err", "tunnel:file:dbg"}).has_value());
    const auto text = run("vlog/list");
    ASSERT_TRUE(text.has_value());
    EXPECT_THAT(
        *text,
        StartsWith("                 console    syslog    file\n"
                   "                 -------    ------    ------\n")
    );
    EXPECT_THAT(*text, HasSubstr("\nswitch            EMER        ERR        OFF\n"));
    EXPECT_THAT(*text, HasSubstr("\ntunnel            EMER        ERR        DBG\n"));
    ASSERT_TRUE(run("vlog/set").has_value());
    EXPECT_THAT(*run("vlog/list"), HasSubstr("\nswitch             DBG        DBG        DBG\n"));
    EXPECT_FALSE(run("vlog/set", {"bogus"}).has_value());
}

TEST_F(Vlog, LevelsHoldForEachDestination) {
    ASSERT_TRUE(log_open_file(file_).has_value());
    ASSERT_TRUE(run("vlog/set", {"console:off", "file:warn", "tunnel:file:dbg"}).has_value());
    logger("switch").info("hidden");
    logger("switch").warn("shown");
    logger("tunnel").debug("shown too");
    EXPECT_THAT(lines(), ElementsAre(EndsWith("|switch|shown"), EndsWith("|tunnel|shown too")));
}

TEST_F(Vlog, AnAreaThatIsNewLaterHasTheLevelsOfAll) {
    ASSERT_TRUE(run("vlog/set", {"ANY:ANY:err"}).has_value());
    logger("made-later").info("hidden");
    EXPECT_EQ(log_levels("made-later")[0], spdlog::level::err);
    EXPECT_THAT(log_areas(), Contains("made-later"));
}

TEST_F(Vlog, PatternsAreSetByDestination) {
    ASSERT_TRUE(log_open_file(file_).has_value());
    ASSERT_TRUE(run("vlog/set", {"console:off", "file:info", "PATTERN:file:%p|%m"}).has_value());
    logger("switch").info("one");
    ASSERT_TRUE(run("vlog/set", {"PATTERN:ANY:%m"}).has_value());
    logger("switch").info("two");
    EXPECT_THAT(lines(), ElementsAre("INFO|one", "two"));
    EXPECT_THAT(
        *run("vlog/list-pattern"), HasSubstr("FILE     none                              %m")
    );
    const auto wrong = run("vlog/set", {"PATTERN:x:y"});
    ASSERT_FALSE(wrong.has_value());
    EXPECT_THAT(wrong.error(), StartsWith("unknown destination \"x\""));
}

TEST_F(Vlog, TheFileIsClosedAndOpenedAgain) {
    const auto nothing = run("vlog/reopen");
    ASSERT_FALSE(nothing.has_value());
    EXPECT_THAT(nothing.error(), HasSubstr("logging to file not configured"));
    ASSERT_TRUE(log_open_file(file_).has_value());
    ASSERT_TRUE(run("vlog/set", {"console:off", "file:info"}).has_value());
    logger("switch").info("one");
    std::filesystem::rename(file_, file_ + ".1");
    ASSERT_TRUE(run("vlog/reopen").has_value());
    logger("switch").info("two");
    ASSERT_TRUE(run("vlog/close").has_value());
    logger("switch").info("lost");
    ASSERT_TRUE(run("vlog/reopen").has_value());
    logger("switch").info("three");
    EXPECT_THAT(lines(), ElementsAre(EndsWith("two"), EndsWith("three")));
}

TEST_F(Vlog, SyslogDaemonGetsPriorityProgramAndText) {
    const std::string path = folder_.file("syslog");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    const int fd = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    log_set_program("ovs-vswitchd");
    log_set_pattern(LogDestination::syslog, std::string(kOvsSyslogPattern));
    ASSERT_TRUE(log_set_syslog("unix:" + path).has_value());
    ASSERT_TRUE(run("vlog/set", {"FACILITY:local0", "console:off", "syslog:err"}).has_value());
    logger("switch").warn("hidden");
    logger("switch").error("shown");
    std::string got(1024, '\0');
    got.resize(static_cast<std::size_t>(
        std::max<ssize_t>(0, ::recv(fd, got.data(), got.size(), MSG_DONTWAIT))
    ));
    const std::regex form(
        R"(<131>\w+ +\d+ [\d:]+ ovs-vswitchd\[\d+\]: ovs\|\d{5}\|switch\|ERR\|shown)"
    );
    EXPECT_TRUE(std::regex_match(got, form)) << got;
    char more = 0;
    EXPECT_EQ(::recv(fd, &more, 1, MSG_DONTWAIT), -1) << "the warning went there too";
    ::close(fd);
    EXPECT_FALSE(run("vlog/set", {"FACILITY:x"}).has_value());
}

TEST_F(Vlog, TheReasonOfTheEndIsSaidOnce) {
    for (const char* level : {"console:emer", "console:info"}) {
        ASSERT_TRUE(run("vlog/set", {level}).has_value());
        ::testing::internal::CaptureStderr();
        log_fatal("culvertd", "it is over");
        const std::string text = ::testing::internal::GetCapturedStderr();
        EXPECT_THAT(text, EndsWith("it is over\n"));
        EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
    }
}

TEST_F(Vlog, EveryAreaOfTheSourcesCanBeSetBeforeItSaysAnything) {
    const std::regex call(R"re(\blogger\("([a-z_-]+)"\))re");
    const std::vector<std::string> areas = log_areas();
    unsigned calls = 0;
    for (const char* folder : {"/ctl", "/dataplane", "/firewall"}) {
        for (const auto& entry :
             std::filesystem::recursive_directory_iterator(tests::source_dir() + folder)) {
            if (entry.path().extension() != ".cpp") {
                continue;
            }
            std::ifstream stream(entry.path());
            const std::string text(std::istreambuf_iterator<char>(stream), {});
            for (std::sregex_iterator at(text.begin(), text.end(), call), end; at != end; ++at) {
                EXPECT_THAT(areas, Contains((*at)[1].str()))
                    << "kAreas of ctl/log.cpp lacks it (" << entry.path() << ")";
                ++calls;
            }
        }
    }
    EXPECT_GT(calls, 20U);
}

}  // namespace
}  // namespace culvert::ctl
