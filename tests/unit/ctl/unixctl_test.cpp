// SPDX-License-Identifier: GPL-2.0-or-later
//
// The control socket: single requests, the server with well and badly behaved clients, our own
// client, and OVS's ovs-appctl as an independent one.
#include "ctl/unixctl.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/eventfd.h>

#include "tests/unit/ctl/unixctl_commands.hpp"
#include "tests/unit/ctl/unixctl_fixture.hpp"

namespace culvert::ctl {
namespace {

using testing::Answer;
using testing::ask;
using testing::Daemon;
using ::testing::ElementsAre;
using testing::FakeDaemon;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::make_address;
using testing::make_commands;
using testing::mode_of;
using testing::Outcome;
using testing::parse_answer;
using testing::RawClient;
using testing::request;
using testing::run_shell;
using ::testing::StartsWith;
using testing::TemporaryFolder;

// ---- One request --------------------------------------------------------------------------------

TEST(UnixctlRequest, AnswersWithTheResultAndItsOwnId) {
    for (const char* id : {"0", "null", "\"a\"", "[1,{\"x\":2}]", "-1.5", "true"}) {
        const std::string text =
            "{\"method\":\"echo\",\"params\":[\"a b\",\"\"],\"id\":" + std::string(id) + "}";
        EXPECT_EQ(
            answer_request(make_commands(), text),
            "{\"id\":" + std::string(id) + ",\"result\":\"<a b><>\\n\",\"error\":null}"
        );
    }
}

TEST(UnixctlRequest, AnswersWithTheErrorOfTheCommand) {
    EXPECT_EQ(
        answer_request(make_commands(), request("fail", {}, 7)),
        "{\"id\":7,\"result\":null,\"error\":\"there is no bridge \\\"br9\\\"\\n\"}"
    );
}

TEST(UnixctlRequest, EmptyResultStaysEmpty) {
    EXPECT_EQ(ask("echo", {}).result, "");
}

TEST(UnixctlRequest, RefusesUnknownCommands) {
    EXPECT_EQ(
        ask("foo", {}).error,
        "\"foo\" is not a valid command (use \"list-commands\" to see a list of valid commands)\n"
    );
}

TEST(UnixctlRequest, ChecksTheNumberOfArguments) {
    EXPECT_EQ(ask("fdb/show", {"br0"}).result, "<br0>\n");
    EXPECT_EQ(
        ask("fdb/show", {"br0", "br1"}).error, "\"fdb/show\" command takes at most 1 arguments\n"
    );
    EXPECT_EQ(ask("log/set", {}).error, "\"log/set\" command requires at least 1 arguments\n");
}

TEST(UnixctlRequest, OptionsDoNotCountAsArguments) {
    EXPECT_EQ(ask("fdb/show", {"--format", "json", "br0"}).result, "<--format><json><br0>\n");
    EXPECT_EQ(ask("flows/show", {"--all", "--limit", "5"}).result, "<--all><--limit><5>\n");
    EXPECT_EQ(
        ask("flows/show", {"--all", "5"}).error,
        "\"flows/show\" command takes at most 0 arguments\n"
    );
}

TEST(UnixctlRequest, RefusesUnknownOptionsAndMissingValues) {
    EXPECT_EQ(
        ask("fdb/show", {"--limit", "5"}).error,
        "\"fdb/show\" command has no option \"--limit\" (it takes --format text|json)\n"
    );
    EXPECT_EQ(
        ask("flows/show", {"--limit"}).error,
        "\"flows/show\" command option \"--limit\" needs a value (--limit N)\n"
    );
    EXPECT_EQ(
        ask("flows/show", {"--limit", "--all"}).error,
        "\"flows/show\" command option \"--limit\" needs a value (--limit N)\n"
    );
}

TEST(UnixctlRequest, WithoutOptionsDashedWordsAreArguments) {
    EXPECT_EQ(ask("echo", {"--format", "--x"}).result, "<--format><--x>\n");
    EXPECT_EQ(
        ask("log/set", {"--format", "json"}).error,
        "\"log/set\" command takes at most 1 arguments\n"
    );
}

TEST(UnixctlRequest, RefusesArgumentsThatAreNotStrings) {
    const auto answer =
        parse_answer(answer_request(make_commands(), R"({"id":1,"method":"echo","params":["a",2]})")
        );
    EXPECT_EQ(answer.error, "\"echo\" command has non-string argument\n");
}

TEST(UnixctlRequest, ExceptionsOfCommandsBecomeErrors) {
    EXPECT_EQ(ask("explode", {}).error, "\"explode\" command failed: out of cheese\n");
}

TEST(UnixctlRequest, RefusesMessagesThatAreNoRequests) {
    for (const auto& [text, sentence] : std::vector<std::pair<std::string, std::string>>{
             {"", "a request is one JSON object\n"},
             {"[]", "a request is a JSON object, not an array\n"},
             {"{}{}", "a request is one JSON object\n"},
             {"{}{", "a request is one JSON object\n"},
             {"{\"id\":1", "a request is one JSON object\n"},
             {"{\"id\":}", "a message is not valid JSON\n"},
             {"hello", "a message starts with \"h\", not with \"{\"\n"},
             {"{}x", "a message starts with \"x\", not with \"{\"\n"},
             {"{}", "the request has no \"id\"\n"},
             {"{\"id\":1}", "the request has no \"method\" string\n"},
             {"{\"id\":1,\"method\":2}", "the request has no \"method\" string\n"},
             {"{\"id\":1,\"method\":\"echo\"}", "the request has no \"params\" array\n"},
             {"{\"id\":1,\"method\":\"echo\",\"params\":{}}",
              "the request has no \"params\" array\n"},
             {std::string(100, '[') + std::string(100, ']'),
              "a message nests more than 32 objects and arrays\n"}}) {
        EXPECT_EQ(parse_answer(answer_request(make_commands(), text)).error, sentence) << text;
    }
}

TEST(UnixctlRequest, ResultsThatAreNotUtf8AreRepaired) {
    std::map<std::string, Command> commands;
    commands["bad"] = {"", 0, 0, [](const Arguments&) -> Result<std::string> { return "a\xff"; }};
    EXPECT_EQ(parse_answer(answer_request(commands, request("bad", {}))).result, "a\xef\xbf\xbd\n");
}

TEST(UnixctlRequest, ListsCommandsWithTheirUsage) {
    EXPECT_EQ(
        ask("list-commands", {}).result,
        "The available commands are:\n"
        "  echo                    [WORD]...\n"
        "  explode\n"
        "  fail\n"
        "  fdb/show                [--format text|json] [BRIDGE]\n"
        "  flows/show              [--format text|json] [--limit N] [--all]\n"
        "  list-commands\n"
        "  log/set                 LEVEL\n"
        "  size                    BYTES\n"
    );
    EXPECT_EQ(
        ask("list-commands", {"x"}).error, "\"list-commands\" command takes at most 0 arguments\n"
    );
}

TEST(UnixctlArguments, OptionsAreTakenOut) {
    Arguments arguments = {"--format", "json", "br0", "--limit", "5", "--all", "--limit", "6"};
    EXPECT_EQ(take_option(arguments, "--limit"), "6");
    EXPECT_EQ(take_option(arguments, "--limit"), std::nullopt);
    EXPECT_TRUE(take_flag(arguments, "--all"));
    EXPECT_FALSE(take_flag(arguments, "--all"));
    EXPECT_EQ(take_format(arguments), OutputFormat::json);
    EXPECT_EQ(take_format(arguments), OutputFormat::text);
    EXPECT_THAT(arguments, ElementsAre("br0"));
}

TEST(UnixctlArguments, BadFormatNamesTheValidOnes) {
    Arguments arguments = {"--format", "xml"};
    const auto format = take_format(arguments);
    ASSERT_FALSE(format.has_value());
    EXPECT_EQ(format.error(), "format \"xml\" is not one of text, json");
}

// ---- The server ---------------------------------------------------------------------------------

class Unixctl : public ::testing::Test {
protected:
    const TemporaryFolder folder_;
    const std::string path_ = folder_.file("culvertd.ctl");
};

TEST_F(Unixctl, AnswersSeveralRequestsInOrderAndThenTheHalfClose) {
    const Daemon daemon(path_, make_commands());
    const RawClient client(path_);
    client.send(request("echo", {"a"}, 1) + request("fail", {}, 2) + "\n" + request("x", {}, 3));
    client.half_close();
    EXPECT_EQ(
        client.receive_to_end(),
        "{\"id\":1,\"result\":\"<a>\\n\",\"error\":null}"
        "{\"id\":2,\"result\":null,\"error\":\"there is no bridge \\\"br9\\\"\\n\"}"
        "{\"id\":3,\"result\":null,\"error\":\"\\\"x\\\" is not a valid command "
        "(use \\\"list-commands\\\" to see a list of valid commands)\\n\"}"
    );
}

TEST_F(Unixctl, AnswersRequestsThatArriveByteByByte) {
    const Daemon daemon(path_, make_commands());
    const RawClient client(path_);
    const std::string text = request("echo", {"a"}, 1);
    for (int round = 0; round < 2; ++round) {
        for (const char byte : text) {
            client.send({&byte, 1});
        }
        const std::string expected = "{\"id\":1,\"result\":\"<a>\\n\",\"error\":null}";
        EXPECT_EQ(client.receive_exactly(expected.size()), expected);
    }
}

TEST_F(Unixctl, RefusesTheRestOfABrokenStream) {
    const Daemon daemon(path_, make_commands());
    const RawClient client(path_);
    client.send(request("echo", {"a"}, 1) + "GET /" + request("echo", {"b"}, 2));
    EXPECT_EQ(
        client.receive_to_end(),
        "{\"id\":1,\"result\":\"<a>\\n\",\"error\":null}"
        "{\"id\":null,\"result\":null,"
        "\"error\":\"a message starts with \\\"G\\\", not with \\\"{\\\"\\n\"}"
    );
}

TEST_F(Unixctl, RefusesARequestThatEndsInItsMiddle) {
    const Daemon daemon(path_, make_commands());
    const RawClient client(path_);
    client.send("{\"id\":1,");
    client.half_close();
    EXPECT_THAT(client.receive_to_end(), HasSubstr("the request ends in its middle"));
}

TEST_F(Unixctl, TakesARequestOfOneMebibyteAndRefusesALongerOne) {
    const Daemon daemon(path_, make_commands());
    const std::size_t overhead = request("echo", {""}).size();
    const std::string longest((std::size_t{1} << 20U) - overhead, 'a');
    {
        const RawClient client(path_);
        client.send_some(request("echo", {longest}));
        client.half_close();
        EXPECT_EQ(parse_answer(client.receive_to_end()).result, "<" + longest + ">\n");
    }
    const RawClient client(path_);
    client.send_some(request("echo", {longest + "a"}));
    EXPECT_EQ(
        parse_answer(client.receive_to_end()).error, "a message is longer than 1048576 bytes\n"
    );
}

TEST_F(Unixctl, SlowReaderGetsEverythingAndDelaysNobody) {
    const Daemon daemon(path_, make_commands());
    const RawClient slow(path_);
    constexpr std::size_t kBytes = 4'000'000;  // Far more than a socket buffers.
    const std::string big = request("size", {std::to_string(kBytes)}, 1);
    slow.send(big + big + request("echo", {"end"}, 2));
    slow.half_close();
    EXPECT_EQ(slow.receive(1), "{");

    const RawClient quick(path_);
    quick.send(request("echo", {"q"}));
    EXPECT_THAT(quick.receive(), HasSubstr("<q>"));

    const std::string all = slow.receive_to_end();
    EXPECT_EQ(static_cast<std::size_t>(std::count(all.begin(), all.end(), 'x')), 2 * kBytes);
    EXPECT_THAT(all.substr(all.size() - 60), HasSubstr("{\"id\":2,\"result\":\"<end>\\n\""));
}

TEST_F(Unixctl, ClientThatLeavesWithoutReadingHurtsNobody) {
    const Daemon daemon(path_, make_commands());
    {
        const RawClient rude(path_);
        rude.send(request("size", {"4000000"}) + request("size", {"4000000"}));
        EXPECT_EQ(rude.receive(1), "{");
    }
    const RawClient client(path_);
    client.send(request("echo", {"ok"}));
    EXPECT_THAT(client.receive(), HasSubstr("<ok>"));
}

TEST_F(Unixctl, ClosesClientsThatStallButNotIdleOnes) {
    UnixctlLimits limits;
    limits.stall_max = std::chrono::milliseconds(30);
    const Daemon daemon(path_, make_commands(), limits);
    const RawClient idle(path_);
    const RawClient idle_after_answer(path_);
    idle_after_answer.send(request("echo", {"1"}));
    EXPECT_THAT(idle_after_answer.receive(), HasSubstr("<1>"));

    const RawClient half_request(path_);
    half_request.send("{\"id\":");
    const RawClient never_reads(path_);
    never_reads.send(request("size", {"4000000"}));
    EXPECT_TRUE(half_request.closed());
    const RawClient second_half_request(path_);
    second_half_request.send("{");
    EXPECT_TRUE(second_half_request.closed());
    // What the socket had buffered still comes, but not the whole answer.
    EXPECT_LT(never_reads.receive_to_end().size(), 4'000'000U);

    idle.send(request("echo", {"2"}));
    EXPECT_THAT(idle.receive(), HasSubstr("<2>"));
    idle_after_answer.send(request("echo", {"3"}));
    EXPECT_THAT(idle_after_answer.receive(), HasSubstr("<3>"));
}

TEST_F(Unixctl, TellsAClientTooManyAndTakesTheNextWhenOneLeft) {
    const Daemon daemon(path_, make_commands());
    std::vector<std::unique_ptr<RawClient>> clients;
    for (unsigned i = 0; i < 32; ++i) {
        clients.push_back(std::make_unique<RawClient>(path_));
        clients.back()->send(request("echo", {"in"}));
        EXPECT_THAT(clients.back()->receive(), HasSubstr("<in>"));
    }
    const std::string full = "culvertd serves 32 clients at once";
    EXPECT_THAT(RawClient(path_).receive_to_end(), HasSubstr(full));
    const auto refused = call_unixctl(path_, "echo", {}, 20'000);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().failure, ClientFailure::answered);
    EXPECT_THAT(refused.error().text, StartsWith(full));

    clients.pop_back();
    // The server notices soon; until then it refuses.
    auto answer = call_unixctl(path_, "echo", {"now"}, 20'000);
    for (int tries = 0; !answer.has_value() && tries < 10'000; ++tries) {
        std::this_thread::yield();
        answer = call_unixctl(path_, "echo", {"now"}, 20'000);
    }
    EXPECT_EQ(answer.value_or(""), "<now>\n");
}

TEST_F(Unixctl, StoppingClosesClientsAndRemovesTheSocket) {
    Daemon daemon(path_, make_commands());
    const RawClient idle(path_);
    idle.send(request("echo", {"1"}));
    EXPECT_THAT(idle.receive(), HasSubstr("<1>"));
    const RawClient writing(path_);
    writing.send(request("size", {"4000000"}));
    EXPECT_EQ(writing.receive(1), "{");
    daemon.stop();
    EXPECT_TRUE(idle.closed());
    EXPECT_LT(writing.receive_to_end().size(), 4'000'000U);
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Unixctl, CommandMayStopTheServer) {
    Daemon* running = nullptr;
    auto commands = make_commands();
    commands["exit"] = {"", 0, 0, [&](const Arguments&) -> Result<std::string> {
                            running->stop_from_handler();
                            return "";
                        }};
    Daemon daemon(path_, commands);
    running = &daemon;
    const RawClient client(path_);
    client.send(request("exit", {}) + request("echo", {"after"}));
    EXPECT_EQ(client.receive_to_end(), "");
    EXPECT_FALSE(std::filesystem::exists(path_));
}

// ---- The socket's file --------------------------------------------------------------------------

std::string open_error(const std::string& path) {
    boost::asio::io_context io;
    const auto opened = UnixctlServer::open(io, path, {});
    EXPECT_FALSE(opened.has_value()) << path;
    return opened.has_value() ? "" : opened.error();
}

TEST_F(Unixctl, CreatesFolderAndSocketWithTheirModesWhateverTheUmask) {
    const std::string path = folder_.file("run/culvertd.ctl");
    for (const mode_t mask : {mode_t{0}, mode_t{022}, mode_t{077}}) {
        const mode_t old_mask = ::umask(mask);
        boost::asio::io_context io;
        const auto server = UnixctlServer::open(io, path, {});
        ::umask(old_mask);
        ASSERT_TRUE(server.has_value()) << server.error();
        EXPECT_EQ(mode_of(path), 0660U);
        EXPECT_EQ(mode_of(folder_.file("run")), 0755U);
        std::filesystem::remove_all(folder_.file("run"));
    }
}

TEST_F(Unixctl, ReplacesAStaleSocket) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un address = make_address(path_);
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ::close(fd);  // Leaves the file, as a killed process does.
    ASSERT_TRUE(std::filesystem::exists(path_));
    const auto stale = call_unixctl(path_, "echo", {}, 20'000);
    ASSERT_FALSE(stale.has_value());
    EXPECT_EQ(stale.error().failure, ClientFailure::not_running);
    EXPECT_EQ(
        stale.error().text,
        "cannot reach culvertd at " + path_ + ": the socket is left over, nobody listens on it"
    );

    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(call_unixctl(path_, "echo", {"a"}, 20'000).value_or(""), "<a>\n");
}

TEST_F(Unixctl, LeavesALiveSocketAlone) {
    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(
        open_error(path_),
        "cannot create control socket \"" + path_ +
            "\": a running process listens there (stop it or choose another path)"
    );
    EXPECT_EQ(call_unixctl(path_, "echo", {"a"}, 20'000).value_or(""), "<a>\n");
}

TEST_F(Unixctl, LeavesOtherFilesAlone) {
    std::ofstream(path_) << "precious";
    EXPECT_THAT(open_error(path_), HasSubstr("a file that is not a socket is there"));
    EXPECT_EQ(std::filesystem::file_size(path_), 8U);
}

TEST_F(Unixctl, DoesNotRemoveAnotherProcessesSocket) {
    Daemon daemon(path_, make_commands());
    ASSERT_TRUE(std::filesystem::remove(path_));
    const Daemon successor(path_, make_commands());
    daemon.stop();
    EXPECT_EQ(call_unixctl(path_, "echo", {"a"}, 20'000).value_or(""), "<a>\n");
}

TEST_F(Unixctl, NamesWhatIsWrongWithThePath) {
    const std::string long_path = "/tmp/" + std::string(103, 'a');
    EXPECT_EQ(
        open_error(long_path),
        "control socket \"" + long_path + "\" has 108 characters; a socket's path has 1 to 107"
    );
    EXPECT_THAT(open_error(""), HasSubstr("has 0 characters"));
    EXPECT_EQ(
        open_error(folder_.file("a/b/c.ctl")),
        "cannot create the folder of control socket \"" + folder_.file("a/b/c.ctl") +
            "\": No such file or directory"
    );
    std::ofstream(folder_.file("plain")) << "x";
    EXPECT_THAT(open_error(folder_.file("plain/c.ctl")), HasSubstr("Not a directory"));
}

// ---- Our client ---------------------------------------------------------------------------------

TEST_F(Unixctl, ClientGetsResultsAndErrors) {
    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(
        call_unixctl(path_, "echo", {"a", "b\nc", "\xc3\xa4"}, 20'000).value_or(""),
        "<a><b\nc><\xc3\xa4>\n"
    );
    EXPECT_EQ(call_unixctl(path_, "echo", {}, 20'000).value_or("?"), "");
    const auto failed = call_unixctl(path_, "fail", {}, 20'000);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().failure, ClientFailure::answered);
    EXPECT_EQ(failed.error().text, "there is no bridge \"br9\"");
}

TEST_F(Unixctl, ClientTakesBigAnswersAndSendsBigRequests) {
    const Daemon daemon(path_, make_commands());
    EXPECT_EQ(call_unixctl(path_, "size", {"2000000"}, 60'000).value_or("").size(), 2'000'001U);
    const auto refused = call_unixctl(path_, "echo", {std::string(1'500'000, 'a')}, 60'000);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().text, "a message is longer than 1048576 bytes");
}

TEST_F(Unixctl, ClientSaysWhenThereIsNoSocket) {
    const auto answer = call_unixctl(path_, "echo", {}, 20'000);
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().failure, ClientFailure::not_running);
    EXPECT_EQ(answer.error().text, "cannot reach culvertd at " + path_ + ": no such socket");
}

TEST_F(Unixctl, ClientSaysWhenItMayNotConnect) {
    const Daemon daemon(path_, make_commands());
    ASSERT_EQ(::chmod(path_.c_str(), 0), 0);
    constexpr uid_t kNobody = 65534;
    const bool privileged = ::geteuid() == 0;  // Permissions do not stop root.
    if (privileged) {
        ASSERT_EQ(::seteuid(kNobody), 0);
    }
    const auto answer = call_unixctl(path_, "echo", {}, 20'000);
    if (privileged) {
        ASSERT_EQ(::seteuid(0), 0);
    }
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().failure, ClientFailure::unreachable);
    EXPECT_THAT(answer.error().text, HasSubstr("permission denied"));
}

TEST_F(Unixctl, ClientGivesUpOnADaemonThatHangs) {
    const FakeDaemon hanging(path_);
    const auto answer = call_unixctl(path_, "echo", {}, 20);
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().failure, ClientFailure::timed_out);
    EXPECT_EQ(answer.error().text, "culvertd at " + path_ + " did not answer within 20 ms");

    // The same when not even the connection is taken: the listen queue is full.
    const RawClient first(path_);
    const auto full = call_unixctl(path_, "echo", {}, 20);
    ASSERT_FALSE(full.has_value());
    EXPECT_EQ(full.error().failure, ClientFailure::timed_out);
}

TEST_F(Unixctl, ClientEndsItsWaitWhenInterrupted) {
    const FakeDaemon hanging(path_);
    const int interrupt = ::eventfd(1, EFD_CLOEXEC);
    const auto answer = call_unixctl(path_, "echo", {}, 600'000, interrupt);
    ::close(interrupt);
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().failure, ClientFailure::interrupted);
}

TEST_F(Unixctl, ClientSaysWhenTheAnswerIsNoAnswer) {
    const FakeDaemon fake(path_);
    for (const auto& [bytes, sentence] : std::vector<std::pair<std::string, std::string>>{
             {"", "it closed the connection without an answer"},
             {"{\"id\":0,", "it closed the connection without an answer"},
             {"SSH-2.0\r\n", "it is not a control socket: a message starts with \"S\""},
             {"{\"id\":0}", "its answer has neither a result nor an error text"},
             {"{\"id\":0,\"result\":5,\"error\":null}", "its answer has neither a result"},
             {"{\"id\":9,\"result\":\"for another\",\"error\":null}[]", "without an answer"}}) {
        std::thread daemon = fake.answer_once(bytes);
        const auto answer = call_unixctl(path_, "echo", {}, 20'000);
        daemon.join();
        ASSERT_FALSE(answer.has_value()) << bytes;
        EXPECT_EQ(answer.error().failure, ClientFailure::unreachable) << bytes;
        EXPECT_THAT(answer.error().text, HasSubstr(sentence)) << bytes;
    }
}

TEST_F(Unixctl, ClientSkipsMessagesThatAreNotItsAnswer) {
    const FakeDaemon fake(path_);
    std::thread daemon = fake.answer_once("{\"id\":null,\"method\":\"update\",\"params\":[]}{"
                                          "\"id\":0,\"result\":\"yes\",\"error\":null}");
    const auto answer = call_unixctl(path_, "echo", {}, 20'000);
    daemon.join();
    EXPECT_EQ(answer.value_or(""), "yes");
}

// ---- OVS's client -------------------------------------------------------------------------------

class OvsAppctl : public Unixctl {
protected:
    void SetUp() override {
        ASSERT_EQ(run_shell("command -v ovs-appctl").status, 0)
            << "ovs-appctl is not installed: this test needs the package openvswitch-common";
    }

    [[nodiscard]] Outcome appctl(const std::string& words) const {
        return run_shell("ovs-appctl -t '" + path_ + "' " + words + " 2>&1");
    }

    const Daemon daemon_{path_, make_commands()};
};

TEST_F(OvsAppctl, PrintsResults) {
    const Outcome outcome = appctl("echo a 'b c'");
    EXPECT_EQ(outcome.output, "<a><b c>\n");
    EXPECT_EQ(outcome.status, 0);
}

TEST_F(OvsAppctl, ListsCommands) {
    const Outcome outcome = appctl("list-commands");
    EXPECT_THAT(outcome.output, StartsWith("The available commands are:\n  echo "));
    EXPECT_EQ(outcome.status, 0);
}

TEST_F(OvsAppctl, PrintsErrorsAndFails) {
    const Outcome outcome = appctl("log/set");
    EXPECT_THAT(
        outcome.output,
        StartsWith("\"log/set\" command requires at least 1 arguments\novs-appctl: ")
    );
    EXPECT_THAT(outcome.output, HasSubstr("server returned an error"));
    EXPECT_EQ(outcome.status, 2);
}

TEST_F(OvsAppctl, PassesOptionsAfterTheCommand) {
    EXPECT_EQ(appctl("fdb/show --format json br0").output, "<--format><json><br0>\n");
}

TEST_F(OvsAppctl, TakesBigAnswers) {
    const Outcome outcome = appctl("size 3000000 | wc -c");
    EXPECT_EQ(outcome.output, "3000001\n");
}

}  // namespace
}  // namespace culvert::ctl
