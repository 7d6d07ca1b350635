// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is said at the vici socket of strongSwan's charon: a packet is an operation, a name where it
// has one, and a message of sections, lists and key/value pairs. Pure: bytes in, values out, and
// back. What comes from the socket is untrusted: bounded in size and depth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ctl/private_text.hpp"
#include "dataplane/result.hpp"

namespace culvert::ctl::vici {

using dataplane::Result;

/// charon's own limit for a packet.
inline constexpr std::size_t kPacketBytesMax = std::size_t{512} << 10U;
/// Sections in sections; charon itself has four.
inline constexpr std::size_t kDepthMax = 16;

struct Entry;

/// Pairs in the order in which they are sent. Names may come more than once.
class Message {
public:
    using List = std::vector<std::string>;

    Message& add(std::string name, std::string value);
    Message& add(std::string name, PrivateText value);
    Message& add(std::string name, List values);
    Message& add(std::string name, Message section);

    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
    /// The first one of that name and kind; empty text, or null: there is none.
    [[nodiscard]] std::string_view text(std::string_view name) const;
    [[nodiscard]] const List* list(std::string_view name) const;
    [[nodiscard]] const Message* section(std::string_view name) const;
    bool operator==(const Message& other) const;

private:
    std::vector<Entry> entries_;
};

struct Entry {
    std::string name;
    /// A secret is sent like any other value, and wiped.
    std::variant<std::string, PrivateText, Message::List, Message> value;
    bool operator==(const Entry& other) const;
};

enum class Operation : std::uint8_t {
    request = 0,
    response = 1,
    unknown_command = 2,
    register_event = 3,
    unregister_event = 4,
    event_confirmed = 5,
    unknown_event = 6,
    event = 7,
};

struct Packet {
    Operation operation{};
    std::string name;  ///< Of a request or an event (3, 4, 7); else empty.
    Message message;   ///< Of a request, a response or an event.
    bool operator==(const Packet&) const = default;
};

/// With its length in front, as it is sent. It may hold secrets: wipe it. An error when something
/// is longer than can be said.
[[nodiscard]] Result<std::string> encode(const Packet& packet);
/// Without its length.
[[nodiscard]] Result<Packet> decode(std::string_view bytes);

/// Cuts what is received into packets. After an error it is of no use any more.
class PacketStream {
public:
    [[nodiscard]] Result<std::vector<Packet>> feed(std::string_view bytes);

private:
    std::string buffer_;
};

}  // namespace culvert::ctl::vici
