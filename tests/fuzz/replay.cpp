// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs a fuzz target once over each file of its corpus, without libFuzzer: `replay FOLDER...`. This
// is how a committed input stays a test in builds that have no libFuzzer. It says nothing
// about inputs that nobody committed. One thread.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    unsigned replayed = 0;
    for (int i = 1; i < argc; ++i) {
        const std::string folder = argv[i];
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
            std::ifstream stream(entry.path(), std::ios::binary);
            const std::vector<char> bytes{std::istreambuf_iterator<char>(stream), {}};
            if (!stream.is_open() || stream.bad()) {
                std::fprintf(stderr, "%s cannot be read\n", entry.path().c_str());
                return 1;
            }
            // Named before the run, because a failing input ends the process.
            std::printf("%s, %zu bytes\n", entry.path().c_str(), bytes.size());
            std::fflush(stdout);
            // Exactly as many bytes as the file has, so that the address sanitizer sees each
            // overread.
            const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
            static_cast<void>(LLVMFuzzerTestOneInput(input.data(), input.size()));
            ++replayed;
        }
        if (error) {
            std::fprintf(stderr, "%s: %s\n", folder.c_str(), error.message().c_str());
            return 1;
        }
    }
    if (replayed == 0) {
        std::fprintf(stderr, "no input was found: a corpus holds at least one file\n");
        return 1;
    }
    std::printf("%u inputs replayed\n", replayed);
    return 0;
}
