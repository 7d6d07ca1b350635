// SPDX-License-Identifier: GPL-2.0-or-later
//
// See ovsdb_start.hpp.
#include "ctl/ovsdb_start.hpp"

#include <csignal>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "ctl/log.hpp"
#include "ctl/ovsdb_configuration.hpp"

namespace culvert::ctl {

std::optional<DesiredState> read_start_options(
    const std::vector<std::string>& remotes,
    const ovsdb::TlsFiles& tls,
    const DesiredState& base,
    std::chrono::milliseconds wait
) {
    boost::asio::io_context io;
    boost::asio::signal_set signals(io, SIGINT, SIGTERM);
    bool ended = false;
    signals.async_wait([&](const boost::system::error_code& error, int /*signal*/) {
        ended = ended || !error;
        io.stop();
    });
    ovsdb::ClientOptions options;
    options.remotes = remotes;
    options.lock.clear();  // Whoever has the lock, the settings are the same.
    options.wanted = {{"Open_vSwitch", {"other_config"}}};
    options.tls = tls;
    ovsdb::Client client(io, options);
    std::optional<DesiredState> read;
    client.on_change = [&] {
        if (client.is_synchronised()) {
            read = start_options(client.replica(), base);
            io.stop();
        }
    };
    io.run_for(wait);
    if (ended) {
        return std::nullopt;
    }
    if (!read) {
        logger("ovsdb").warn(
            "{}: not read after {} ms; CPUs and memory are those of the configuration file",
            client.status(),
            wait.count()
        );
    }
    return read.value_or(base);
}

}  // namespace culvert::ctl
