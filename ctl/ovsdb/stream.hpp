// SPDX-License-Identifier: GPL-2.0-or-later
//
// A connection to a remote, whatever its kind: bytes in, bytes out, nothing that blocks. Handlers
// run on the io_context, never inside the call, and keep the stream alive until they have run;
// after close() they bring an error.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include "ctl/ovsdb/client.hpp"
#include "ctl/ovsdb/remote.hpp"

namespace culvert::ctl::ovsdb {

class Stream {
public:
    /// Empty: connected. Else one sentence.
    using Connected = std::function<void(const std::string& failure)>;
    using Moved = std::function<void(boost::system::error_code error, std::size_t bytes)>;

    Stream() = default;
    virtual ~Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    virtual void connect(Connected connected) = 0;
    virtual void read_some(boost::asio::mutable_buffer buffer, Moved moved) = 0;
    /// All of the buffer.
    virtual void write(boost::asio::const_buffer buffer, Moved moved) = 0;
    virtual void close() = 0;
    /// More can be read at once.
    [[nodiscard]] virtual bool is_readable() = 0;
};

/// The error is one of the TLS files.
[[nodiscard]] Result<std::shared_ptr<Stream>>
make_stream(boost::asio::io_context& io, const Remote& remote, const TlsFiles& tls);

}  // namespace culvert::ctl::ovsdb
