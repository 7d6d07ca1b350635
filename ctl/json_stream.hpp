// SPDX-License-Identifier: GPL-2.0-or-later
//
// Splits a byte stream into the JSON texts of JSON-RPC 1.0 messages, which follow each other
// without a delimiter. Only objects and arrays are messages; blanks between them are skipped.
// Bounded in bytes and in nesting, because the bytes may come from anywhere.
// No thread affinity: each stream belongs to whoever feeds it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// Objects and arrays inside each other; a deeper text is refused.
inline constexpr unsigned kJsonDepthMax = 32;

class JsonStream {
public:
    explicit JsonStream(std::size_t bytes_max) : bytes_max_(bytes_max) {}

    /// Takes received bytes; returns each complete top-level JSON text. A text over `bytes_max`,
    /// nested too deeply or that is not JSON is an error, and stays one: the stream is out of step.
    /// When complete texts precede the bad bytes they are returned first, and the next call (with
    /// nothing, say) returns the error.
    [[nodiscard]] Result<std::vector<std::string>> feed(std::string_view bytes);

    /// Bytes of an unfinished text are buffered.
    [[nodiscard]] bool pending() const noexcept { return !buffer_.empty(); }

private:
    enum class Scan : unsigned char { more, complete, bad };

    [[nodiscard]] Scan scan(char byte);
    Scan fail(std::string sentence);

    std::size_t bytes_max_;
    std::string buffer_;
    std::string error_;
    unsigned depth_ = 0;
    bool in_string_ = false;
    bool escaped_ = false;
};

}  // namespace culvert::ctl
