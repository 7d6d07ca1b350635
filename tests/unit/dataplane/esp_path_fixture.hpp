// SPDX-License-Identifier: GPL-2.0-or-later
//
// TunnelPath with encrypted tunnels: each has an SA for either direction, whose other ends are
// ReferenceEsp. sealed() is what the remote host sends, opened() reads what it receives.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/packet_marks.hpp"
#include "tests/unit/dataplane/reference_esp.hpp"
#include "tests/unit/dataplane/tunnel_path_fixture.hpp"

namespace culvert::testing {

using tunnels::EspAlgorithm;

struct EspSpec {
    EspAlgorithm algorithm = EspAlgorithm::aes_gcm_128;
    bool tunnel_mode = false;
    bool udp = false;
    bool extended = true;
    std::uint32_t window = 64;
    std::uint64_t next_sequence = 1;
    std::uint64_t end_sequence = 1U << 30U;
    std::uint64_t highest = 0;  ///< Received before.
};

/// Algorithms that encrypt.
inline constexpr std::array kCiphers{
    EspAlgorithm::aes_gcm_128,
    EspAlgorithm::aes_gcm_256,
    EspAlgorithm::aes_cbc_128_sha256,
    EspAlgorithm::aes_cbc_256_sha256,
    EspAlgorithm::chacha20_poly1305};

inline constexpr std::array<std::string_view, 3> kTunnelTypes{"gre", "vxlan", "geneve"};

/// Calls `visit(TunnelSpec, EspSpec)` for every cipher with every type of tunnel over IPv4 and
/// IPv6, in transport and tunnel mode, in UDP and not.
template <class Visit>
void for_each_form(const Visit& visit) {
    for (const EspAlgorithm algorithm : kCiphers) {
        for (const std::string_view type : kTunnelTypes) {
            for (const bool v6 : {false, true}) {
                for (const unsigned mode : {0U, 1U, 2U, 3U}) {
                    SCOPED_TRACE(
                        std::string(tunnels::row_of(algorithm).name) + " " + std::string(type) +
                        (v6 ? " IPv6 " : " IPv4 ") + std::to_string(mode)
                    );
                    visit(
                        TunnelSpec{.type = type, .v6 = v6},
                        EspSpec{
                            .algorithm = algorithm,
                            .tunnel_mode = (mode & 1U) != 0,
                            .udp = (mode & 2U) != 0,
                            .extended = mode != 3}
                    );
                }
            }
        }
    }
}

class EspPath : public TunnelPath {
protected:
    /// Both SAs of a tunnel, and their other ends.
    struct Pair {
        EspSpec spec;
        std::shared_ptr<dataplane::OutboundSa> out;
        std::shared_ptr<dataplane::InboundSa> in;
        std::optional<ReferenceEsp> receiver;
        std::optional<ReferenceEsp> sender;
        std::uint64_t next_sequence = 1;  ///< Of `sender`.
    };

    static std::vector<std::byte> make_key(EspAlgorithm algorithm, unsigned seed) {
        std::vector<std::byte> key(tunnels::row_of(algorithm).key_bytes());
        for (std::size_t i = 0; i < key.size(); ++i) {
            key[i] = static_cast<std::byte>(std::size_t{seed} * 31 + i * 7 + 1);
        }
        return key;
    }

    /// New SAs between the ends of the tunnel at `port`; the snapshot does not have them yet.
    Pair make_pair_of(std::uint16_t port, const EspSpec& spec) {
        const auto& outer = specs.at(port).outer;
        const std::uint32_t id = next_id++;
        Pair pair;
        pair.spec = spec;
        dataplane::SaParameters parameters{
            .id = id,
            .spi = 0x1000 + id,
            .source = outer.local,
            .destination = outer.remote,
            .tunnel_mode = spec.tunnel_mode,
            .extended = spec.extended,
            .udp_source = spec.udp ? kUdpHere : std::uint16_t{0},
            .udp_destination = spec.udp ? kUdpThere : std::uint16_t{0}};
        const auto key_out = make_key(spec.algorithm, 2 * id);
        const auto key_in = make_key(spec.algorithm, 2 * id + 1);
        pair.out = std::make_shared<dataplane::OutboundSa>(
            parameters, spec.algorithm, tunnels::Secret(key_out), spec.next_sequence
        );
        pair.out->allow_below(spec.end_sequence);
        pair.receiver.emplace(ReferenceSa{spec.algorithm, key_out, parameters.spi, spec.extended});
        parameters.spi = 0x2000 + id;
        std::swap(parameters.source, parameters.destination);
        std::swap(parameters.udp_source, parameters.udp_destination);
        pair.in = std::make_shared<dataplane::InboundSa>(
            parameters, spec.algorithm, tunnels::Secret(key_in), spec.window, spec.highest
        );
        pair.sender.emplace(ReferenceSa{spec.algorithm, key_in, parameters.spi, spec.extended});
        pair.next_sequence = spec.highest + 1;
        return pair;
    }

    std::uint16_t add_encrypted(const TunnelSpec& tunnel_spec, const EspSpec& spec = {}) {
        const std::uint16_t port = add(tunnel_spec);
        tunnel(port).wire_mtu = tunnel_spec.underlay_mtu + 100;
        use(port, make_pair_of(port, spec));
        return port;
    }
    /// Gives the tunnel these SAs and no others.
    void use(std::uint16_t port, Pair pair) {
        tunnel(port).esp = std::make_shared<dataplane::EspPolicy>(dataplane::EspPolicy{
            .out = pair.out, .accepts = {pair.in->parameters().id}});
        pairs.insert_or_assign(port, std::move(pair));
        publish();
    }
    /// The tunnel is encrypted and has no key.
    void use_no_key(std::uint16_t port) {
        tunnel(port).esp = std::make_shared<dataplane::EspPolicy>();
        surroundings.remotes.push_back(specs.at(port).outer.remote);
        pairs.erase(port);
        publish();
    }
    void publish() {
        std::vector<std::shared_ptr<dataplane::InboundSa>> associations;
        for (const auto& [port, pair] : pairs) {
            associations.push_back(pair.in);
        }
        snapshot.associations = dataplane::SaTable(associations, surroundings);
        ++snapshot.version;
    }

    static std::size_t ip_bytes_of(const Frame& frame, std::size_t ip_offset) {
        return octet(frame, ip_offset) >> 4U == 4 ? (octet(frame, ip_offset) & 0xfU) * 4U : 40U;
    }
    static void set_lengths(Frame& frame, std::size_t ip, unsigned protocol) {
        if (octet(frame, ip) >> 4U == 4) {
            frame[ip + 9] = static_cast<std::byte>(protocol);
            set_word(frame, ip + 2, static_cast<unsigned>(frame.size() - ip));
            fix_ipv4_checksum(frame, ip);
        } else {
            frame[ip + 6] = static_cast<std::byte>(protocol);
            set_word(frame, ip + 4, static_cast<unsigned>(frame.size() - ip - 40));
        }
    }

    /// A tunnel packet in clear as the remote host seals it; with `esp` given, that instead.
    Frame sealed_as(
        const Pair& pair,
        const Frame& clear,
        std::uint64_t sequence,
        const std::optional<Frame>& esp = std::nullopt
    ) const {
        const std::size_t ip = word_at(clear, 12) == 0x8100 ? 18 : 14;
        const std::size_t ip_bytes = ip_bytes_of(clear, ip);
        const bool is_v4 = octet(clear, ip) >> 4U == 4;
        ReferencePayload payload;
        payload.bytes = slice(clear, pair.spec.tunnel_mode ? ip : ip + ip_bytes);
        payload.next_header = pair.spec.tunnel_mode
                                  ? std::uint8_t{is_v4 ? std::uint8_t{4} : std::uint8_t{41}}
                                  : static_cast<std::uint8_t>(octet(clear, ip + (is_v4 ? 9U : 6U)));
        const Frame body = esp ? *esp : pair.sender->seal(sequence, payload);
        Frame frame = slice(clear, 0, ip + ip_bytes);
        if (pair.spec.udp) {
            frame.resize(frame.size() + 8);
            set_word(frame, ip + ip_bytes, kUdpThere);
            set_word(frame, ip + ip_bytes + 2, kUdpHere);
            set_word(frame, ip + ip_bytes + 4, static_cast<unsigned>(body.size() + 8));
            set_word(frame, ip + ip_bytes + 6, is_v4 ? 0 : 0x1234);
        }
        frame.insert(frame.end(), body.begin(), body.end());
        set_lengths(frame, ip, pair.spec.udp ? 17 : 50);
        return frame;
    }
    /// The same with the next number.
    Frame sealed(std::uint16_t port, const Frame& clear) {
        Pair& pair = pairs.at(port);
        return sealed_as(pair, clear, pair.next_sequence++);
    }
    /// An inner frame as the remote host sends it through the tunnel at `port`.
    Frame arriving(std::uint16_t port, const Frame& inner) {
        return sealed(port, wrap(port, inner));
    }

    /// The tunnel packet in clear that was made this frame, as the remote host reads it; everything
    /// that it checks is checked. Empty when it cannot.
    Frame opened(std::uint16_t port, const Frame& frame) const {
        const Pair& pair = pairs.at(port);
        const std::size_t ip = word_at(frame, 12) == 0x8100 ? 18 : 14;
        const std::size_t ip_bytes = ip_bytes_of(frame, ip);
        const bool is_v4 = octet(frame, ip) >> 4U == 4;
        if (is_v4) {
            EXPECT_EQ(naive_sum(std::span(frame).subspan(ip, 20)), 0xffffU);
        }
        EXPECT_EQ(is_v4 ? word_at(frame, ip + 2) : word_at(frame, ip + 4) + 40, frame.size() - ip);
        EXPECT_EQ(octet(frame, ip + (is_v4 ? 9U : 6U)), pair.spec.udp ? 17U : 50U);
        std::size_t esp = ip + ip_bytes;
        if (pair.spec.udp) {
            EXPECT_EQ(word_at(frame, esp), kUdpHere);
            EXPECT_EQ(word_at(frame, esp + 2), kUdpThere);
            EXPECT_EQ(word_at(frame, esp + 4), frame.size() - esp);
            if (is_v4) {
                EXPECT_EQ(word_at(frame, esp + 6), 0U);
            } else {
                EXPECT_NE(word_at(frame, esp + 6), 0U);
                EXPECT_EQ(upper_sum(frame, ip), 0xffffU);
            }
            esp += 8;
        }
        const Frame body = slice(frame, esp);
        EXPECT_EQ(word_at(body, 0) << 16U | word_at(body, 2), pair.out->parameters().spi);
        const std::uint64_t high = ((pair.out->next() - 1) >> 32U) << 32U;
        const auto payload = pair.receiver->open(high | ReferenceEsp::low_sequence(body), body);
        if (!payload) {
            ADD_FAILURE() << "what was sent is not authentic, or its trailer is wrong";
            return {};
        }
        if (pair.spec.tunnel_mode) {
            EXPECT_EQ(payload->next_header, is_v4 ? 4U : 41U);
            Frame clear = slice(frame, 0, ip);
            clear.insert(clear.end(), payload->bytes.begin(), payload->bytes.end());
            return clear;
        }
        Frame clear = slice(frame, 0, ip + ip_bytes);
        clear.insert(clear.end(), payload->bytes.begin(), payload->bytes.end());
        set_lengths(clear, ip, payload->next_header);
        return clear;
    }

    static constexpr std::uint16_t kUdpHere = 4500;
    static constexpr std::uint16_t kUdpThere = 4501;
    std::uint32_t next_id = 1;
    dataplane::SaTable::Surroundings surroundings;
    std::map<std::uint16_t, Pair> pairs;
};

/// What the remote host sends arrives on the uplink; frames that come out of it go to kVif1.
class EspArrivals : public EspPath {
protected:
    EspArrivals() {
        // What is the host's goes to it.
        insert_flow(
            {.in_port = kUplink, .destination = mac(0xfe), .source = mac(0xaa)}, forward(kLocal)
        );
    }
    ~EspArrivals() override {
        // Nothing that was sealed got anywhere but to the guest.
        for (const std::uint16_t port : {kUplink, kUplink2, kVif2}) {
            EXPECT_TRUE(devices[port]->take_sent().empty()) << port;
        }
    }

    /// A tunnel of its own key, whose frames go to kVif1.
    std::uint16_t add_open(TunnelSpec tunnel_spec, const EspSpec& spec = {}) {
        tunnel_spec.key = next_key_++;
        const std::uint16_t port = add_encrypted(tunnel_spec, spec);
        admit_from(port);
        return port;
    }
    /// Frames that reached the guest.
    std::vector<Frame> arrive(const std::vector<Frame>& frames) {
        receive(kUplink, frames);
        return devices[kVif1]->take_sent();
    }
    std::size_t arrive(const Frame& frame) { return arrive(std::vector<Frame>{frame}).size(); }
    /// Nothing came of it, and it was counted for this reason.
    void expect_refused(const Frame& frame, DropReason reason) {
        const std::uint64_t before = dropped(reason, kUplink);
        const std::uint64_t all = dropped_in_all();
        EXPECT_EQ(arrive(frame), 0U);
        EXPECT_EQ(dropped(reason, kUplink), before + 1)
            << "it counts as something else than " << tunnels::drop_reason_name(reason);
        EXPECT_EQ(dropped_in_all(), all + 1);
        EXPECT_TRUE(devices[kLocal]->take_sent().empty());
    }
    void expect_for_host(const Frame& frame) {
        EXPECT_EQ(arrive(frame), 0U);
        EXPECT_EQ(devices[kLocal]->take_sent(), std::vector<Frame>{frame});
    }

private:
    std::uint32_t next_key_ = 500;
};

}  // namespace culvert::testing
