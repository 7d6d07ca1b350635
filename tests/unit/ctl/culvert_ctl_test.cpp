// SPDX-License-Identifier: GPL-2.0-or-later
//
// culvert-ctl as its users run it: the built program against a server whose every command answers
// with its name and arguments. CULVERT_CTL_BINARY is the program's path.
#include <array>
#include <atomic>
#include <csignal>
#include <map>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/ctl/unixctl_fixture.hpp"
#include "tests/unit/source_dir.hpp"

namespace culvert::ctl {
namespace {

using ::testing::AllOf;
using testing::Daemon;
using ::testing::EndsWith;
using testing::FakeDaemon;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Outcome;
using testing::run_shell;
using ::testing::StartsWith;
using testing::TemporaryFolder;

std::map<std::string, Command> make_commands() {
    std::map<std::string, Command> commands;
    for (const char* name :
         {"show",
          "fdb/table",
          "fdb/flush",
          "flows/show",
          "flows/flush",
          "drops",
          "workers",
          "counters",
          "sa/list",
          "sa/show",
          "reload",
          "log/set",
          "log/reopen"}) {
        commands[name] = {"", 0, 9, [name](const Arguments& arguments) -> Result<std::string> {
                              std::string text = name;
                              for (const std::string& argument : arguments) {
                                  text += " " + argument;
                              }
                              return text;
                          }};
    }
    const auto fixed = [](const Result<std::string>& answer) {
        return Command{"", 0, 9, [answer](const Arguments&) { return answer; }};
    };
    commands["version"] = fixed("culvertd 9.8.7");
    commands["fail"] = fixed(tl::unexpected(std::string("there is no bridge \"br9\"")));
    commands["empty"] = fixed("");
    commands["lines"] = fixed("a\n\nb\n\n\n");
    return commands;
}

class CulvertCtl : public ::testing::Test {
protected:
    /// stdout and stderr together.
    [[nodiscard]] Outcome ctl(const std::string& words) const {
        return run_shell(prefix() + words + " 2>&1");
    }
    [[nodiscard]] std::string prefix() const {
        return std::string(CULVERT_CTL_BINARY) + " --socket '" + path_ + "' ";
    }

    const TemporaryFolder folder_;
    const std::string path_ = folder_.file("culvertd.ctl");
};

TEST_F(CulvertCtl, MapsCommandLinesToRequests) {
    const Daemon daemon(path_, make_commands());
    for (const auto& [words, request] : std::vector<std::pair<std::string, std::string>>{
             {"show", "show"},
             {"fdb show", "fdb/table"},
             {"fdb show br0", "fdb/table br0"},
             {"fdb flush", "fdb/flush"},
             {"fdb flush br0", "fdb/flush br0"},
             {"sa list", "sa/list"},
             {"sa show", "sa/show"},
             {"sa show 0x1001", "sa/show 0x1001"},
             {"flows show", "flows/show"},
             {"flows show --limit 5 --port eth0", "flows/show --port eth0 --limit 5"},
             {"flows show --limit=0", "flows/show --limit 0"},
             {"flows flush", "flows/flush"},
             {"drops", "drops"},
             {"drops --all", "drops --all"},
             {"workers", "workers"},
             {"counters", "counters"},
             {"counters t1", "counters t1"},
             {"reload", "reload"},
             {"log set debug", "log/set debug"},
             {"log reopen", "log/reopen"},
             {"raw show", "show"},
             {"raw counters --limit -f json", "counters --limit -f json"},
             {"-f text fdb show br0", "fdb/table br0"},
             {"-f json show", "show --format json"},
             {"fdb show br0 -f json", "fdb/table --format json br0"},
             {"-f json flows show --limit 5", "flows/show --format json --limit 5"},
             {"drops --all --format=json", "drops --format json --all"},
             {"-f json counters", "counters --format json"}}) {
        const Outcome outcome = ctl(words);
        EXPECT_EQ(outcome.output, request + "\n") << words;
        EXPECT_EQ(outcome.status, 0) << words;
    }
}

TEST_F(CulvertCtl, AnswersToActionsAreJsonStringsInJsonMode) {
    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(ctl("-f json reload").output, "\"reload\"\n");
    EXPECT_EQ(ctl("-f json log set info").output, "\"log/set info\"\n");
    EXPECT_EQ(ctl("-f json raw lines").output, "\"a\\n\\nb\"\n");
}

TEST_F(CulvertCtl, PrintsExactlyOneFinalNewline) {
    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(ctl("raw lines").output, "a\n\nb\n");
    EXPECT_EQ(ctl("raw empty").output, "");
}

TEST_F(CulvertCtl, DaemonErrorsGoToStderrWithStatusOne) {
    const Daemon daemon(path_, make_commands());
    const Outcome outcome = ctl("raw fail");
    EXPECT_EQ(outcome.output, "culvert-ctl: there is no bridge \"br9\"\n");
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(run_shell(prefix() + "raw fail 2>/dev/null").output, "");
}

TEST_F(CulvertCtl, SaysHowToReachADaemonThatIsNotThere) {
    const Outcome outcome = ctl("show");
    EXPECT_EQ(
        outcome.output,
        "culvert-ctl: cannot reach culvertd at " + path_ +
            ": no such socket (is culvertd running? Use --socket when it was started with another "
            "[daemon] socket)\n"
    );
    EXPECT_EQ(outcome.status, 2);
    const Outcome watched = ctl("show --watch");
    EXPECT_EQ(watched.output, outcome.output);
    EXPECT_EQ(watched.status, 2);
}

TEST_F(CulvertCtl, TakesTheSocketFromTheEnvironment) {
    const Daemon daemon(path_, make_commands());
    const std::string binary = CULVERT_CTL_BINARY;
    EXPECT_EQ(run_shell("CULVERT_SOCKET='" + path_ + "' " + binary + " show").output, "show\n");
    EXPECT_EQ(run_shell("CULVERT_SOCKET=/nonexistent " + prefix() + "show").output, "show\n")
        << "the option comes first";
    EXPECT_THAT(
        run_shell("env -u CULVERT_SOCKET " + binary + " --help").output,
        HasSubstr("/run/culvert/culvertd.ctl")
    );
}

TEST_F(CulvertCtl, GivesUpOnADaemonThatHangs) {
    const FakeDaemon hanging(path_);
    const Outcome outcome = ctl("-t 1 show");
    EXPECT_EQ(outcome.output, "culvert-ctl: culvertd at " + path_ + " did not answer within 1 s\n");
    EXPECT_EQ(outcome.status, 2);
}

TEST_F(CulvertCtl, WrongUsageIsOneSentenceWithStatusTwo) {
    const Daemon daemon(path_, make_commands());
    for (const auto& [words, sentence] : std::vector<std::pair<std::string, std::string>>{
             {"", "a command is missing, one of show, fdb, flows, drops,"},
             {"fdb", "\"fdb\" needs a command, one of show, flush"},
             {"fib", "there is no command \"fib\", only show, fdb, flows"},
             {"fdb list", "there is no command \"fdb list\", only show, flush"},
             {"fdb show a b", "\"fdb show\" does not take \"b\""},
             {"--loud show", "there is no option \"--loud\""},
             {"fdb show --limit 1", "there is no option \"--limit\""},
             {"flows show --limit x", "--limit: Value x not in range 0 to 1000000000"},
             {"flows show --limit -1", "--limit: Value -1 not in range 0 to 1000000000"},
             {"flows show --limit", "--limit: 1 required N missing"},
             {"log set", "LEVEL is required"},
             {"log set loud", "LEVEL: loud not in {debug,info,warning,error}"},
             {"show -f xml", "--format: xml not in {text,json}"},
             {"show -t 0", "--timeout: Value 0 not in range 1 to 3600"},
             {"show -w 0", "--watch: Value 0 not in range 0.1"},
             {"fdb flush -w", "--watch repeats commands that show something; \"fdb flush\""},
             {"raw", "raw needs a METHOD"}}) {
        const Outcome outcome = ctl(words);
        EXPECT_THAT(outcome.output, StartsWith("culvert-ctl: " + sentence)) << words;
        EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << words;
        EXPECT_EQ(outcome.status, 2) << words;
    }
}

TEST_F(CulvertCtl, HelpsForEveryCommand) {
    EXPECT_THAT(ctl("--help").output, AllOf(HasSubstr("flows"), HasSubstr("Exit status")));
    EXPECT_THAT(
        ctl("flows show --help").output, AllOf(HasSubstr("--limit N"), HasSubstr("--port"))
    );
    EXPECT_THAT(ctl("fdb show --help").output, HasSubstr("fdb show [OPTIONS] [BRIDGE]"));
    EXPECT_THAT(ctl("raw --help").output, HasSubstr("METHOD [ARGS...]"));
    EXPECT_EQ(ctl("fdb --help").status, 0);
}

TEST_F(CulvertCtl, VersionNeedsNoDaemon) {
    EXPECT_EQ(
        ctl("version").output,
        "culvert-ctl " CULVERT_VERSION "\nculvertd is not running at " + path_ + "\n"
    );
    EXPECT_EQ(ctl("version").status, 0);
    EXPECT_EQ(
        ctl("-f json version").output,
        "{\"culvert-ctl\":\"" CULVERT_VERSION "\",\"culvertd\":null}\n"
    );
    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(ctl("version").output, "culvert-ctl " CULVERT_VERSION "\nculvertd 9.8.7\n");
    EXPECT_EQ(
        ctl("-f json version").output,
        "{\"culvert-ctl\":\"" CULVERT_VERSION "\",\"culvertd\":\"culvertd 9.8.7\"}\n"
    );
}

TEST_F(CulvertCtl, FailsWhenItsOutputCannotBeWritten) {
    const Daemon daemon(path_, make_commands());
    for (const char* words : {"show", "show --watch"}) {
        const Outcome outcome = run_shell(prefix() + words + " 2>&1 >/dev/full");
        EXPECT_EQ(outcome.output, "culvert-ctl: cannot write the answer: No space left on device\n")
            << words;
        EXPECT_EQ(outcome.status, 2) << words;
    }
}

// ---- Watching -----------------------------------------------------------------------------------

/// The tool, running: its output is read as it comes.
class Running {
public:
    Running(const std::vector<std::string>& words, bool terminal) {
        int stdout_pipe[2] = {-1, -1};
        if (!terminal) {
            EXPECT_EQ(::pipe2(stdout_pipe, O_CLOEXEC), 0);
        }
        std::vector<std::string> all = {CULVERT_CTL_BINARY};
        all.insert(all.end(), words.begin(), words.end());
        std::vector<char*> arguments;
        for (std::string& word : all) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        pid_ = terminal ? ::forkpty(&output_, nullptr, nullptr, nullptr) : ::fork();
        if (pid_ == 0) {
            if (!terminal) {
                ::dup2(stdout_pipe[1], STDOUT_FILENO);
                ::dup2(stdout_pipe[1], STDERR_FILENO);
            }
            ::execv(arguments[0], arguments.data());
            ::_exit(99);
        }
        if (!terminal) {
            ::close(stdout_pipe[1]);
            output_ = stdout_pipe[0];
        }
    }
    ~Running() {
        ::close(output_);
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

    void send_signal(int signal) const { ::kill(pid_, signal); }

    /// Reads until `rounds` answers have come.
    void wait_for_rounds(unsigned rounds) {
        while (count("end of round") < rounds && read_more()) {
        }
        EXPECT_GE(count("end of round"), rounds) << text_;
    }
    /// Reads to the end and returns the exit status.
    int finish() {
        while (read_more()) {
        }
        int status = 0;
        EXPECT_EQ(::waitpid(std::exchange(pid_, -1), &status, 0) > 0, true);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] unsigned count(std::string_view what) const {
        unsigned found = 0;
        for (auto at = text_.find(what); at != std::string::npos; at = text_.find(what, at + 1)) {
            ++found;
        }
        return found;
    }

private:
    bool read_more() {
        std::array<char, 4096> buffer{};
        const ssize_t got = ::read(output_, buffer.data(), buffer.size());
        if (got <= 0) {
            return false;  // A terminal whose last process ended gives EIO.
        }
        text_.append(buffer.data(), static_cast<std::size_t>(got));
        return true;
    }

    pid_t pid_ = -1;
    int output_ = -1;
    std::string text_;
};

class CulvertCtlWatch : public CulvertCtl {
protected:
    static std::map<std::string, Command> watched() {
        std::map<std::string, Command> commands;
        commands["show"] = {"", 0, 9, [](const Arguments&) -> Result<std::string> {
                                return "first line\nend of round\n\n";
                            }};
        return commands;
    }
    [[nodiscard]] std::vector<std::string> words() const {
        return {"-s", path_, "show", "--watch", "0.1"};
    }
};

TEST_F(CulvertCtlWatch, PrintsRoundsApartAndEndsOnSignals) {
    const Daemon daemon(path_, watched());
    for (const int signal : {SIGINT, SIGTERM}) {
        Running tool(words(), false);
        tool.wait_for_rounds(3);
        tool.send_signal(signal);
        EXPECT_EQ(tool.finish(), 0);
        EXPECT_THAT(
            tool.text(),
            StartsWith("first line\nend of round\n\nfirst line\nend of round\n\nfirst line\n")
        );
        EXPECT_THAT(tool.text(), EndsWith("end of round\n"));
        EXPECT_THAT(tool.text(), Not(HasSubstr("\x1b")));
    }
}

TEST_F(CulvertCtlWatch, RedrawsATerminal) {
    const Daemon daemon(path_, watched());
    Running tool(words(), true);
    tool.wait_for_rounds(2);
    tool.send_signal(SIGINT);
    EXPECT_EQ(tool.finish(), 0);
    const std::string round = "first line\x1b[K\r\nend of round\x1b[K\r\n\x1b[J";
    EXPECT_THAT(tool.text(), StartsWith("\x1b[2J\x1b[H" + round + "\x1b[H" + round));
    EXPECT_EQ(tool.count("\x1b[2J"), 1U);
}

TEST_F(CulvertCtlWatch, EndsWhenTheDaemonStops) {
    Daemon daemon(path_, watched());
    Running tool(words(), false);
    tool.wait_for_rounds(2);
    daemon.stop();
    EXPECT_EQ(tool.finish(), 0);
    EXPECT_THAT(tool.text(), EndsWith("end of round\nculvert-ctl: culvertd has stopped\n"));
}

TEST_F(CulvertCtlWatch, ASignalEndsTheWaitForAnAnswer) {
    const FakeDaemon hanging(path_);
    Running tool(words(), false);
    const int client = hanging.accept();  // From here on the tool waits.
    tool.send_signal(SIGTERM);
    EXPECT_EQ(tool.finish(), 0);
    ::close(client);
    EXPECT_EQ(tool.text(), "");
}

// ---- Completion ---------------------------------------------------------------------------------

class CulvertCtlCompletion : public ::testing::Test {
protected:
    /// What bash offers for the last of `words`.
    static std::string offered(const std::string& words) {
        const std::string script = tests::source_dir() + "/ctl/completion/culvert-ctl.bash";
        const Outcome outcome = run_shell(
            "bash -c '. " + script + "; COMP_WORDS=(" CULVERT_CTL_BINARY " " + words +
            "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _culvert_ctl; echo \"${COMPREPLY[*]}\"'"
        );
        EXPECT_EQ(outcome.status, 0);
        return outcome.output;
    }
};

TEST_F(CulvertCtlCompletion, OffersCommandsOptionsAndValues) {
    EXPECT_EQ(offered("f"), "fdb flows firewall force-reload-kmod\n");
    EXPECT_EQ(offered("start --no-m"), "--no-mlockall --no-monitor\n");
    EXPECT_EQ(offered("fdb \"\""), "show flush --socket --format --timeout --watch --help\n");
    EXPECT_EQ(offered("show t"), "tunnel\n");
    EXPECT_EQ(offered("show tunnel t"), "\n");
    EXPECT_EQ(offered("-f json flows s"), "show\n");
    EXPECT_EQ(offered("flows show --l"), "--limit\n");
    EXPECT_EQ(offered("--format \"\""), "text json\n");
    EXPECT_EQ(offered("log set w"), "warning\n");
    EXPECT_EQ(offered("flows show --limit \"\""), "\n");
    EXPECT_EQ(offered("fdb show br0 --w"), "--watch\n");
    EXPECT_EQ(offered("enable-protocol v"), "vxlan vxlan-gpe\n");
    EXPECT_EQ(offered("enable-protocol gre --source 10.0.0.1 ge"), "geneve\n");
    EXPECT_EQ(offered("list-protocols --backend \"\""), "auto iptables-legacy nftables\n");
    EXPECT_EQ(offered("firewall e"), "explain\n");
    EXPECT_EQ(offered("nothing \"\""), "--socket --format --timeout --watch --help\n");
}

}  // namespace
}  // namespace culvert::ctl
