// SPDX-License-Identifier: GPL-2.0-or-later
//
// Answers that describe: features, port descriptions and the statistics (multipart) messages of
// OpenFlow 1.0 to 1.5. Pure but for what the bridge is asked.
#pragma once

#include "ctl/openflow/bridge.hpp"
#include "ctl/openflow/wire.hpp"

namespace culvert::ctl::openflow {

/// The answer to a features request.
void write_features(Bytes& out, const Header& request, Bridge& bridge);

enum class Answered : std::uint8_t { yes, malformed, unknown };

/// `message` is a statistics (multipart) request; the answer may be several messages.
[[nodiscard]] Answered answer_statistics(Bytes& out, View message, Bridge& bridge);

}  // namespace culvert::ctl::openflow
