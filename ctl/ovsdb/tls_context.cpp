// SPDX-License-Identifier: GPL-2.0-or-later
//
// Loads PEM files into an OpenSSL context. Each file is looked at first, because what OpenSSL says
// of a file that is missing names a function of its own.
#include "ctl/ovsdb/tls_context.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ssl.h>

namespace culvert::ctl::ovsdb {
namespace {

namespace ssl = boost::asio::ssl;
using ErrorCode = boost::system::error_code;

tl::unexpected<std::string>
refuse(const char* what, const std::string& file, const std::string& why) {
    return tl::unexpected<std::string>(std::string(what) + " \"" + file + "\" " + why);
}

Result<void> check_file(const char* what, const std::string& file) {
    struct stat status {};
    if (file.empty()) {
        return tl::unexpected<std::string>(
            std::string("no ") + what +
            " is set (\"ssl:\" needs a private key, a certificate and a CA certificate)"
        );
    }
    if (::stat(file.c_str(), &status) != 0 || ::access(file.c_str(), R_OK) != 0) {
        return refuse(what, file, std::string("cannot be read: ") + std::strerror(errno));
    }
    // Anything else might never end, or never begin.
    if (!S_ISREG(status.st_mode)) {
        return refuse(what, file, "is not a regular file");
    }
    return {};
}

}  // namespace

Result<std::shared_ptr<ssl::context>> make_tls_context(const TlsFiles& files) {
    for (const auto& [what, file] :
         {std::pair{"private key", &files.private_key},
          std::pair{"certificate", &files.certificate},
          std::pair{"CA certificate", &files.ca_certificate}}) {
        if (auto readable = check_file(what, *file); !readable.has_value()) {
            return tl::unexpected(std::move(readable.error()));
        }
    }
    auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
    ErrorCode error;
    ::SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    context->set_verify_mode(ssl::verify_peer, error);
    // A key with a passphrase must fail, not ask on the terminal.
    context->set_password_callback(
        [](std::size_t, ssl::context::password_purpose) { return std::string(); }, error
    );
    context->use_certificate_chain_file(files.certificate, error);
    if (error) {
        return refuse(
            "certificate", files.certificate, "is no certificate in PEM: " + error.message()
        );
    }
    context->use_private_key_file(files.private_key, ssl::context::pem, error);
    if (error) {
        return refuse(
            "private key",
            files.private_key,
            "is no key in PEM that fits the certificate: " + error.message()
        );
    }
    context->load_verify_file(files.ca_certificate, error);
    if (error) {
        return refuse(
            "CA certificate", files.ca_certificate, "is no certificate in PEM: " + error.message()
        );
    }
    return context;
}

}  // namespace culvert::ctl::ovsdb
