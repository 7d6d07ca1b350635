// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/ike_certificate.hpp"

#include <array>
#include <memory>
#include <utility>

#include <sys/stat.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ctl/private_files.hpp"

namespace culvert::ctl {
namespace {

using dataplane::Result;

/// The vici protocol carries no more in a value.
constexpr std::size_t kFileBytesMax = 65535;

template <auto FreeFunction>
struct Free {
    template <class T>
    void operator()(T* pointer) const {
        FreeFunction(pointer);
    }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using X509Owner = std::unique_ptr<X509, Free<X509_free>>;
using KeyOwner = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;

/// The bytes of a regular file that has one of these modes at most.
Result<PrivateText> read_file(const std::string& what, const std::string& path, ::mode_t mode) {
    const auto refuse = [&](const std::string& why) {
        return tl::unexpected<std::string>(what + " \"" + path + "\" " + why);
    };
    auto text = read_whole(path, kFileBytesMax, [mode](const struct stat& status) -> std::string {
        if (!S_ISREG(status.st_mode)) {
            return "is not a regular file";
        }
        return (status.st_mode & 07777U & ~mode) == 0 ? ""
                                                      : "can be read or written by every user: its "
                                                        "mode must have no rights for others";
    });
    if (!text) {
        return refuse(text.error());
    }
    if (text->reveal().size() > kFileBytesMax) {
        return refuse("has more than " + std::to_string(kFileBytesMax) + " bytes");
    }
    return text;
}

Bio bio_of(std::string_view text) {
    return Bio(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string common_name(X509* certificate) {
    std::array<char, 256> name{};
    const int length = ::X509_NAME_get_text_by_NID(
        ::X509_get_subject_name(certificate), NID_commonName, name.data(), name.size()
    );
    return length > 0 ? std::string(name.data(), static_cast<std::size_t>(length)) : std::string();
}

/// Whether a DNS name of the certificate is this.
bool has_dns_name(X509* certificate, const std::string& name) {
    const Names names(static_cast<GENERAL_NAMES*>(
        ::X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)
    ));
    for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        int type = 0;
        void* value = ::GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
        if (type != GEN_DNS) {
            continue;
        }
        const auto* text = static_cast<const ASN1_STRING*>(value);
        const std::string_view dns(
            // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): of bytes to characters.
            reinterpret_cast<const char*>(::ASN1_STRING_get0_data(text)),
            static_cast<std::size_t>(::ASN1_STRING_length(text))
        );
        if (dns == name) {
            return true;
        }
    }
    return false;
}

std::string identity_of(X509* certificate) {
    const std::string name = common_name(certificate);
    if (!name.empty() && has_dns_name(certificate, name)) {
        return "fqdn:" + name;
    }
    unsigned char* der = nullptr;
    const int length = ::i2d_X509_NAME(::X509_get_subject_name(certificate), &der);
    const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owner(
        der, [](unsigned char* bytes) { OPENSSL_free(bytes); }
    );
    std::string text = "asn1dn:#";
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (int i = 0; i < length; ++i) {
        text += kDigits[der[i] >> 4U];
        text += kDigits[der[i] & 0xfU];
    }
    return text;
}

}  // namespace

Result<IkeCertificate> read_ike_certificate(const std::string& what, const std::string& path) {
    const auto text = read_file(what, path, 07777);
    if (!text.has_value()) {
        return tl::unexpected(text.error());
    }
    const Bio bio = bio_of(text->reveal());
    const X509Owner certificate(::PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    ::ERR_clear_error();
    if (certificate == nullptr) {
        return tl::unexpected<std::string>(what + " \"" + path + "\" has no certificate in PEM");
    }
    // Written anew: there may be a private key in the same file.
    const Bio out(::BIO_new(::BIO_s_mem()));
    ::PEM_write_bio_X509(out.get(), certificate.get());
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out.get(), &bytes);
    return IkeCertificate{
        std::string(bytes, static_cast<std::size_t>(size)), identity_of(certificate.get())};
}

Result<PrivateText> read_ike_private_key(const std::string& path) {
    const std::string what = "private key";
    auto text = read_file(what, path, 0770);
    if (!text.has_value()) {
        return tl::unexpected(text.error());
    }
    const Bio bio = bio_of(text->reveal());
    // One with a passphrase must fail, not ask on the terminal.
    const auto no_passphrase = [](char*, int, int, void*) { return -1; };
    const KeyOwner key(::PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    ::ERR_clear_error();
    if (key == nullptr) {
        return tl::unexpected<std::string>(
            what + " \"" + path + "\" has no key in PEM without a passphrase"
        );
    }
    // The key alone, as there may be a certificate in the same file.
    const Bio out(::BIO_new(::BIO_s_secmem()));
    ::PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out.get(), &bytes);
    return PrivateText(std::string_view(bytes, static_cast<std::size_t>(size)));
}

}  // namespace culvert::ctl
