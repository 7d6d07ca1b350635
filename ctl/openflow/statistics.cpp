// SPDX-License-Identifier: GPL-2.0-or-later
//
// See statistics.hpp. A counter that is not kept reads as all ones, as the protocol has it.

#include "ctl/openflow/statistics.hpp"

#include <functional>
#include <optional>

#include "ctl/openflow/match.hpp"

namespace culvert::ctl::openflow {

namespace {

constexpr std::uint64_t kNotCounted = ~std::uint64_t{0};
constexpr std::uint8_t kTables = 254;
constexpr std::uint32_t kCapabilities = 0x7;  ///< Flow, table and port statistics.
constexpr std::uint16_t kPortNone16 = 0xffff;
constexpr std::uint32_t kAny32 = 0xffffffff;
constexpr std::uint32_t kReservedPorts32 = 0xffff0000;  ///< A reserved port's 16 bits behind it.
constexpr std::uint16_t kReserved16 = 0xff00;
constexpr std::uint32_t kLinkDown = 1;
constexpr std::uint32_t kLive = 4;
constexpr std::uint16_t kMore = 1;
constexpr std::uint8_t kAnyTable = 255;

constexpr std::uint16_t kDescription = 0;
constexpr std::uint16_t kFlow = 1;
constexpr std::uint16_t kAggregate = 2;
constexpr std::uint16_t kTable = 3;
constexpr std::uint16_t kPort = 4;
constexpr std::uint16_t kQueue = 5;
constexpr std::uint16_t kGroup = 6;
constexpr std::uint16_t kGroupDescription = 7;
constexpr std::uint16_t kMeter = 9;
constexpr std::uint16_t kMeterConfig = 10;
constexpr std::uint16_t kTableFeatures = 12;
constexpr std::uint16_t kPortDescription = 13;

std::uint32_t wide_port(std::uint16_t ofport) {
    return ofport >= kReserved16 ? kReservedPorts32 | ofport : ofport;
}

void write_port(Writer& writer, std::uint8_t version, const PortFacts& port) {
    const std::uint32_t state = port.up ? (version == kOf10 ? 0 : kLive) : kLinkDown;
    const View mac = std::as_bytes(std::span(port.mac.bytes));
    if (version == kOf10) {
        writer.u16(port.ofport).bytes(mac).text(port.name, 16).u32(0).u32(state).fill(16);
        return;
    }
    writer.u32(wide_port(port.ofport));
    if (version < kOf14) {
        writer.fill(4).bytes(mac).fill(2).text(port.name, 16).u32(0).u32(state).fill(24);
        return;
    }
    // One property: Ethernet, of which nothing is known.
    writer.u16(72).fill(2).bytes(mac).fill(2).text(port.name, 16).u32(0).u32(state);
    writer.u16(0).u16(32).fill(28);
}

void write_port_counters(Writer& writer, std::uint8_t version, const PortFacts& port) {
    if (version == kOf10) {
        writer.u16(port.ofport).fill(6);
    } else if (version < kOf14) {
        writer.u32(wide_port(port.ofport)).fill(4);
    } else {
        writer.u16(80).fill(2).u32(wide_port(port.ofport)).u32(kAny32).u32(kAny32);
    }
    writer.u64(port.rx_packets).u64(port.tx_packets).u64(port.rx_bytes).u64(port.tx_bytes);
    writer.u64(port.dropped);
    const unsigned not_counted = version < kOf14 ? 7 : 3;
    for (unsigned i = 0; i < not_counted; ++i) {
        writer.u64(kNotCounted);
    }
    if (version == kOf13) {
        writer.u32(kAny32).u32(kAny32);
    }
}

/// A statistics answer: items in as many messages as they need.
class Reply {
public:
    Reply(Bytes& out, const Header& request, std::uint16_t type)
        : out_(out), request_(request), type_(type), writer_(begin()) {}

    void add(const std::function<void(Writer&)>& write) {
        Bytes item;
        Writer inner(item);
        write(inner);
        if (writer_.size() + item.size() > kMessageBytesMax) {
            writer_.set_u16(kHeaderBytes + 2, kMore);
            writer_.end();
            writer_ = begin();
        }
        writer_.bytes(item);
    }
    void end() { writer_.end(); }

private:
    Writer begin() {
        const std::uint8_t type = request_.version == kOf10 ? 17 : 19;
        Writer writer(out_, request_.version, type, request_.xid);
        writer.u16(type_).u16(0).fill(request_.version == kOf10 ? 0 : 4);
        return writer;
    }

    Bytes& out_;
    Header request_;
    std::uint16_t type_;
    Writer writer_;
};

void add_description(Reply& reply, const Bridge& bridge) {
    reply.add([&](Writer& writer) {
        writer.text("Culvert", 256)
            .text("DPDK", 256)
            .text(CULVERT_VERSION, 256)
            .text("None", 32)
            .text(bridge.name(), 256);
    });
}

/// OpenFlow 1.5's extensible statistics (7.2.4): {class 0x8002, field, length} and the value.
void write_oxs(Writer& writer, const FlowFacts& flow) {
    constexpr std::uint16_t kClass = 0x8002;
    const auto field = [&](std::uint8_t number, std::uint64_t value) {
        writer.u16(kClass).u8(static_cast<std::uint8_t>(number << 1U)).u8(8).u64(value);
    };
    writer.u16(0).u16(4 + 3 * 12);
    field(0, std::uint64_t{flow.duration_s} << 32U);
    field(4, flow.packets);
    field(5, flow.bytes);
}

void write_normal_action(Writer& writer, std::uint8_t version) {
    if (version == kOf10) {
        writer.u16(0).u16(8).u16(kNormal16).u16(0);
        return;
    }
    writer.u16(4).u16(24).fill(4);
    writer.u16(0).u16(16).u32(kNormal32).u16(0).fill(6);
}

void write_flow(Writer& writer, std::uint8_t version, const FlowFacts& flow) {
    writer.u16(0);  // Its length.
    if (version == kOf15) {
        writer.fill(2).u8(0).u8(0).u16(0).u16(0).u16(0).u16(0).u16(0).u64(flow.cookie);
        write_any_match(writer, version);
        write_oxs(writer, flow);
    } else if (version == kOf10) {
        writer.u8(0).u8(0);
        write_any_match(writer, version);
        writer.u32(flow.duration_s).u32(0).u16(0).u16(0).u16(0).fill(6);
        writer.u64(flow.cookie).u64(flow.packets).u64(flow.bytes);
    } else {
        writer.u8(0).u8(0).u32(flow.duration_s).u32(0).u16(0).u16(0).u16(0).fill(6);
        writer.u64(flow.cookie).u64(flow.packets).u64(flow.bytes);
        write_any_match(writer, version);
    }
    write_normal_action(writer, version);
    writer.set_u16(0, writer.size());
}

void write_aggregate(Writer& writer, std::uint8_t version, const FlowFacts& flow, bool chosen) {
    const std::uint64_t packets = chosen ? flow.packets : 0;
    const std::uint64_t bytes = chosen ? flow.bytes : 0;
    if (version < kOf15) {
        writer.u64(packets).u64(bytes).u32(chosen ? 1 : 0).fill(4);
        return;
    }
    constexpr std::uint16_t kClass = 0x8002;
    writer.u16(0).u16(4 + 8 + 2 * 12);
    writer.u16(kClass).u8(3U << 1U).u8(4).u32(chosen ? 1 : 0);
    writer.u16(kClass).u8(4U << 1U).u8(8).u64(packets);
    writer.u16(kClass).u8(5U << 1U).u8(8).u64(bytes);
    writer.fill((8 - writer.size() % 8) % 8);
}

void write_table(Writer& writer, std::uint8_t version, const FlowFacts& flow) {
    writer.u8(0);
    switch (version) {
    case kOf10:
        writer.fill(3).text("", 32).u32(0x3fffff).u32(1).u32(1);
        break;
    case kOf11:
        writer.fill(7).text("", 32).fill(24).u32(1).u32(1);
        break;
    case kOf12:
        writer.fill(7).text("", 32).fill(64).u32(1).u32(1);
        break;
    default:
        writer.fill(3).u32(1);
        break;
    }
    writer.u64(flow.packets).u64(flow.packets);
}

/// With the properties that a switch has to name (A.3.5.5.2 of OpenFlow 1.3): output is applied at
/// once, and nothing is matched or set.
void write_table_features(Writer& writer) {
    constexpr std::uint16_t kProperties = 8;
    constexpr std::uint16_t kInstructions = 0;
    constexpr std::uint16_t kApplyActions = 6;
    writer.u16(64 + kProperties * 8).u8(0).fill(5).text("", 32).fill(16).u32(0).u32(1);
    for (std::uint16_t type = 0; type < 2 * kProperties;
         type = static_cast<std::uint16_t>(type + 2)) {
        const bool listed = type == kInstructions || type == kApplyActions;
        writer.u16(type).u16(listed ? 8 : 4);
        if (listed) {
            writer.u16(type == kInstructions ? 4 : 0).u16(4);
        } else {
            writer.fill(4);
        }
    }
}

/// Whether a flow or aggregate request is about the default flow too. Nothing: malformed.
std::optional<bool> chooses_default(View message, std::uint8_t version, std::uint64_t cookie) {
    if (version == kOf10) {
        const std::size_t body = kHeaderBytes + 4;
        const auto match = read_match(message, body, version);
        if (!match || message.size() < body + match->size + 4) {
            return std::nullopt;
        }
        const auto table = read_at<std::uint8_t>(message, body + 40);
        const auto port = read_at<std::uint16_t>(message, body + 42);
        return match->everything && (table == kAnyTable || table == 0) &&
               (port == kPortNone16 || port == kNormal16);
    }
    const std::size_t body = kHeaderBytes + 8;
    const auto match = read_match(message, body + 32, version);
    if (!match) {
        return std::nullopt;
    }
    const auto table = read_at<std::uint8_t>(message, body);
    const auto port = read_at<std::uint32_t>(message, body + 4);
    const auto group = read_at<std::uint32_t>(message, body + 8);
    const auto wanted = read_at<std::uint64_t>(message, body + 16);
    const auto mask = read_at<std::uint64_t>(message, body + 24);
    return match->everything && (table == kAnyTable || table == 0) &&
           (port == kAny32 || port == kNormal32) && group == kAny32 &&
           ((wanted ^ cookie) & mask) == 0;
}

void add_ports(
    Reply& reply,
    std::uint8_t version,
    const Bridge& bridge,
    std::optional<std::uint16_t> only,
    void (*write)(Writer&, std::uint8_t, const PortFacts&)
) {
    for (const PortFacts& port : bridge.ports()) {
        if (!only || *only == port.ofport) {
            reply.add([&](Writer& writer) { write(writer, version, port); });
        }
    }
}

/// The port that a request names; nothing: all.
std::optional<std::uint16_t> requested_port(View message, std::uint8_t version) {
    if (version == kOf10) {
        const auto port = read_at<std::uint16_t>(message, kHeaderBytes + 4);
        return port == kPortNone16 ? std::nullopt : std::optional(port);
    }
    const auto port = read_at<std::uint32_t>(message, kHeaderBytes + 8);
    return port == kAny32 ? std::nullopt : std::optional(static_cast<std::uint16_t>(port));
}

}  // namespace

void write_features(Bytes& out, const Header& request, Bridge& bridge) {
    Writer writer(out, request.version, kFeaturesReply, request.xid);
    writer.u64(bridge.datapath_id()).u32(0).u8(kTables).fill(3).u32(kCapabilities);
    writer.u32(request.version == kOf10 ? 1 : 0);  // 1.0: the action "output".
    if (request.version < kOf13) {
        const std::size_t port_bytes = request.version == kOf10 ? 48 : 64;
        for (const PortFacts& port : bridge.ports()) {
            if (writer.size() + port_bytes > kMessageBytesMax) {
                break;  // Port descriptions have them all.
            }
            write_port(writer, request.version, port);
        }
    }
    writer.end();
}

Answered answer_statistics(Bytes& out, View message, Bridge& bridge) {
    const Header header = read_header(message);
    const std::uint8_t version = header.version;
    const std::size_t fixed = kHeaderBytes + (version == kOf10 ? 4 : 8);
    if (message.size() < fixed) {
        return Answered::malformed;
    }
    const auto type = read_at<std::uint16_t>(message, kHeaderBytes);
    const FlowFacts flow = bridge.tables().normal_flow();
    Bytes answer;
    Reply reply(answer, header, type);
    switch (type) {
    case kDescription:
        add_description(reply, bridge);
        break;
    case kFlow:
    case kAggregate: {
        const auto chosen = chooses_default(message, version, flow.cookie);
        if (!chosen) {
            return Answered::malformed;
        }
        if (type == kAggregate) {
            reply.add([&](Writer& writer) { write_aggregate(writer, version, flow, *chosen); });
        } else if (*chosen) {
            reply.add([&](Writer& writer) { write_flow(writer, version, flow); });
        }
        break;
    }
    case kTable:
        reply.add([&](Writer& writer) { write_table(writer, version, flow); });
        break;
    case kTableFeatures:
        if (version < kOf13 || message.size() > fixed) {
            return Answered::unknown;  // The latter is to set them.
        }
        reply.add([](Writer& writer) { write_table_features(writer); });
        break;
    case kPort:
        if (message.size() < fixed + 8) {
            return Answered::malformed;
        }
        add_ports(reply, version, bridge, requested_port(message, version), write_port_counters);
        break;
    case kPortDescription:
        // OVS answers it in every version; 1.5 may ask for one port.
        add_ports(
            reply,
            version,
            bridge,
            version == kOf15 ? requested_port(message, version) : std::nullopt,
            write_port
        );
        break;
    case kQueue:
        break;  // There is none.
    case kGroup:
    case kGroupDescription:
    case kMeter:
    case kMeterConfig:
        if (version < (type >= kMeter ? kOf13 : kOf11)) {
            return Answered::unknown;
        }
        break;  // There is none.
    default:
        return Answered::unknown;
    }
    reply.end();
    out.insert(out.end(), answer.begin(), answer.end());
    return Answered::yes;
}

}  // namespace culvert::ctl::openflow
