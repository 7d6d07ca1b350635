// SPDX-License-Identifier: GPL-2.0-or-later
//
// The TLS settings of one connection, from the files of an SSL table.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/ssl/context.hpp>

#include "ctl/ovsdb/client.hpp"

namespace culvert::ctl::ovsdb {

/// Reads the files. The server must have a certificate of the CA; its name is not checked, as OVS
/// does not check it either. The error names the file that does not do.
[[nodiscard]] Result<std::shared_ptr<boost::asio::ssl::context>>
make_tls_context(const TlsFiles& files);

}  // namespace culvert::ctl::ovsdb
