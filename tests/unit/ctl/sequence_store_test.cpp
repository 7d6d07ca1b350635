// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sequence numbers on disk: what is there after each way in which a process or a file can end.
#include "ctl/sequence_store.hpp"

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/unit/ctl/filled_secret.hpp"
#include "tests/unit/ctl/unixctl_fixture.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

std::string read_text(const std::string& path) {
    std::ifstream stream(path);
    std::stringstream text;
    text << stream.rdbuf();
    return text.str();
}

void write_text(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
}

class SequenceStoreTest : public ::testing::Test {
protected:
    void SetUp() override { restart(); }
    /// As after kill -9: nothing is said to the old one.
    void restart() {
        store_ = std::make_unique<SequenceStore>();
        const auto opened = store_->open(state_);
        ASSERT_TRUE(opened) << opened.error();
    }

    TemporaryFolder folder_;
    std::string state_ = folder_.file("lib/culvert");
    std::string file_ = state_ + "/esp-sequences";
    std::unique_ptr<SequenceStore> store_;
    const SaFingerprint a_ = fingerprint_of(filled_secret('a'));
    const SaFingerprint b_ = fingerprint_of(filled_secret('b'));
};

TEST_F(SequenceStoreTest, ANewKeyBeginsWithOne) {
    EXPECT_EQ(store_->next(a_), 1U);
    EXPECT_EQ(store_->received(a_), 0U);
}

TEST_F(SequenceStoreTest, WhatWasReservedStaysSoAfterARestart) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}, {b_, std::uint64_t{1} << 40U, false}}));
    restart();
    EXPECT_EQ(store_->next(a_), 5000U);
    EXPECT_EQ(store_->next(b_), std::uint64_t{1} << 40U);
}

TEST_F(SequenceStoreTest, AReservationNeverGoesBack) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    ASSERT_TRUE(store_->reserve({{a_, 300, false}}));
    EXPECT_EQ(store_->next(a_), 5000U);
    restart();
    EXPECT_EQ(store_->next(a_), 5000U);
}

TEST_F(SequenceStoreTest, FilesAndFolderAreTheOwnersAlone) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    struct stat status {};
    ASSERT_EQ(::stat(state_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
    ASSERT_EQ(::stat(file_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(SequenceStoreTest, TheFileHoldsNoKey) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    const std::string text = read_text(file_);
    EXPECT_EQ(text.find("aaaaaaaa"), std::string::npos);
    EXPECT_EQ(text.find("61616161"), std::string::npos);
}

TEST_F(SequenceStoreTest, AFolderThatOthersCanWriteToIsRefused) {
    std::filesystem::create_directory(folder_.file("open"));
    ::chmod((folder_.file("open")).c_str(), 0777);
    SequenceStore store;
    const auto opened = store.open(folder_.file("open"));
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error(), HasSubstr("can be written by others"));
    EXPECT_FALSE(store.is_open());
}

TEST_F(SequenceStoreTest, TwoDaemonsDoNotShareAFolder) {
    SequenceStore second;
    const auto opened = second.open(state_);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error(), HasSubstr("another daemon"));
    EXPECT_FALSE(second.reserve({{a_, 7, false}}));
    store_.reset();
    EXPECT_TRUE(second.open(state_)) << "it is free now";
}

TEST_F(SequenceStoreTest, EachChangedByteIsNoticed) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}, {b_, 77, true}}));
    const std::string whole = read_text(file_);
    for (std::size_t at = 0; at < whole.size(); ++at) {
        std::string damaged = whole;
        damaged[at] = static_cast<char>(damaged[at] ^ 1);
        EXPECT_FALSE(parse_sequences(damaged)) << "byte " << at;
    }
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(parse_sequences(whole.substr(0, size))) << "cut off at " << size;
    }
    EXPECT_FALSE(parse_sequences(whole + "\n"));
    EXPECT_TRUE(parse_sequences(whole));
}

TEST_F(SequenceStoreTest, LinesThatSayNothingAreRefusedEvenWithARightSum) {
    const std::string key(64, 'a');
    // The sum of a file is over its text, so a text with a wrong line can be made by hand.
    for (const std::string& line :
         {std::string("x configured 1"),
          key + " other 1",
          key + " configured -1",
          key + " configured 18446744073709551616",
          key + " configured",
          key + "a configured 1"}) {
        SequenceStore::Entries none;
        const std::string empty = write_sequences(none);
        EXPECT_TRUE(parse_sequences(empty));
        EXPECT_FALSE(parse_sequences(
            "culvert esp sequences 1\n" + line + "\n" + empty.substr(empty.rfind("sha256"))
        )) << line;
    }
}

TEST_F(SequenceStoreTest, ADamagedFileIsAnErrorAndStays) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    store_.reset();
    std::string damaged = read_text(file_);
    damaged[damaged.size() / 2] ^= 1;
    write_text(file_, damaged);
    SequenceStore store;
    const auto opened = store.open(state_);
    ASSERT_FALSE(opened);
    EXPECT_THAT(opened.error(), HasSubstr(file_));
    EXPECT_THAT(opened.error(), HasSubstr("damaged"));
    EXPECT_FALSE(store.is_open());
    EXPECT_FALSE(store.reserve({{a_, 7, false}}));
    EXPECT_EQ(read_text(file_), damaged);
}

TEST_F(SequenceStoreTest, AnEmptyFileIsDamagedToo) {
    store_.reset();
    write_text(file_, "");
    SequenceStore store;
    EXPECT_FALSE(store.open(state_));
}

TEST_F(SequenceStoreTest, WhatCannotBeWrittenMayNotBeUsed) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    // A folder in the place of the new file: writing fails, for root too.
    std::filesystem::create_directory(file_ + ".new");
    const auto reserved = store_->reserve({{a_, 9000, false}, {b_, 10, false}});
    ASSERT_FALSE(reserved);
    EXPECT_THAT(reserved.error(), HasSubstr("esp-sequences"));
    EXPECT_EQ(store_->next(a_), 5000U);
    EXPECT_EQ(store_->next(b_), 1U);
    std::filesystem::remove(file_ + ".new");
    EXPECT_TRUE(store_->reserve({{a_, 9000, false}}));
    restart();
    EXPECT_EQ(store_->next(a_), 9000U);
}

TEST_F(SequenceStoreTest, ALeftOverNewFileIsNoObstacle) {
    write_text(file_ + ".new", "half a fi");
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    EXPECT_FALSE(std::filesystem::exists(file_ + ".new"));
    restart();
    EXPECT_EQ(store_->next(a_), 5000U);
}

TEST_F(SequenceStoreTest, ReceivedNumbersAreKeptApartAndNeverGoBack) {
    store_->note_received({a_, 700, false});
    store_->note_received({a_, 600, false});
    ASSERT_TRUE(store_->write_received(false));
    restart();
    EXPECT_EQ(store_->received(a_), 700U);
    EXPECT_EQ(store_->next(a_), 1U);
}

TEST_F(SequenceStoreTest, ADamagedFileOfReceivedNumbersLosesOnlyThose) {
    ASSERT_TRUE(store_->reserve({{a_, 5000, false}}));
    store_->note_received({b_, 700, false});
    ASSERT_TRUE(store_->write_received(true));
    write_text(state_ + "/esp-received", "rubbish");
    restart();
    EXPECT_EQ(store_->next(a_), 5000U);
    EXPECT_EQ(store_->received(b_), 0U);
}

TEST_F(SequenceStoreTest, NegotiatedKeysAreForgottenConfiguredOnesNot) {
    const SaFingerprint c = fingerprint_of(filled_secret('c'));
    ASSERT_TRUE(store_->reserve({{a_, 10, false}, {b_, 20, true}, {c, 30, true}}));
    store_->forget_negotiated_but({c});
    EXPECT_EQ(store_->next(a_), 10U);
    EXPECT_EQ(store_->next(b_), 1U);
    EXPECT_EQ(store_->next(c), 30U);
    store_->forget(c);
    ASSERT_TRUE(store_->reserve({}));
    restart();
    EXPECT_EQ(store_->next(a_), 10U);
    EXPECT_EQ(store_->next(c), 1U);
}

TEST(Fingerprint, IsOfTheWholeKey) {
    EXPECT_EQ(fingerprint_of(filled_secret('a')), fingerprint_of(filled_secret('a')));
    EXPECT_NE(fingerprint_of(filled_secret('a')), fingerprint_of(filled_secret('b')));
    const std::string shorter(35, 'a');
    EXPECT_NE(
        fingerprint_of(filled_secret('a')),
        fingerprint_of(tunnels::Secret(std::as_bytes(std::span(shorter))))
    );
}

}  // namespace
}  // namespace culvert::ctl
