// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads the PEM files of certificates and private keys for the IKE daemon, and finds out by which
// identity a certificate's owner is known in IKE: as ovs-monitor-ipsec has it, the common name,
// when the certificate says that it is a name of the owner's; else the whole subject.
#pragma once

#include <string>

#include "ctl/ike_connection.hpp"
#include "ctl/private_text.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl {

/// The first certificate of the file. `what` begins the sentence of an error: "certificate".
[[nodiscard]] dataplane::Result<IkeCertificate>
read_ike_certificate(const std::string& what, const std::string& path);

/// A key in PEM without a passphrase, of a file that not everybody can read.
[[nodiscard]] dataplane::Result<PrivateText> read_ike_private_key(const std::string& path);

}  // namespace culvert::ctl
