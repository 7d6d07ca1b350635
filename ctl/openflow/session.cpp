// SPDX-License-Identifier: GPL-2.0-or-later
//
// See session.hpp.

#include "ctl/openflow/session.hpp"

#include <bit>
#include <utility>

#include <fmt/format.h>

#include "ctl/openflow/match.hpp"
#include "ctl/openflow/statistics.hpp"

namespace culvert::ctl::openflow {

namespace {

// Error types and codes (7.5.4 of OpenFlow 1.5). 1.0 numbers those of flow-mods otherwise.
constexpr std::uint16_t kHelloFailed = 0;
constexpr std::uint16_t kBadRequest = 1;
constexpr std::uint16_t kBadVersion = 0;
constexpr std::uint16_t kBadType = 1;
constexpr std::uint16_t kBadStatistics = 2;
constexpr std::uint16_t kBadExperimenter = 3;
constexpr std::uint16_t kBadSubtype = 4;
constexpr std::uint16_t kNotPermitted = 5;
constexpr std::uint16_t kBadLength = 6;
constexpr std::uint16_t kIsSlave = 10;

constexpr std::size_t kErrorDataMax = 64;
constexpr std::uint32_t kNicira = 0x2320;
constexpr std::uint16_t kHelloVersionBitmap = 1;

// Subtypes of Nicira's extension (nicira-ext.h).
constexpr std::uint32_t kNxRoleRequest = 10;
constexpr std::uint32_t kNxRoleReply = 11;
constexpr std::uint32_t kNxSetFlowFormat = 12;
constexpr std::uint32_t kNxFlowModTableId = 15;
constexpr std::uint32_t kNxSetPacketInFormat = 16;
constexpr std::uint32_t kNxSetAsyncConfig = 19;
constexpr std::uint32_t kNxSetControllerId = 20;

std::uint8_t highest(Versions versions) {
    return versions == 0 ? 0 : static_cast<std::uint8_t>(31 - std::countl_zero(versions));
}

/// The versions that a hello offers (7.5.1): its bitmap, or up to the header's.
Versions offered(View hello) {
    const Header header = read_header(hello);
    View elements = hello.subspan(kHeaderBytes);
    while (elements.size() >= 4) {
        const std::size_t length = read_at<std::uint16_t>(elements, 2);
        if (length < 4 || length > elements.size()) {
            break;
        }
        if (read_at<std::uint16_t>(elements, 0) == kHelloVersionBitmap && length >= 8) {
            return read_at<std::uint32_t>(elements, 4);
        }
        elements = elements.subspan(std::min(elements.size(), (length + 7) / 8 * 8));
    }
    return header.version >= 31 ? kAllVersions : (2U << header.version) - 2U;
}

}  // namespace

Bytes Session::greeting() const {
    Bytes out;
    Writer writer(out, highest(versions_), kHello, 1);
    writer.u16(kHelloVersionBitmap).u16(8).u32(versions_);
    writer.end();
    return out;
}

void Session::feed(View bytes) {
    if (!closed_) {
        input_.insert(input_.end(), bytes.begin(), bytes.end());
    }
}

bool Session::answer(Bytes& out) {
    std::size_t taken = 0;
    while (!closed_ && out.empty() && input_.size() - taken >= kHeaderBytes) {
        const View rest = View(input_).subspan(taken);
        const Header header = read_header(rest);
        if (header.length < kHeaderBytes || (version_ == 0 && header.type != kHello)) {
            closed_ = true;  // Not OpenFlow.
            break;
        }
        if (rest.size() < header.length) {
            break;
        }
        on_message(out, rest.first(header.length));
        ++messages_;
        taken += header.length;
    }
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(taken));
    if (closed_) {
        input_.clear();
    }
    return !out.empty();
}

std::optional<std::string> Session::take_refusal() {
    return std::exchange(refusal_, std::nullopt);
}

void Session::refuse(
    Bytes& out, View message, std::uint16_t type, std::uint16_t code, std::string sentence
) {
    const Header header = read_header(message);
    const std::uint8_t version = version_ == 0 ? highest(versions_) : version_;
    Writer writer(out, version, kError, header.xid);
    writer.u16(type).u16(code);
    if (type == kHelloFailed) {
        writer.bytes(std::as_bytes(std::span(sentence)));
    } else {
        writer.bytes(message.first(std::min(message.size(), kErrorDataMax)));
    }
    writer.end();
    refusal_ = std::move(sentence);
}

void Session::on_message(Bytes& out, View message) {
    const Header header = read_header(message);
    if (version_ == 0) {
        negotiate(out, message);
    } else if (header.version != version_) {
        refuse(
            out,
            message,
            kBadRequest,
            kBadVersion,
            fmt::format("a message of version {} came where {} is spoken", header.version, version_)
        );
    } else if (header.type == kEchoRequest) {
        Writer writer(out, version_, kEchoReply, header.xid);
        writer.bytes(message.subspan(kHeaderBytes));
        writer.end();
    } else if (!snoop_) {
        dispatch(out, message);
    }
}

void Session::negotiate(Bytes& out, View message) {
    const std::uint8_t common = highest(offered(message) & versions_);
    if (common != 0) {
        version_ = common;
        return;
    }
    refuse(
        out,
        message,
        kHelloFailed,
        0,
        fmt::format(
            "the peer offers none of the versions up to {} that bridge {} speaks",
            highest(versions_),
            bridge_.name()
        )
    );
    closed_ = true;
}

void Session::dispatch(Bytes& out, View message) {
    const Header header = read_header(message);
    switch (header.type) {
    case kHello:
    case kError:
    case kEchoReply:
        return;
    case kExperimenter:
        on_experimenter(out, message);
        return;
    case kFeaturesRequest:
        write_features(out, header, bridge_);
        return;
    case kGetConfigRequest: {
        Writer writer(out, version_, kGetConfigReply, header.xid);
        writer.u16(config_flags_).u16(miss_send_len_).end();
        return;
    }
    case kSetConfig:
        config_flags_ = read_at<std::uint16_t>(message, kHeaderBytes);
        miss_send_len_ = read_at<std::uint16_t>(message, kHeaderBytes + 2);
        return;
    case kPacketOut:
        refuse(out, message, kBadRequest, kNotPermitted, "packets cannot be sent by OpenFlow");
        return;
    case kFlowMod:
        on_flow_mod(out, message);
        return;
    default:
        dispatch_versioned(out, message);
        return;
    }
}

/// Types whose numbers differ between 1.0 and later versions.
void Session::dispatch_versioned(Bytes& out, View message) {
    const Header header = read_header(message);
    const bool is_10 = version_ == kOf10;
    const std::uint8_t port_mod = is_10 ? 15 : 16;
    const std::uint8_t statistics = is_10 ? 16 : 18;
    const std::uint8_t barrier = is_10 ? 18 : 20;
    if (header.type == barrier) {
        Writer(out, version_, barrier + 1, header.xid).end();
    } else if (header.type == statistics) {
        const Answered answered = answer_statistics(out, message, bridge_);
        if (answered == Answered::malformed) {
            refuse(out, message, kBadRequest, kBadLength, "a statistics request is too short");
        } else if (answered == Answered::unknown) {
            refuse(
                out,
                message,
                kBadRequest,
                kBadStatistics,
                fmt::format(
                    "there are no statistics of type {}",
                    read_at<std::uint16_t>(message, kHeaderBytes)
                )
            );
        }
    } else if (header.type == port_mod) {
        constexpr std::uint16_t kPortModFailed = 7;
        constexpr std::uint16_t kBadConfig = 2;
        if (is_10) {
            // 1.0 has no code for it under "port mod failed".
            refuse(out, message, kBadRequest, kNotPermitted, "ports cannot be changed by OpenFlow");
        } else {
            refuse(
                out,
                message,
                kPortModFailed,
                version_ >= kOf12 ? 4 : kBadConfig,
                "ports cannot be changed by OpenFlow"
            );
        }
    } else if (header.type == kRoleRequest && version_ >= kOf12) {
        on_role(out, message);
    } else if (header.type == kSetAsync && version_ >= kOf13) {
        return;  // Nothing is ever sent unasked.
    } else {
        refuse(
            out,
            message,
            kBadRequest,
            kBadType,
            fmt::format("messages of type {} are not known", header.type)
        );
    }
}

void Session::on_flow_mod(Bytes& out, View message) {
    const bool is_10 = version_ == kOf10;
    if (slave_) {
        refuse(out, message, kBadRequest, kIsSlave, "a connection in the role slave changes flows");
        return;
    }
    const auto change = read_flow_mod(message, table_in_command_);
    if (!change) {
        refuse(out, message, kBadRequest, kBadLength, "a flow-mod is malformed");
        return;
    }
    const std::uint16_t flow_mod_failed = is_10 ? 3 : 5;
    const std::uint16_t not_permitted = is_10 ? 2 : 4;
    if (auto refusal = bridge_.tables().change(*change)) {
        refuse(out, message, flow_mod_failed, not_permitted, std::move(*refusal));
    }
}

void Session::on_role(Bytes& out, View message) {
    const Header header = read_header(message);
    if (message.size() < 24) {
        refuse(out, message, kBadRequest, kBadLength, "a role request is too short");
        return;
    }
    const auto role = read_at<std::uint32_t>(message, kHeaderBytes);
    constexpr std::uint32_t kSlave = 3;
    if (role != 0 && role <= kSlave) {
        role_ = role;
        slave_ = role == kSlave;
    }
    Writer writer(out, version_, kRoleReply, header.xid);
    writer.u32(role_).fill(4).u64(read_at<std::uint64_t>(message, 16)).end();
}

void Session::on_experimenter(Bytes& out, View message) {
    const Header header = read_header(message);
    const auto vendor = read_at<std::uint32_t>(message, kHeaderBytes);
    const auto subtype = read_at<std::uint32_t>(message, kHeaderBytes + 4);
    if (message.size() < 16 || vendor != kNicira) {
        refuse(
            out,
            message,
            kBadRequest,
            kBadExperimenter,
            fmt::format("extensions of the vendor {:#x} are not known", vendor)
        );
        return;
    }
    const auto value = read_at<std::uint32_t>(message, 16);
    switch (subtype) {
    case kNxFlowModTableId:
        table_in_command_ = read_at<std::uint8_t>(message, 16) != 0;
        return;
    case kNxSetFlowFormat:
        if (value != 0) {
            refuse(out, message, kBadRequest, kNotPermitted, "flows are not spoken of in NXM");
        }
        return;
    case kNxSetPacketInFormat:
    case kNxSetAsyncConfig:
    case kNxSetControllerId:
        return;  // About messages that are never sent unasked.
    case kNxRoleRequest: {
        slave_ = value == 2;
        Writer writer(out, version_, kExperimenter, header.xid);
        writer.u32(kNicira).u32(kNxRoleReply).u32(value).end();
        return;
    }
    default:
        refuse(
            out,
            message,
            kBadRequest,
            kBadSubtype,
            fmt::format("Nicira's extension {} is not known", subtype)
        );
        return;
    }
}

}  // namespace culvert::ctl::openflow
