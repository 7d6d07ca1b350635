// SPDX-License-Identifier: GPL-2.0-or-later
//
// culvert-ctl: asks the running daemon over its control socket, and carries out itself what needs
// no daemon. The commands are a table in ctl_commands.cpp; this file turns it into a command line,
// requests and printed answers.
// Exit status: 0 done; 1 refused, or the answer is no; 2 wrong usage, or no answer.
// Knows nothing about what the daemon's answers mean: the daemon renders them.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "ctl/ctl_commands.hpp"
#include "ctl/local_command.hpp"
#include "ctl/unixctl_client.hpp"

#ifndef CULVERT_VERSION
#error "CULVERT_VERSION must be defined as a string, e.g. \"1.2.3\""
#endif

namespace culvert::ctl {
namespace {

constexpr const char* kDefaultSocket = "/run/culvert/culvertd.ctl";
constexpr unsigned kTimeoutMaxSeconds = 3600;
constexpr unsigned kNumberMax = 1'000'000'000;
constexpr double kWatchMinSeconds = 0.1;
constexpr double kWatchMaxSeconds = 3600;
constexpr const char* kCompletionCommand = "__words";

struct Settings {
    std::string socket = kDefaultSocket;
    std::string format = "text";
    unsigned timeout_s = 10;
    double watch_s = 1;
    bool watch = false;

    [[nodiscard]] bool json() const { return format == "json"; }
};

// ---- Asking and printing ------------------------------------------------------------------------

/// Readable once SIGINT or SIGTERM came while a command is watched. A descriptor and not a flag, so
/// that no signal is lost between the check and the wait.
int stop_fd = -1;

void complain(const std::string& sentence) {
    std::fprintf(stderr, "culvert-ctl: %s\n", sentence.c_str());
}

int report(const ClientError& error) {
    std::string sentence = error.text;
    if (error.failure == ClientFailure::not_running) {
        sentence += " (is culvertd running? Use --socket when it was started with another "
                    "[daemon] socket)";
    }
    complain(sentence);
    return error.failure == ClientFailure::answered ? kStatusRefused : kStatusUsage;
}

tl::expected<std::string, ClientError>
ask(const Settings& settings, const std::string& method, const Words& params) {
    return call_unixctl(settings.socket, method, params, settings.timeout_s * 1000, stop_fd);
}

/// Writes and flushes; whether all of it went out.
bool put(std::string_view text) {
    return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
           std::fflush(stdout) == 0;
}

/// Prints with exactly one newline at the end; an empty text prints nothing.
int print(std::string text) {
    text.erase(text.find_last_not_of('\n') + 1);
    if (!text.empty() && !put(text + "\n")) {
        complain(std::string("cannot write the answer: ") + std::strerror(errno));
        return kStatusUsage;
    }
    return kStatusDone;
}

std::string quote_json(std::string text) {
    text.erase(text.find_last_not_of('\n') + 1);
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Words with_format(const Settings& settings, const Words& params) {
    Words all;
    if (settings.json()) {
        all = {"--format", "json"};
    }
    all.insert(all.end(), params.begin(), params.end());
    return all;
}

// ---- Watching -----------------------------------------------------------------------------------

extern "C" void on_stop_signal(int) {
    const int saved_errno = errno;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t count = ::write(stop_fd, &one, sizeof(one));
    errno = saved_errno;
}

bool catch_stop_signals() {
    stop_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    ::sigemptyset(&action.sa_mask);
    // Without SA_RESTART: a write to a terminal or pipe that does not drain ends too.
    return stop_fd >= 0 && ::sigaction(SIGINT, &action, nullptr) == 0 &&
           ::sigaction(SIGTERM, &action, nullptr) == 0;
}

/// Waits for the next round; whether there is one.
bool wait_round(std::chrono::milliseconds pause) {
    const auto end = std::chrono::steady_clock::now() + pause;
    while (true) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        pollfd stop = {stop_fd, POLLIN, 0};
        const auto timeout_ms = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
        const int count = ::poll(&stop, 1, timeout_ms);
        if (count > 0) {
            return false;
        }
        if (count == 0) {
            return true;
        }
    }
}

bool stop_requested() {
    return !wait_round(std::chrono::milliseconds(0));
}

/// Overwrites the screen from its top: less flicker than clearing it first.
std::string redraw(const std::string& text, bool first_round) {
    std::string screen = first_round ? "\x1b[2J\x1b[H" : "\x1b[H";
    for (const char byte : text) {
        if (byte == '\n') {
            screen += "\x1b[K";
        }
        screen.push_back(byte);
    }
    return screen + "\x1b[J";
}

int watch(const Settings& settings, const CommandEntry& command, const Words& params) {
    if (!catch_stop_signals()) {
        complain(std::string("cannot catch signals: ") + std::strerror(errno));
        return kStatusUsage;
    }
    const auto pause = std::chrono::milliseconds(static_cast<int>(settings.watch_s * 1000));
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    for (bool first_round = true;; first_round = false) {
        auto answer = ask(settings, command.method, params);
        if (!answer.has_value()) {
            const ClientFailure failure = answer.error().failure;
            if (failure == ClientFailure::interrupted) {
                return kStatusDone;
            }
            if (!first_round &&
                (failure == ClientFailure::not_running || failure == ClientFailure::unreachable)) {
                complain("culvertd has stopped");
                return kStatusDone;
            }
            return report(answer.error());
        }
        std::string text = std::move(*answer);
        text.erase(text.find_last_not_of('\n') + 1);
        text.push_back('\n');
        if (!put(terminal ? redraw(text, first_round) : (first_round ? "" : "\n") + text)) {
            if (stop_requested()) {
                return kStatusDone;
            }
            complain(std::string("cannot write the answer: ") + std::strerror(errno));
            return kStatusUsage;
        }
        if (!wait_round(pause)) {
            return kStatusDone;
        }
    }
}

// ---- Commands -----------------------------------------------------------------------------------

int run_show(const Settings& settings, const CommandEntry& command, const Words& params) {
    const Words all = with_format(settings, params);
    if (settings.watch) {
        return watch(settings, command, all);
    }
    const auto answer = ask(settings, command.method, all);
    return answer.has_value() ? print(*answer) : report(answer.error());
}

int run_action(const Settings& settings, const CommandEntry& command, const Words& params) {
    const auto answer = ask(settings, command.method, params);
    if (!answer.has_value()) {
        return report(answer.error());
    }
    return print(settings.json() ? quote_json(*answer) : *answer);
}

int run_raw(const Settings& settings, const CommandEntry& command, const Words& params) {
    if (params.empty()) {
        complain("raw needs a METHOD (\"raw list-commands\" shows them)");
        return kStatusUsage;
    }
    CommandEntry called = command;
    called.method = params.front();
    return run_action(settings, called, Words(params.begin() + 1, params.end()));
}

int run_version(const Settings& settings, const CommandEntry& command, const Words& params) {
    const auto answer = ask(settings, command.method, params);
    if (!answer.has_value() && answer.error().failure != ClientFailure::not_running) {
        return report(answer.error());
    }
    if (settings.json()) {
        const std::string daemon = answer.has_value() ? quote_json(*answer) : "null";
        return print(
            "{\"culvert-ctl\":" + quote_json(CULVERT_VERSION) + ",\"culvertd\":" + daemon + "}"
        );
    }
    return print(
        std::string("culvert-ctl ") + CULVERT_VERSION + "\n" +
        (answer.has_value() ? *answer : "culvertd is not running at " + settings.socket)
    );
}

int run_local(const Settings& settings, const CommandEntry& command, LocalCall call) {
    call.format = settings.json() ? OutputFormat::json : OutputFormat::text;
    const LocalAnswer answer =
        run_local_command(command.method, call, [](firewall::BackendChoice choice) {
            return std::make_unique<firewall::HostFirewall>(choice);
        });
    for (const std::string& sentence : answer.complaints) {
        complain(sentence);
    }
    const bool quoted = settings.json() && answer.is_sentence && !answer.text.empty();
    const int printed = print(quoted ? quote_json(answer.text) : answer.text);
    return answer.status == kStatusDone ? printed : answer.status;
}

int run_command(const Settings& settings, const CommandEntry& command, const Words& params) {
    switch (command.kind) {
    case CommandKind::show:
        return run_show(settings, command, params);
    case CommandKind::action:
        return run_action(settings, command, params);
    case CommandKind::version:
        return run_version(settings, command, params);
    case CommandKind::raw:
        return run_raw(settings, command, params);
    case CommandKind::local:
    case CommandKind::help:
        break;
    }
    return kStatusUsage;
}

// ---- The command line ---------------------------------------------------------------------------

/// The parsed values of a command, in the order of the request: options, then arguments.
Words collect_params(const CLI::App& app, const CommandEntry& command) {
    Words params;
    for (const OptionEntry& entry : command.options) {
        const CLI::Option* option = app.get_option(entry.name);
        if (option->count() == 0) {
            continue;
        }
        params.push_back(entry.name);
        if (!entry.value.empty()) {
            params.push_back(option->results().back());
        }
    }
    for (const ArgumentEntry& entry : command.arguments) {
        const CLI::Option* argument = app.get_option(entry.name);
        params.insert(params.end(), argument->results().begin(), argument->results().end());
    }
    const Words rest = app.remaining();
    params.insert(params.end(), rest.begin(), rest.end());
    return params;
}

/// What was typed, for a command that the tool carries out itself.
LocalCall collect_call(const CLI::App& app, const CommandEntry& command) {
    LocalCall call;
    for (const OptionEntry& entry : command.options) {
        const CLI::Option* option = app.get_option(entry.name);
        if (option->count() != 0) {
            const bool flag = entry.value.empty() && !entry.toggle;
            call.options[entry.name] = flag ? Words{} : option->results();
        }
        if (entry.toggle && app.get_option("--no-" + entry.name.substr(2))->count() != 0) {
            call.options["--no-" + entry.name.substr(2)] = {};
        }
    }
    for (const ArgumentEntry& entry : command.arguments) {
        const Words& words = app.get_option(entry.name)->results();
        call.arguments.insert(call.arguments.end(), words.begin(), words.end());
    }
    return call;
}

CLI::App& find_or_add_group(CLI::App& root, const std::string& name) {
    const auto known =
        root.get_subcommands([&](const CLI::App* app) { return app->get_name() == name; });
    if (!known.empty()) {
        return *known.front();
    }
    CLI::App* group = root.add_subcommand(name, group_help(name));
    group->require_subcommand(1)->fallthrough();
    return *group;
}

void add_command(CLI::App& root, const CommandEntry& command) {
    CLI::App* parent = &root;
    std::string word = command.words;
    if (const auto space = word.find(' '); space != std::string::npos) {
        const std::string group = word.substr(0, space);
        word.erase(0, space + 1);
        parent = &find_or_add_group(root, group);
    }
    CLI::App* app = parent->add_subcommand(word, command.help);
    if (command.kind == CommandKind::raw) {
        app->prefix_command();
        return;
    }
    app->fallthrough();
    for (const ArgumentEntry& entry : command.arguments) {
        CLI::Option* argument = app->add_option(entry.name, entry.help)->required(entry.required);
        if (!entry.choices.empty()) {
            argument->check(CLI::IsMember(entry.choices));
        }
        if (entry.repeated) {
            argument->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args();
        }
    }
    for (const OptionEntry& entry : command.options) {
        if (entry.toggle) {
            app->add_option(entry.name, entry.help)
                ->expected(0, 1)
                ->type_name("")
                ->default_str("yes")
                ->check(CLI::IsMember({"yes", "no"}).description(""));
            app->add_flag("--no-" + entry.name.substr(2));
        } else if (entry.value.empty()) {
            app->add_flag(entry.name, entry.help);
        } else {
            CLI::Option* option = app->add_option(entry.name, entry.help);
            option->type_name(entry.value)->required(entry.required);
            if (entry.number) {
                option->check(CLI::Range(0U, kNumberMax).description(""));
            }
            if (!entry.choices.empty()) {
                option->check(CLI::IsMember(entry.choices).description(""));
            }
            if (entry.repeated) {
                option->take_all();
            }
        }
    }
}

void add_settings(CLI::App& root, Settings& settings) {
    root.add_option("-s,--socket", settings.socket, "The daemon's control socket")
        ->envname("CULVERT_SOCKET")
        ->type_name("PATH")
        ->capture_default_str();
    root.add_option("-f,--format", settings.format, "How answers are printed: text or json")
        ->check(CLI::IsMember({"text", "json"}).description(""))
        ->type_name("FORMAT")
        ->capture_default_str();
    root.add_option("-t,--timeout", settings.timeout_s, "How long to wait for an answer")
        ->check(CLI::Range(1U, kTimeoutMaxSeconds).description(""))
        ->type_name("SECONDS")
        ->capture_default_str();
    root.add_option(
            "-w,--watch",
            settings.watch_s,
            "Repeat a command that shows something, every second or every SECONDS"
    )
        ->expected(0, 1)
        ->check(CLI::Range(kWatchMinSeconds, kWatchMaxSeconds).description(""))
        ->type_name("[SECONDS]");
}

/// The last command or group that was recognised.
const CLI::App& deepest(const CLI::App& root) {
    const CLI::App* app = &root;
    while (!app->get_subcommands().empty()) {
        app = app->get_subcommands().front();
    }
    return *app;
}

/// The words that were recognised, e.g. "fdb" or "fdb show"; empty for the tool itself.
std::string words_of(const CLI::App& root, const CLI::App& app) {
    if (&app == &root) {
        return "";
    }
    const std::string group = words_of(root, *app.get_parent());
    return group.empty() ? app.get_name() : group + " " + app.get_name();
}

/// One sentence about wrong usage.
std::string explain(const CLI::App& root, const CLI::ParseError& error) {
    const std::string words = words_of(root, deepest(root));
    const std::string hint = " (see culvert-ctl " + words + (words.empty() ? "" : " ") + "--help)";
    const int code = error.get_exit_code();
    if (code != static_cast<int>(CLI::ExitCodes::ExtrasError) &&
        code != static_cast<int>(CLI::ExitCodes::RequiredError)) {
        return error.what() + hint;
    }
    // A word that nothing took: what CLI11 then misses is a consequence.
    const Words rest = root.remaining(true);
    if (!rest.empty() && rest.front().starts_with('-')) {
        return "there is no option \"" + rest.front() + "\"" + hint;
    }
    if (find_command(words) != nullptr) {
        return rest.empty() ? error.what() + hint
                            : "\"" + words + "\" does not take \"" + rest.front() + "\"" + hint;
    }
    std::string valid;
    for (const std::string& word : next_words(words)) {
        valid += (valid.empty() ? "" : ", ") + word;
    }
    if (rest.empty()) {
        return (words.empty() ? "a command is missing" : "\"" + words + "\" needs a command") +
               ", one of " + valid;
    }
    return "there is no command \"" + words + (words.empty() ? "" : " ") + rest.front() +
           "\", only " + valid;
}

int run(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == kCompletionCommand) {
        for (const std::string& word : complete(Words(argv + 2, argv + argc))) {
            std::printf("%s\n", word.c_str());
        }
        return kStatusDone;
    }
    CLI::App root(
        "Asks a running culvertd what it does, or to do something; opens the host's firewall.",
        "culvert-ctl"
    );
    root.require_subcommand(1);
    root.footer("Options may stand before or after the command; COMMAND --help tells more.\n"
                "Exit status: 0 done, 1 refused or no, 2 wrong usage or no answer.");
    Settings settings;
    add_settings(root, settings);
    for (const CommandEntry& command : commands()) {
        add_command(root, command);
    }
    try {
        root.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            return root.exit(error);  // --help
        }
        complain(explain(root, error));
        return kStatusUsage;
    }

    const CLI::App& app = deepest(root);
    const std::string words = words_of(root, app);
    const CommandEntry& command = *find_command(words);
    settings.watch = root.get_option("--watch")->count() != 0;
    if (settings.watch && command.kind != CommandKind::show) {
        complain("--watch repeats commands that show something; \"" + words + "\" does not");
        return kStatusUsage;
    }
    if (command.kind == CommandKind::help) {
        return print(root.help());
    }
    return command.kind == CommandKind::local
               ? run_local(settings, command, collect_call(app, command))
               : run_command(settings, command, collect_params(app, command));
}

}  // namespace
}  // namespace culvert::ctl

int main(int argc, char** argv) {
    try {
        return culvert::ctl::run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "culvert-ctl: %s\n", error.what());
        return 2;
    }
}
