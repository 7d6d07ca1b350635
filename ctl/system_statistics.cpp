// SPDX-License-Identifier: GPL-2.0-or-later
//
// See system_statistics.hpp. Who holds a pidfile is read from the kernel's table of locks: opening
// and closing the file would take the lock from a process whose own pidfile it is (fcntl(2)), this
// one's not least.
#include "ctl/system_statistics.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <mntent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace culvert::ctl {

namespace {

using Figures = std::map<std::string, std::string>;
/// Device and inode of a locked file -> who holds it.
using Locks = std::map<std::pair<dev_t, ino_t>, int>;

constexpr std::string_view kPidSuffix = ".pid";
constexpr std::uint64_t kKilobyte = 1024;

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return file ? text.str() : std::string();
}

void add_load(Figures& figures) {
    std::array<double, 3> load{};
    if (::getloadavg(load.data(), load.size()) == static_cast<int>(load.size())) {
        figures["load_average"] = fmt::format("{:.2f},{:.2f},{:.2f}", load[0], load[1], load[2]);
    }
}

void add_memory(const std::string& proc, Figures& figures) {
    std::map<std::string, std::uint64_t> kilobytes;
    std::istringstream lines(read_file(proc + "/meminfo"));
    for (std::string line; std::getline(lines, line);) {
        const std::size_t colon = line.find(':');
        if (colon != std::string::npos) {
            kilobytes[line.substr(0, colon)] = std::strtoull(line.c_str() + colon + 1, nullptr, 10);
        }
    }
    if (kilobytes.contains("MemTotal")) {
        figures["memory"] = fmt::format(
            "{},{},{},{},{}",
            kilobytes["MemTotal"],
            kilobytes["MemTotal"] - kilobytes["MemFree"],
            kilobytes["Buffers"] + kilobytes["Cached"],
            kilobytes["SwapTotal"],
            kilobytes["SwapTotal"] - kilobytes["SwapFree"]
        );
    }
}

/// "1: POSIX  ADVISORY  WRITE 4711 fe:00:10985587 0 EOF" (proc_locks(5)).
Locks read_locks(const std::string& proc) {
    Locks locks;
    std::istringstream lines(read_file(proc + "/locks"));
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string number;
        std::string kind;
        std::string manner;
        std::string access;
        int pid = 0;
        std::string file;
        if (!(words >> number >> kind >> manner >> access >> pid >> file) || kind != "POSIX" ||
            access != "WRITE" || pid <= 0) {
            continue;
        }
        unsigned major_number = 0;
        unsigned minor_number = 0;
        std::uint64_t inode = 0;
        char colon = 0;
        std::istringstream parts(file);
        if (parts >> std::hex >> major_number >> colon >> minor_number >> colon >> std::dec >>
            inode) {
            locks[{::makedev(major_number, minor_number), inode}] = pid;
        }
    }
    return locks;
}

struct Process {
    std::string name;
    int parent = 0;
    std::uint64_t cpu_ticks = 0;
    std::uint64_t start_ticks = 0;  ///< After the host's boot.
    std::uint64_t virtual_bytes = 0;
    std::uint64_t resident_pages = 0;
    int processor = 0;
};

/// proc_pid_stat(5). The name stands in parentheses and may hold some.
std::optional<Process> parse_process(const std::string& text) {
    constexpr std::size_t kFieldsBeforeState = 2;
    const std::size_t open = text.find('(');
    const std::size_t close = text.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open) {
        return std::nullopt;
    }
    std::istringstream rest(text.substr(close + 1));
    std::vector<std::string> fields(kFieldsBeforeState);
    for (std::string field; rest >> field;) {
        fields.push_back(field);
    }
    const auto field = [&](std::size_t number) {  // As the manual numbers them, from 1.
        return std::strtoull(fields[number - 1].c_str(), nullptr, 10);
    };
    constexpr std::size_t kProcessorField = 39;
    if (fields.size() < kProcessorField) {
        return std::nullopt;
    }
    Process process;
    process.name = text.substr(open + 1, close - open - 1);
    process.parent = static_cast<int>(field(4));
    process.cpu_ticks = field(14) + field(15);
    process.start_ticks = field(22);
    process.virtual_bytes = field(23);
    process.resident_pages = field(24);
    process.processor = static_cast<int>(field(kProcessorField));
    return process;
}

std::optional<Process> read_process(const std::string& proc, int pid) {
    return parse_process(read_file(fmt::format("{}/{}/stat", proc, pid)));
}

/// What a monitor writes in place of its command line: "... (2 crashes: ...)".
unsigned crashes_of(const std::string& command_line) {
    const std::size_t open = command_line.find('(');
    unsigned crashes = 0;
    if (open != std::string::npos) {
        std::from_chars(
            command_line.data() + open + 1, command_line.data() + command_line.size(), crashes
        );
    }
    return crashes;
}

std::string describe_process(const std::string& proc, int pid) {
    const auto process = read_process(proc, pid);
    if (!process) {
        return {};
    }
    const auto ticks_per_s = static_cast<std::uint64_t>(std::max(1L, ::sysconf(_SC_CLK_TCK)));
    const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto now_ms = static_cast<std::uint64_t>(
        std::strtod(read_file(proc + "/uptime").c_str(), nullptr) * 1000
    );
    const auto age_ms = [&](const Process& of) {
        const std::uint64_t start_ms = of.start_ticks * 1000 / ticks_per_s;
        return now_ms > start_ms ? now_ms - start_ms : 0;
    };
    // A parent of the same name is its monitor.
    const auto parent = read_process(proc, process->parent);
    const bool monitored = parent && parent->name == process->name;
    return fmt::format(
        "{},{},{},{},{},{},{}",
        process->virtual_bytes / kKilobyte,
        process->resident_pages * page_bytes / kKilobyte,
        process->cpu_ticks * 1000 / ticks_per_s,
        monitored ? crashes_of(read_file(fmt::format("{}/{}/cmdline", proc, process->parent))) : 0,
        age_ms(monitored ? *parent : *process),
        age_ms(*process),
        process->processor
    );
}

void add_processes(const SystemFiles& files, Figures& figures) {
    const Locks locks = read_locks(files.proc);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(files.run_directory, error)) {
        const std::string name = entry.path().filename().string();
        struct stat status {};
        if (!name.ends_with(kPidSuffix) || ::stat(entry.path().c_str(), &status) != 0) {
            continue;
        }
        const auto holder = locks.find({status.st_dev, status.st_ino});
        if (holder != locks.end()) {
            figures["process_" + name.substr(0, name.size() - kPidSuffix.size())] =
                describe_process(files.proc, holder->second);
        }
    }
}

/// Local ones that can be written.
void add_file_systems(const std::string& proc, Figures& figures) {
    FILE* mounts = ::setmntent((proc + "/self/mounts").c_str(), "r");
    if (mounts == nullptr) {
        return;
    }
    std::string all;
    mntent entry{};
    std::array<char, 4096> buffer{};
    while (::getmntent_r(mounts, &entry, buffer.data(), buffer.size()) != nullptr) {
        struct statvfs facts {};
        if (!std::string_view(entry.mnt_fsname).starts_with("/dev") ||
            ::hasmntopt(&entry, "rw") == nullptr || ::statvfs(entry.mnt_dir, &facts) != 0 ||
            (facts.f_flag & ST_RDONLY) != 0) {
            continue;
        }
        std::string place = entry.mnt_dir;
        std::replace_if(
            place.begin(), place.end(), [](char c) { return c == ' ' || c == ','; }, '_'
        );
        const std::uint64_t unit = facts.f_frsize;
        all += fmt::format(
            "{}{},{},{}",
            all.empty() ? "" : " ",
            place,
            facts.f_blocks * unit / kKilobyte,
            (facts.f_blocks - facts.f_bfree) * unit / kKilobyte
        );
    }
    ::endmntent(mounts);
    if (!all.empty()) {
        figures["file_systems"] = all;
    }
}

}  // namespace

Figures system_statistics(const SystemFiles& files) {
    Figures figures;
    const long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
    if (processors > 0) {
        figures["cpu"] = std::to_string(processors);
    }
    add_load(figures);
    add_memory(files.proc, figures);
    add_processes(files, figures);
    add_file_systems(files.proc, figures);
    return figures;
}

}  // namespace culvert::ctl
