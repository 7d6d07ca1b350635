// SPDX-License-Identifier: GPL-2.0-or-later
//
// One OpenFlow connection as a state machine over bytes: version negotiation, then requests that
// are answered in order. No sockets here. Control thread.
#pragma once

#include <optional>

#include "ctl/openflow/bridge.hpp"
#include "ctl/openflow/wire.hpp"

namespace culvert::ctl::openflow {

/// Bit n: wire version n is spoken.
using Versions = std::uint32_t;
inline constexpr Versions kAllVersions = 0x7e;

class Session {
public:
    /// `snoop`: nothing but the negotiation and echoes is answered.
    Session(Bridge& bridge, Versions versions, bool snoop)
        : bridge_(bridge), versions_(versions), snoop_(snoop) {}

    /// What is sent first.
    [[nodiscard]] Bytes greeting() const;

    /// Takes bytes as they come; of a closed session they are dropped.
    void feed(View bytes);

    /// Answers what has come, until there is something to send; false when nothing waits.
    bool answer(Bytes& out);

    /// The peer is to be hung up on once what answer() gave is sent.
    [[nodiscard]] bool closed() const { return closed_; }
    /// In the middle of a message, or before the first.
    [[nodiscard]] bool pending() const { return version_ == 0 || !input_.empty(); }
    /// Whole messages that came.
    [[nodiscard]] std::uint64_t messages() const { return messages_; }
    /// What was refused last, a sentence; for the log.
    [[nodiscard]] std::optional<std::string> take_refusal();

private:
    void on_message(Bytes& out, View message);
    void negotiate(Bytes& out, View message);
    void dispatch(Bytes& out, View message);
    void dispatch_versioned(Bytes& out, View message);
    void on_flow_mod(Bytes& out, View message);
    void on_role(Bytes& out, View message);
    void on_experimenter(Bytes& out, View message);
    void
    refuse(Bytes& out, View message, std::uint16_t type, std::uint16_t code, std::string sentence);

    Bridge& bridge_;
    Versions versions_;
    bool snoop_;
    std::uint8_t version_ = 0;  ///< 0: not negotiated.
    bool closed_ = false;
    bool table_in_command_ = false;
    bool slave_ = false;
    std::uint32_t role_ = 1;  ///< OFPCR_ROLE_EQUAL.
    std::uint16_t config_flags_ = 0;
    std::uint16_t miss_send_len_ = 128;
    std::uint64_t messages_ = 0;
    std::optional<std::string> refusal_;
    Bytes input_;
};

}  // namespace culvert::ctl::openflow
