// SPDX-License-Identifier: GPL-2.0-or-later
//
// Files of keys: which ones are trusted, what they may hold, and that no message says what one
// does.
#include "ctl/private_files.hpp"

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/ctl/temporary_folder.hpp"
#include "tests/unit/ctl/toml_texts.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tunnels::EspAlgorithm;

const std::string kKeyA(72, 'a');
const std::string kKeyB = std::string(70, 'b') + "0F";

class PrivateFiles : public ::testing::Test {
protected:
    [[nodiscard]] std::string path(std::string_view name) const { return folder_.file(name); }

    std::string write(std::string_view name, std::string_view text, mode_t mode = 0600) {
        std::ofstream(path(name)) << text;
        EXPECT_EQ(::chmod(path(name).c_str(), mode), 0);
        return path(name);
    }

    /// A tunnel whose section begins at line 6 of "culvert.toml".
    static std::string tunnel(std::string_view name, std::string_view remote_ip) {
        return concat(
            {"[[tunnel]]\nname = \"",
             name,
             "\"\nbridge = \"br0\"\ntype = \"gre\"\nremote_ip = \"",
             remote_ip,
             "\"\n"}
        );
    }
    [[nodiscard]] std::string
    esp(std::string_view in, std::string_view out, unsigned spi_in = 256, unsigned spi_out = 257
    ) const {
        return concat(
            {"[tunnel.esp]\nspi_in = ",
             std::to_string(spi_in),
             "\nspi_out = ",
             std::to_string(spi_out),
             "\nkey_in_file = \"",
             path(in),
             "\"\nkey_out_file = \"",
             path(out),
             "\"\n"}
        );
    }
    /// What loading a file with these tunnels on a bridge says; its line 3 is `items`' first.
    [[nodiscard]] Result<DesiredState> load(const std::string& items) {
        write("culvert.toml", kBridge + items);
        return load_toml(path("culvert.toml"));
    }
    [[nodiscard]] std::string error(const std::string& items) {
        const Result<DesiredState> state = load(items);
        EXPECT_FALSE(state.has_value());
        return state ? "" : state.error();
    }
    /// The error of a tunnel with these files, without the place and the path.
    [[nodiscard]] std::string key_error() {
        const std::string text = error(tunnel("t1", "192.0.2.2") + esp("in", "out"));
        const std::string front = path("culvert.toml") +
                                  ":8: [tunnel.esp] of \"t1\": key_in_file = \"" + path("in") +
                                  "\" ";
        EXPECT_THAT(text, ::testing::StartsWith(front));
        return text.size() < front.size() ? text : text.substr(front.size());
    }

private:
    testing::TemporaryFolder folder_;
};

TEST_F(PrivateFiles, KeysAreRead) {
    write("in", kKeyA + "\n");
    write("out", " " + kKeyB, 0400);
    const Result<DesiredState> state = load(tunnel("t1", "192.0.2.2") + esp("in", "out"));
    ASSERT_TRUE(state.has_value()) << state.error();
    const EspConfig& read = *state->tunnels[0].esp;
    ASSERT_EQ(read.key_in.size(), 36U);
    EXPECT_EQ(read.key_in.bytes()[0], std::byte{0xaa});
    ASSERT_EQ(read.key_out.size(), 36U);
    EXPECT_EQ(read.key_out.bytes()[34], std::byte{0xbb});
    EXPECT_EQ(read.key_out.bytes()[35], std::byte{0x0f});
    write("out", kKeyA.substr(2) + "cc");
    const Result<DesiredState> again = load(tunnel("t1", "192.0.2.2") + esp("in", "out"));
    ASSERT_TRUE(again.has_value()) << again.error();
    EXPECT_NE(*again, *state) << "a reload reads them anew";
    EXPECT_EQ(again->tunnels[0].esp->key_in, read.key_in);
}

TEST_F(PrivateFiles, OthersMayNotTouchThem) {
    write("out", kKeyB);
    for (const mode_t mode : {0640U, 0604U, 0620U, 0610U, 0777U}) {
        write("in", kKeyA, mode);
        EXPECT_THAT(
            key_error(), HasSubstr("may be read or changed by others than its owner (mode 0")
        );
    }
    write("in", kKeyA, 0644);
    EXPECT_EQ(
        key_error(),
        "may be read or changed by others than its owner (mode 0644); valid: mode 0600 or 0400"
    );
}

TEST_F(PrivateFiles, WhatIsNoFileIsNotRead) {
    write("out", kKeyB);
    EXPECT_EQ(key_error(), "cannot be read: No such file or directory");
    ASSERT_EQ(::mkfifo(path("in").c_str(), 0600), 0);
    EXPECT_EQ(key_error(), "is not a regular file") << "and nobody waits for a writer";
    std::filesystem::remove(path("in"));
    ASSERT_TRUE(std::filesystem::create_directory(path("in")));
    EXPECT_EQ(key_error(), "is not a regular file");
}

TEST_F(PrivateFiles, KeysHaveTheLengthOfTheAlgorithm) {
    write("out", kKeyB);
    write("in", kKeyA.substr(2));
    EXPECT_EQ(
        key_error(),
        "holds 70 hexadecimal digits; valid: 72 for aes-gcm-256 (36 bytes: 32 of key, then 4 of "
        "salt)"
    );
    write("in", "");
    EXPECT_THAT(key_error(), HasSubstr("holds 0 hexadecimal digits; valid: 72"));
    write("in", kKeyA + kKeyA);
    EXPECT_THAT(key_error(), HasSubstr("holds 144 hexadecimal digits; valid: 72"));
    write("in", std::string(5000, 'a'));
    EXPECT_EQ(key_error(), "is too large; valid: at most 4096 bytes");
    for (const std::string& wrong :
         {"0x" + kKeyA.substr(2),
          kKeyA.substr(1) + "g",
          kKeyA.substr(36) + "\n" + kKeyA.substr(36)}) {
        write("in", wrong);
        EXPECT_EQ(key_error(), "holds something else than hexadecimal digits; valid: 72 of them");
    }
}

TEST(PrivateFile, LengthsAreThoseOfEveryAlgorithm) {
    for (const tunnels::EspAlgorithmRow& row : tunnels::kEspAlgorithms) {
        const auto key = parse_key(std::string(2 * row.key_bytes(), '7'), row.algorithm);
        ASSERT_TRUE(key.has_value()) << row.name;
        EXPECT_EQ(key->size(), row.key_bytes());
        EXPECT_FALSE(parse_key(std::string(2 * row.key_bytes() - 1, '7'), row.algorithm));
    }
    EXPECT_EQ(
        parse_key("77", EspAlgorithm::aes_cbc_128_sha256).error(),
        "holds 2 hexadecimal digits; valid: 96 for aes-cbc-128-sha256 (48 bytes: 16 of key, then "
        "32 of integrity key)"
    );
}

TEST(PrivateFile, BelongsToRootOrTheDaemon) {
    struct stat status {};
    status.st_mode = S_IFREG | 0600;
    for (const uid_t owner : {0U, 1000U}) {
        status.st_uid = owner;
        EXPECT_EQ(private_file_problem(status, 1000), "");
    }
    EXPECT_EQ(private_file_problem(status, 0), "belongs to user 1000; valid: a file of root");
    EXPECT_EQ(
        private_file_problem(status, 1001),
        "belongs to user 1000; valid: a file of root or of user 1001, the daemon's"
    );
}

TEST(PrivateText, LeavesNothingWhereItWasMovedFrom) {
    const std::string secret = "sesame";  // Short enough for the object itself.
    PrivateText from(secret);
    const std::string_view there = from.reveal();
    ASSERT_EQ(there, secret);
    const PrivateText to(std::move(from));
    EXPECT_EQ(to.reveal(), secret);
    EXPECT_EQ(there, std::string(secret.size(), '\0'));
}

TEST_F(PrivateFiles, AKeyHasOneSender) {
    write("a", kKeyA);
    write("b", kKeyB);
    write("copy", kKeyA + "\n");
    write("c", kKeyA.substr(2) + "cc");
    const std::string end =
        " too, and a key that is used twice breaks its encryption; valid: a key for each direction "
        "of each tunnel";
    const std::string place = " (" + path("culvert.toml") + ":8)";
    EXPECT_EQ(
        error(tunnel("t1", "192.0.2.2") + esp("a", "copy")),
        path("culvert.toml") + ":8: [tunnel.esp] of \"t1\": key_out_file = \"" + path("copy") +
            "\" holds the key of key_in_file of \"t1\"" + place + end
    );
    EXPECT_EQ(
        error(
            tunnel("t1", "192.0.2.2") + esp("a", "b") + tunnel("t2", "192.0.2.3") +
            esp("c", "b", 300, 301)
        ),
        path("culvert.toml") + ":18: [tunnel.esp] of \"t2\": key_out_file = \"" + path("b") +
            "\" holds the key of key_out_file of \"t1\"" + place + end
    );
    EXPECT_THAT(
        error(
            tunnel("t1", "192.0.2.2") + esp("a", "b") + tunnel("t2", "192.0.2.3") +
            esp("b", "c", 300, 301)
        ),
        HasSubstr("key_in_file = \"" + path("b") + "\" holds the key of key_out_file of \"t1\"")
    );
}

TEST_F(PrivateFiles, BothEndsOfAnSaMayBeHere) {
    write("a", kKeyA);
    write("b", kKeyB);
    const auto ends = [&](std::string_view local) {
        return tunnel("t1", "192.0.2.2") + "local_ip = \"192.0.2.1\"\n" + esp("a", "b", 256, 257) +
               tunnel("t2", "192.0.2.1") + "local_ip = \"" + std::string(local) + "\"\n" +
               esp("b", "a", 257, 256);
    };
    const Result<DesiredState> state = load(ends("192.0.2.2"));
    EXPECT_TRUE(state.has_value()) << state.error();
    EXPECT_THAT(error(ends("192.0.2.9")), HasSubstr("breaks its encryption"));
}

TEST_F(PrivateFiles, APskIsTheFirstLine) {
    const std::string ike =
        tunnel("t1", "192.0.2.2") + "[tunnel.ike]\npsk_file = \"" + path("psk") + "\"\n";
    const auto psk_error = [&](std::string_view text) {
        write("psk", text);
        const std::string said = error(ike);
        EXPECT_THAT(said, HasSubstr(":8: [tunnel.ike] of \"t1\": psk_file = \""));
        return said.substr(said.find(path("psk")) + path("psk").size() + 2);
    };
    for (const std::string_view text : {"open sesame", "open sesame\n", "open sesame\nmore\n"}) {
        write("psk", text);
        const Result<DesiredState> state = load(ike);
        ASSERT_TRUE(state.has_value()) << state.error();
        EXPECT_EQ(state->tunnels[0].ike->psk.reveal(), "open sesame");
    }
    const std::string valid = "; valid: a pre-shared key of 1-1024 bytes in its first line";
    EXPECT_EQ(psk_error(""), "begins with an empty line" + valid);
    EXPECT_EQ(psk_error("\nx"), "begins with an empty line" + valid);
    EXPECT_EQ(psk_error("x\r\n"), "has a control character in its first line" + valid);
    EXPECT_EQ(psk_error(std::string(1025, 'x')), "begins with a line of 1025 bytes" + valid);
    write("psk", "x", 0640);
    EXPECT_THAT(error(ike), HasSubstr("(mode 0640)"));
}

TEST_F(PrivateFiles, CertificatesHaveToBeThere) {
    write("cert", "c", 0644);
    write("key", "k");
    const auto daemon = [&](std::string_view cert, std::string_view key, std::string_view ca) {
        return concat(
            {"[ike]\ncertificate = \"",
             path(cert),
             "\"\nprivate_key = \"",
             path(key),
             "\"\nca_cert = \"",
             path(ca),
             "\"\n"}
        );
    };
    const std::string peer = tunnel("t1", "192.0.2.2") + "[tunnel.ike]\nremote_cert = \"";
    EXPECT_TRUE(load(peer + path("cert") + "\"\n" + daemon("cert", "key", "cert")).has_value());
    EXPECT_THAT(
        error(peer + path("none") + "\"\n" + daemon("cert", "key", "cert")),
        HasSubstr(
            ":8: [tunnel.ike] of \"t1\": remote_cert = \"" + path("none") +
            "\" cannot be read: No such file or directory"
        )
    );
    EXPECT_THAT(
        error(daemon("none", "key", "cert")),
        HasSubstr(":3: [ike]: certificate = \"" + path("none") + "\" cannot be read: ")
    );
    EXPECT_THAT(
        error(daemon("cert", "cert", "cert")),
        HasSubstr(":3: [ike]: private_key = \"" + path("cert") + "\" may be read or changed by")
    );
    EXPECT_THAT(
        error(daemon("cert", "key", "none")),
        HasSubstr(":3: [ike]: ca_cert = \"" + path("none") + "\" cannot be read: ")
    );
}

TEST_F(PrivateFiles, NoMessageShowsAKey) {
    const std::string secret = "5ec4e75ec4e75ec4e7";
    write("in", secret);
    write("out", secret + "!");
    write("psk", secret + "\r");
    const std::string t1 = tunnel("t1", "192.0.2.2");
    EXPECT_THAT(error(t1 + esp("in", "out")), Not(HasSubstr("5ec4e7")));
    EXPECT_THAT(error(t1 + esp("out", "in")), Not(HasSubstr("5ec4e7")));
    EXPECT_THAT(
        error(t1 + "[tunnel.ike]\npsk_file = \"" + path("psk") + "\"\n"), Not(HasSubstr("5ec4e7"))
    );
}

}  // namespace
}  // namespace culvert::ctl
