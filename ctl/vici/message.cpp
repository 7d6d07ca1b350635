// SPDX-License-Identifier: GPL-2.0-or-later
//
// Elements of a message have a type byte; names a length of 8 bits, values one of 16 bits, packets
// one of 32 bits, all in network order.
#include "ctl/vici/message.hpp"

#include <algorithm>

namespace culvert::ctl::vici {
namespace {

enum class Element : std::uint8_t {
    section_start = 1,
    section_end = 2,
    pair = 3,
    list_start = 4,
    list_item = 5,
    list_end = 6,
};

constexpr std::size_t kNameMax = 255;
constexpr std::size_t kValueMax = 65535;
constexpr std::size_t kLengthBytes = 4;

tl::unexpected<std::string> failure(std::string sentence) {
    return tl::unexpected<std::string>(std::move(sentence));
}

bool has_name(Operation operation) {
    return operation == Operation::request || operation == Operation::register_event ||
           operation == Operation::unregister_event || operation == Operation::event;
}

bool has_message(Operation operation) {
    return operation == Operation::request || operation == Operation::response ||
           operation == Operation::event;
}

template <class T>
const T* find(const std::vector<Entry>& entries, std::string_view name) {
    for (const Entry& entry : entries) {
        if (const T* value = std::get_if<T>(&entry.value); value != nullptr && entry.name == name) {
            return value;
        }
    }
    return nullptr;
}

// ---- Writing ------------------------------------------------------------------------------------

std::size_t size_of(const Message& message) {
    std::size_t bytes = 0;
    for (const Entry& entry : message.entries()) {
        bytes += 2 + entry.name.size();
        if (const auto* text = std::get_if<std::string>(&entry.value)) {
            bytes += 2 + text->size();
        } else if (const auto* secret = std::get_if<PrivateText>(&entry.value)) {
            bytes += 2 + secret->reveal().size();
        } else if (const auto* list = std::get_if<Message::List>(&entry.value)) {
            bytes += 1;
            for (const std::string& item : *list) {
                bytes += 3 + item.size();
            }
        } else {
            bytes += 1 + size_of(std::get<Message>(entry.value));
        }
    }
    return bytes;
}

/// Writes into a text that is large enough from the start, so that no copy of a secret stays
/// behind.
class Writer {
public:
    explicit Writer(std::size_t bytes) { out_.reserve(bytes); }

    void length(std::size_t bytes) {
        for (const unsigned shift : {24U, 16U, 8U, 0U}) {
            byte(static_cast<std::uint8_t>(bytes >> shift));
        }
    }
    void byte(std::uint8_t value) { out_ += static_cast<char>(value); }
    void name(std::string_view text) {
        if (text.size() > kNameMax) {
            complain(
                "the name \"" + std::string(text.substr(0, 40)) + "...\" has " +
                std::to_string(text.size()) + " bytes"
            );
            return;
        }
        byte(static_cast<std::uint8_t>(text.size()));
        out_ += text;
    }
    void value(std::string_view name, std::string_view text) {
        if (text.size() > kValueMax) {
            complain(
                "the value of \"" + std::string(name) + "\" has " + std::to_string(text.size()) +
                " bytes"
            );
            return;
        }
        byte(static_cast<std::uint8_t>(text.size() >> 8U));
        byte(static_cast<std::uint8_t>(text.size()));
        out_ += text;
    }
    void message(const Message& message);
    Result<std::string> take() {
        if (!complaint_.empty()) {
            tunnels::wipe(std::as_writable_bytes(std::span(out_)));
            return failure(complaint_);
        }
        return std::move(out_);
    }

private:
    void element(Element kind) { byte(static_cast<std::uint8_t>(kind)); }
    void entry(const Entry& entry);
    void complain(std::string what) {
        if (complaint_.empty()) {
            complaint_ = std::move(what) + ", which is more than the vici protocol can carry";
        }
    }

    std::string out_;
    std::string complaint_;
};

void Writer::message(const Message& message) {
    for (const Entry& each : message.entries()) {
        entry(each);
    }
}

void Writer::entry(const Entry& entry) {
    if (const auto* text = std::get_if<std::string>(&entry.value)) {
        element(Element::pair);
        name(entry.name);
        value(entry.name, *text);
    } else if (const auto* secret = std::get_if<PrivateText>(&entry.value)) {
        element(Element::pair);
        name(entry.name);
        value(entry.name, secret->reveal());
    } else if (const auto* list = std::get_if<Message::List>(&entry.value)) {
        element(Element::list_start);
        name(entry.name);
        for (const std::string& item : *list) {
            element(Element::list_item);
            value(entry.name, item);
        }
        element(Element::list_end);
    } else {
        element(Element::section_start);
        name(entry.name);
        message(std::get<Message>(entry.value));
        element(Element::section_end);
    }
}

// ---- Reading ------------------------------------------------------------------------------------

class Reader {
public:
    explicit Reader(std::string_view bytes) : rest_(bytes) {}

    [[nodiscard]] bool at_end() const { return rest_.empty(); }
    /// False: there are not so many bytes.
    bool number(std::size_t bytes, std::size_t& value) {
        if (rest_.size() < bytes) {
            return false;
        }
        value = 0;
        for (const char c : rest_.substr(0, bytes)) {
            value = value << 8U | static_cast<std::uint8_t>(c);
        }
        rest_.remove_prefix(bytes);
        return true;
    }
    /// A text behind its length of so many bytes.
    bool text(std::size_t length_bytes, std::string& value) {
        std::size_t length = 0;
        if (!number(length_bytes, length) || rest_.size() < length) {
            return false;
        }
        value = rest_.substr(0, length);
        rest_.remove_prefix(length);
        return true;
    }
    /// Up to the end of the section, or of all at depth 0.
    Result<Message> message(std::size_t depth);

private:
    Result<Message::List> list();
    Result<void> entry(Element kind, std::size_t depth, Message& into);

    std::string_view rest_;
};

tl::unexpected<std::string> cut_short() {
    return failure("a vici message is cut short");
}

Result<Message> Reader::message(std::size_t depth) {
    if (depth > kDepthMax) {
        return failure(
            "a vici message has sections in more than " + std::to_string(kDepthMax) + " sections"
        );
    }
    Message made;
    std::size_t kind = 0;
    while (number(1, kind)) {
        const auto element = static_cast<Element>(kind);
        if (element == Element::section_end && depth > 0) {
            return made;
        }
        if (auto read = entry(element, depth, made); !read.has_value()) {
            return failure(std::move(read.error()));
        }
    }
    return depth > 0 ? Result<Message>(cut_short()) : Result<Message>(std::move(made));
}

Result<void> Reader::entry(Element kind, std::size_t depth, Message& into) {
    if (kind != Element::pair && kind != Element::section_start && kind != Element::list_start) {
        return failure(
            "a vici message has element " + std::to_string(static_cast<unsigned>(kind)) +
            " where a pair, a list or a section is due"
        );
    }
    std::string name;
    if (!text(1, name)) {
        return cut_short();
    }
    if (kind == Element::pair) {
        std::string value;
        if (!text(2, value)) {
            return cut_short();
        }
        into.add(std::move(name), std::move(value));
        return {};
    }
    if (kind == Element::list_start) {
        return list().map([&](Message::List items) { into.add(std::move(name), std::move(items)); }
        );
    }
    return message(depth + 1).map([&](Message section) {
        into.add(std::move(name), std::move(section));
    });
}

Result<Message::List> Reader::list() {
    Message::List items;
    std::size_t kind = 0;
    while (number(1, kind)) {
        const auto element = static_cast<Element>(kind);
        if (element == Element::list_end) {
            return items;
        }
        if (element != Element::list_item) {
            return failure(
                "a list of a vici message has element " + std::to_string(kind) +
                " where an item is due"
            );
        }
        if (!text(2, items.emplace_back())) {
            return cut_short();
        }
    }
    return cut_short();
}

}  // namespace

Message& Message::add(std::string name, std::string value) {
    entries_.push_back({std::move(name), std::move(value)});
    return *this;
}

Message& Message::add(std::string name, PrivateText value) {
    entries_.push_back({std::move(name), std::move(value)});
    return *this;
}

Message& Message::add(std::string name, List values) {
    entries_.push_back({std::move(name), std::move(values)});
    return *this;
}

Message& Message::add(std::string name, Message section) {
    entries_.push_back({std::move(name), std::move(section)});
    return *this;
}

std::string_view Message::text(std::string_view name) const {
    const auto* found = find<std::string>(entries_, name);
    return found != nullptr ? std::string_view(*found) : std::string_view();
}

const Message::List* Message::list(std::string_view name) const {
    return find<List>(entries_, name);
}

const Message* Message::section(std::string_view name) const {
    return find<Message>(entries_, name);
}

// Written out: they are each other's, which clang 14 does not find its way out of.
bool Message::operator==(const Message& other) const {
    return entries_ == other.entries_;
}

bool Entry::operator==(const Entry& other) const {
    return name == other.name && value == other.value;
}

Result<std::string> encode(const Packet& packet) {
    std::size_t bytes = 1;
    if (has_name(packet.operation)) {
        bytes += 1 + packet.name.size();
    }
    if (has_message(packet.operation)) {
        bytes += size_of(packet.message);
    }
    if (bytes > kPacketBytesMax) {
        return failure(
            "a message \"" + packet.name.substr(0, kNameMax) + "\" has " + std::to_string(bytes) +
            " bytes, which is more than the vici protocol can carry"
        );
    }
    Writer writer(kLengthBytes + bytes);
    writer.length(bytes);
    writer.byte(static_cast<std::uint8_t>(packet.operation));
    if (has_name(packet.operation)) {
        writer.name(packet.name);
    }
    if (has_message(packet.operation)) {
        writer.message(packet.message);
    }
    return writer.take();
}

Result<Packet> decode(std::string_view bytes) {
    Reader reader(bytes);
    std::size_t operation = 0;
    if (!reader.number(1, operation)) {
        return failure("a vici packet is empty");
    }
    if (operation > static_cast<std::size_t>(Operation::event)) {
        return failure("a vici packet has operation " + std::to_string(operation) + ", not 0 to 7");
    }
    Packet packet;
    packet.operation = static_cast<Operation>(operation);
    if (has_name(packet.operation) && !reader.text(1, packet.name)) {
        return cut_short();
    }
    if (has_message(packet.operation)) {
        auto message = reader.message(0);
        if (!message.has_value()) {
            return failure(std::move(message.error()));
        }
        packet.message = std::move(*message);
    }
    // What a later version may put behind what has no message is not looked at.
    return packet;
}

Result<std::vector<Packet>> PacketStream::feed(std::string_view bytes) {
    buffer_ += bytes;
    std::vector<Packet> packets;
    std::size_t at = 0;
    while (buffer_.size() - at >= kLengthBytes) {
        std::size_t length = 0;
        Reader(std::string_view(buffer_).substr(at)).number(kLengthBytes, length);
        if (length > kPacketBytesMax) {
            return failure(
                "a vici packet says that it has " + std::to_string(length) + " bytes, not up to " +
                std::to_string(kPacketBytesMax)
            );
        }
        if (buffer_.size() - at - kLengthBytes < length) {
            break;
        }
        auto packet = decode(std::string_view(buffer_).substr(at + kLengthBytes, length));
        if (!packet.has_value()) {
            return failure(std::move(packet.error()));
        }
        packets.push_back(std::move(*packet));
        at += kLengthBytes + length;
    }
    buffer_.erase(0, at);
    return packets;
}

}  // namespace culvert::ctl::vici
