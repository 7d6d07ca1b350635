// SPDX-License-Identifier: GPL-2.0-or-later
//
// Splits a byte stream into the JSON texts of JSON-RPC 1.0 messages, which follow each other
// without a delimiter. Only objects and arrays are messages; blanks between them are skipped.
// Bounded in bytes and in nesting, because the bytes may come from anywhere.
// No thread affinity: each stream belongs to whoever feeds it.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/result.hpp"

namespace culvert::ctl {

using dataplane::Result;

/// Objects and arrays inside each other; a deeper text is refused.
inline constexpr unsigned kJsonDepthMax = 32;

struct JsonLimits {
    std::size_t bytes_max = 0;
    /// Values of one text, names of members among them: what a parsed text may take in memory.
    std::size_t values_max = std::numeric_limits<std::size_t>::max();
    /// Texts are returned unchecked where brackets match: for one who parses them anyway.
    bool brackets_only = false;
};

class JsonStream {
public:
    explicit JsonStream(std::size_t bytes_max) : JsonStream(JsonLimits{.bytes_max = bytes_max}) {}
    explicit JsonStream(const JsonLimits& limits) : limits_(limits) {}

    /// Takes received bytes; returns each complete top-level JSON text. A text over `bytes_max`,
    /// nested too deeply or that is not JSON is an error, and stays one: the stream is out of step.
    /// When complete texts precede the bad bytes they are returned first, and the next call (with
    /// nothing, say) returns the error.
    [[nodiscard]] Result<std::vector<std::string>> feed(std::string_view bytes);

    /// Bytes of an unfinished text are buffered.
    [[nodiscard]] bool pending() const noexcept { return !buffer_.empty(); }

private:
    /// How many of the bytes belong to the text; sets complete_ or error_.
    std::size_t scan(std::string_view bytes);
    void scan_bracket(char byte);
    void fail(std::string sentence);

    JsonLimits limits_;
    std::string buffer_;
    std::string error_;
    std::size_t values_ = 0;
    unsigned depth_ = 0;
    bool in_string_ = false;
    bool escaped_ = false;
    bool complete_ = false;
};

}  // namespace culvert::ctl
