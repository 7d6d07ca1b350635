// SPDX-License-Identifier: GPL-2.0-or-later
//
// The log is process-wide, so each test starts it into a file of its own and gives it back to
// stderr at the end.
#include "ctl/log.hpp"

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace culvert::ctl {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Log : public ::testing::Test {
protected:
    void SetUp() override {
        std::filesystem::create_directories(folder_);
        ASSERT_TRUE(log_start(LogLevel::info, file_.string()).has_value());
    }
    void TearDown() override {
        ASSERT_TRUE(log_start(LogLevel::info, "").has_value());
        std::filesystem::remove_all(folder_);
    }

    static std::vector<std::string> lines_of(const std::filesystem::path& file) {
        std::ifstream stream(file);
        std::vector<std::string> lines;
        for (std::string line; std::getline(stream, line);) {
            lines.push_back(line);
        }
        return lines;
    }
    [[nodiscard]] std::vector<std::string> lines() const { return lines_of(file_); }

    const std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("culvert-log-" + std::to_string(::getpid()));
    const std::filesystem::path file_ = folder_ / "culvertd.log";
};

TEST_F(Log, WritesTimeLevelAreaMessage) {
    logger("config").warn("bridge {} has {} ports", "br0", 3);
    const auto written = lines();
    ASSERT_EQ(written.size(), 1U);
    const std::regex form(
        R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|warning\|config\|bridge br0 has 3 ports)"
    );
    EXPECT_TRUE(std::regex_match(written[0], form)) << written[0];
}

TEST_F(Log, StampsUtcInAnyTimeZone) {
    ::setenv("TZ", "XYZ-11:30", 1);
    ::tzset();
    const std::time_t before = std::time(nullptr);
    logger("clock").info("now");
    const std::time_t after = std::time(nullptr);
    ::unsetenv("TZ");
    ::tzset();

    const auto written = lines();
    ASSERT_EQ(written.size(), 1U);
    std::tm parts{};
    ASSERT_NE(::strptime(written[0].c_str(), "%Y-%m-%dT%H:%M:%S", &parts), nullptr);
    const std::time_t stamp = ::timegm(&parts);
    EXPECT_GE(stamp, before);
    EXPECT_LE(stamp, after);
}

TEST_F(Log, UsesTheFourLevelWords) {
    log_set_level(LogLevel::debug);
    logger("a").debug("1");
    logger("a").info("2");
    logger("a").warn("3");
    logger("a").error("4");
    EXPECT_THAT(
        lines(),
        ElementsAre(
            EndsWith("|debug|a|1"),
            EndsWith("|info|a|2"),
            EndsWith("|warning|a|3"),
            EndsWith("|error|a|4")
        )
    );
}

TEST_F(Log, LevelHoldsForOldAndNewLoggers) {
    spdlog::logger& old_logger = logger("level-old");
    log_set_level(LogLevel::warning);
    old_logger.info("hidden");
    logger("level-new").info("hidden");
    old_logger.warn("shown");
    logger("level-new").warn("shown");
    EXPECT_THAT(lines(), ElementsAre(EndsWith("|level-old|shown"), EndsWith("|level-new|shown")));
}

TEST_F(Log, SameAreaIsSameLogger) {
    EXPECT_EQ(&logger("same"), &logger("same"));
    EXPECT_NE(&logger("same"), &logger("other"));
}

TEST_F(Log, MessageStaysOnOneLine) {
    logger("peer").info("name {}", "x\n2026-01-01T00:00:00.000Z|error|fake|\x1b[2J");
    EXPECT_THAT(
        lines(),
        ElementsAre(EndsWith("|peer|name x\\x0a2026-01-01T00:00:00.000Z|error|fake|\\x1b[2J"))
    );
}

TEST_F(Log, ReopenFollowsTheName) {
    const auto rotated = folder_ / "culvertd.log.1";
    logger("rotate").info("first");
    std::filesystem::rename(file_, rotated);
    logger("rotate").info("second");
    ASSERT_TRUE(log_reopen().has_value());
    logger("rotate").info("third");
    EXPECT_THAT(lines_of(rotated), ElementsAre(EndsWith("first"), EndsWith("second")));
    EXPECT_THAT(lines(), ElementsAre(EndsWith("third")));
}

TEST_F(Log, FailedReopenKeepsTheOldFile) {
    const auto moved = std::filesystem::path(folder_.string() + "-moved");
    std::filesystem::rename(folder_, moved);
    const auto reopened = log_reopen();
    ASSERT_FALSE(reopened.has_value());
    EXPECT_THAT(reopened.error(), HasSubstr(file_.string()));
    EXPECT_THAT(reopened.error(), HasSubstr("No such file or directory"));
    logger("rotate").info("still here");
    std::filesystem::rename(moved, folder_);
    EXPECT_THAT(lines(), ElementsAre(EndsWith("still here")));
}

TEST_F(Log, BadFileIsOneSentence) {
    const auto started = log_start(LogLevel::info, folder_.string());
    ASSERT_FALSE(started.has_value());
    EXPECT_THAT(started.error(), HasSubstr("cannot open log file \"" + folder_.string() + "\""));
    EXPECT_THAT(started.error(), HasSubstr("Is a directory"));
    logger("kept").info("still to the first file");
    EXPECT_THAT(lines(), ElementsAre(EndsWith("still to the first file")));
}

TEST_F(Log, AppendsToAnExistingFile) {
    logger("append").info("one");
    ASSERT_TRUE(log_start(LogLevel::info, file_.string()).has_value());
    logger("append").info("two");
    EXPECT_THAT(lines(), ElementsAre(EndsWith("one"), EndsWith("two")));
}

TEST_F(Log, EmptyFileNameIsStderr) {
    ASSERT_TRUE(log_start(LogLevel::info, "").has_value());
    ::testing::internal::CaptureStderr();
    logger("stderr").info("hello");
    const bool reopened = log_reopen().has_value();
    logger("stderr").info("again");
    const std::string captured = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(reopened);
    EXPECT_THAT(captured, HasSubstr("|info|stderr|hello\n"));
    EXPECT_THAT(captured, HasSubstr("|info|stderr|again\n"));
    EXPECT_THAT(lines(), IsEmpty());
}

TEST_F(Log, LinesOfThreadsDoNotMix) {
    constexpr unsigned kThreads = 4;
    constexpr unsigned kMessages = 200;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i) {
        threads.emplace_back([] {
            for (unsigned message = 0; message < kMessages; ++message) {
                logger("threads").info("{}", std::string(100, 'x'));
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    const auto written = lines();
    EXPECT_EQ(written.size(), kThreads * kMessages);
    for (const std::string& line : written) {
        EXPECT_THAT(line, EndsWith("Z|info|threads|" + std::string(100, 'x')));
    }
}

TEST(LogLevelWord, ParsesWhatItPrints) {
    for (const auto level : {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
        const auto parsed = parse_log_level(log_level_word(level));
        ASSERT_TRUE(parsed.has_value());
        EXPECT_EQ(*parsed, level);
    }
}

TEST(LogLevelWord, NamesTheValidWords) {
    const auto parsed = parse_log_level("loud");
    ASSERT_FALSE(parsed.has_value());
    EXPECT_EQ(parsed.error(), "log level \"loud\" is not one of debug, info, warning, error");
    EXPECT_FALSE(parse_log_level("").has_value());
    EXPECT_FALSE(parse_log_level("Info").has_value());
}

class Limiter : public Log {
protected:
    LogLimiter limiter_{logger("limit"), 2, seconds(10)};
    const LogLimiter::Clock::time_point start_{seconds(1000)};

    void send(int at_s, int count, spdlog::level::level_enum level = spdlog::level::info) {
        for (int i = 0; i < count; ++i) {
            limiter_.log(start_ + seconds(at_s), level, "message {}", i);
        }
    }
};

TEST_F(Limiter, CountsWhatIsOverTheLimit) {
    send(0, 5);
    EXPECT_THAT(lines(), ElementsAre(EndsWith("message 0"), EndsWith("message 1")));
    send(10, 1);
    EXPECT_THAT(
        lines(),
        ElementsAre(
            EndsWith("message 0"),
            EndsWith("message 1"),
            EndsWith("|limit|suppressed 3 messages like this"),
            EndsWith("message 0")
        )
    );
}

TEST_F(Limiter, FlushReportsOnceAfterThePeriod) {
    send(0, 4);
    limiter_.flush(start_ + seconds(9));
    EXPECT_EQ(lines().size(), 2U);
    limiter_.flush(start_ + seconds(10));
    limiter_.flush(start_ + seconds(30));
    const auto written = lines();
    ASSERT_EQ(written.size(), 3U);
    EXPECT_THAT(written[2], EndsWith("suppressed 2 messages like this"));
}

TEST_F(Limiter, SaysNothingWhenNothingWasSuppressed) {
    send(0, 2);
    send(10, 2);
    limiter_.flush(start_ + seconds(20));
    EXPECT_EQ(lines().size(), 4U);
}

TEST_F(Limiter, PeriodStartsWithItsFirstMessage) {
    send(0, 1);
    send(15, 3);  // A new period: two pass.
    send(24, 1);  // Still within it.
    EXPECT_EQ(lines().size(), 3U);
    send(25, 1);
    EXPECT_EQ(lines().size(), 5U);
}

TEST_F(Limiter, ReportHasTheHighestSuppressedLevel) {
    send(0, 3);
    send(0, 1, spdlog::level::err);
    limiter_.flush(start_ + seconds(10));
    EXPECT_THAT(lines().back(), HasSubstr("|error|limit|suppressed 2"));
}

TEST_F(Limiter, MessagesBelowTheLevelDoNotCount) {
    send(0, 50, spdlog::level::debug);
    send(0, 2);
    limiter_.flush(start_ + seconds(10));
    EXPECT_EQ(lines().size(), 2U);
}

}  // namespace
}  // namespace culvert::ctl
