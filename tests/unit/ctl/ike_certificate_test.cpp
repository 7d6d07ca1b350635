// SPDX-License-Identifier: GPL-2.0-or-later
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "ctl/ike_certificate.hpp"
#include "tests/unit/ctl/vici/fake_charon.hpp"

namespace culvert::ctl {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using vici::testing::TemporaryFolder;

/// O=Open vSwitch, CN=host1; the names "other" and "host1".
constexpr const char* kNamed = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBvzCCAWSgAwIBAgIUZN3B0idYGn6dqsAgLVbHCVXhdCkwCgYIKoZIzj0EAwIw\n"
                               "JzEVMBMGA1UECgwMT3BlbiB2U3dpdGNoMQ4wDAYDVQQDDAVob3N0MTAgFw0yNjEx\n"
                               "MzAxODIyNTZaGA8yMTI2MTEwNjE4MjI1NlowJzEVMBMGA1UECgwMT3BlbiB2U3dp\n"
                               "dGNoMQ4wDAYDVQQDDAVob3N0MTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBN5\n"
                               "nY57E5BBQPSFXdNUBICFiwqi/zEfxNs7b6guqcv9dkuRpELXftaZUc+JVDEC7TLd\n"
                               "WKTsnitWdzc8PG6K/5qjbDBqMB0GA1UdDgQWBBTYBxDdXaCGCbH4RIUxKFa1BCz6\n"
                               "wzAfBgNVHSMEGDAWgBTYBxDdXaCGCbH4RIUxKFa1BCz6wzAPBgNVHRMBAf8EBTAD\n"
                               "AQH/MBcGA1UdEQQQMA6CBW90aGVyggVob3N0MTAKBggqhkjOPQQDAgNJADBGAiEA\n"
                               "jgvq4uUy4yfB3+s0mhYxL3GPCHAe9TrQ/a0/DkYw9ugCIQDvnn4+lsPARrClhy5F\n"
                               "+SVNm6gj0EQGI7dlPacDLQyd5Q==\n"
                               "-----END CERTIFICATE-----\n";
/// CN=host1; the name "host10".
constexpr const char* kNamedOtherwise =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBijCCATCgAwIBAgIUKd1euMm5ASBRl8jQo2u2RxnRvkkwCgYIKoZIzj0EAwIw\n"
    "EDEOMAwGA1UEAwwFaG9zdDEwIBcNMjYxMTMwMTgyMjU2WhgPMjEyNjExMDYxODIy\n"
    "NTZaMBAxDjAMBgNVBAMMBWhvc3QxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
    "EhMSb9ror59UEXJqOVce6RjeCO5Ul94aXoBzpF1+4sruTH1oNrsmQSG0x/FAfTuR\n"
    "S7o0gasQ42EAgdTLsRGyjqNmMGQwHQYDVR0OBBYEFID2AT9agLi0Lwz3b/jdhsQP\n"
    "0aNSMB8GA1UdIwQYMBaAFID2AT9agLi0Lwz3b/jdhsQP0aNSMA8GA1UdEwEB/wQF\n"
    "MAMBAf8wEQYDVR0RBAowCIIGaG9zdDEwMAoGCCqGSM49BAMCA0gAMEUCIQDqaVjf\n"
    "xUGJ6LnUMhLyg/yvHmDFOcILUsN4MockKMQf3gIgc5nkDoCfFa6Qp54FRFUJZTr7\n"
    "UGB22oBRhLaVV54NNrg=\n"
    "-----END CERTIFICATE-----\n";

std::string new_key(const EVP_CIPHER* cipher = nullptr) {
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const std::unique_ptr<BIO, void (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free_all);
    std::string phrase = "phrase";
    PEM_write_bio_PKCS8PrivateKey(
        out.get(),
        key.get(),
        cipher,
        phrase.data(),
        static_cast<int>(phrase.size()),
        nullptr,
        nullptr
    );
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out.get(), &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}

class IkeCertificateTest : public ::testing::Test {
protected:
    std::string write(const std::string& text, ::mode_t mode = 0600) {
        std::string path = folder.file("f" + std::to_string(++count));
        std::ofstream(path) << text;
        EXPECT_EQ(::chmod(path.c_str(), mode), 0);
        return path;
    }
    TemporaryFolder folder;
    unsigned count = 0;
};

TEST_F(IkeCertificateTest, TheCommonNameIsTheIdentityWhenItIsANameOfTheOwner) {
    const auto read = read_ike_certificate("certificate", write(kNamed, 0644));
    ASSERT_TRUE(read.has_value()) << read.error();
    EXPECT_EQ(read->identity, "fqdn:host1");
    EXPECT_EQ(read->pem, kNamed);
}

TEST_F(IkeCertificateTest, ElseTheSubjectIsTheIdentity) {
    const auto read = read_ike_certificate("certificate", write(kNamedOtherwise, 0644));
    ASSERT_TRUE(read.has_value()) << read.error();
    EXPECT_EQ(read->identity, "asn1dn:#3010310e300c06035504030c05686f737431");
}

TEST_F(IkeCertificateTest, OfAFileWithBothEachIsReadAlone) {
    const std::string path = write(new_key() + kNamed);
    const auto certificate = read_ike_certificate("certificate", path);
    ASSERT_TRUE(certificate.has_value()) << certificate.error();
    EXPECT_EQ(certificate->pem, kNamed);
    const auto key = read_ike_private_key(path);
    ASSERT_TRUE(key.has_value()) << key.error();
    EXPECT_THAT(std::string(key->reveal()), StartsWith("-----BEGIN PRIVATE KEY-----"));
    EXPECT_THAT(std::string(key->reveal()), Not(HasSubstr("CERTIFICATE")));
}

TEST_F(IkeCertificateTest, AKeyForEverybodyIsRefused) {
    const std::string key = new_key();
    EXPECT_TRUE(read_ike_private_key(write(key, 0640)).has_value());
    for (const ::mode_t mode : {0644U, 0602U, 0601U}) {
        const std::string path = write(key, mode);
        const auto read = read_ike_private_key(path);
        ASSERT_FALSE(read.has_value()) << mode;
        EXPECT_EQ(
            read.error(),
            "private key \"" + path +
                "\" can be read or written by every user: its mode must have no rights for others"
        );
    }
}

TEST_F(IkeCertificateTest, WhatIsNoKeyIsRefusedWithoutShowingIt) {
    const auto error = [](const std::string& path) {
        const auto read = read_ike_private_key(path);
        return read.has_value() ? std::string() : read.error();
    };
    const std::string text = write("my secret");
    EXPECT_EQ(error(text), "private key \"" + text + "\" has no key in PEM without a passphrase");
    const std::string locked = write(new_key(EVP_aes_256_cbc()));
    EXPECT_EQ(
        error(locked), "private key \"" + locked + "\" has no key in PEM without a passphrase"
    );
    EXPECT_THAT(error(folder.file("absent")), HasSubstr("cannot be read: No such file"));
    const std::string pipe = folder.file("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_EQ(error(pipe), "private key \"" + pipe + "\" is not a regular file");
    EXPECT_THAT(error(write(std::string(65536, 'x'))), HasSubstr("has more than 65535 bytes"));
}

}  // namespace
}  // namespace culvert::ctl
