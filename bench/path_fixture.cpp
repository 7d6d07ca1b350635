// SPDX-License-Identifier: GPL-2.0-or-later
//
// The snapshot and the packets of the benches of the packet path. Main thread only.
#include "bench/path_fixture.hpp"

#include <cstring>
#include <stdexcept>

#include "bench/environment.hpp"

namespace culvert::bench {

namespace {

constexpr std::uint32_t kGeneration = 1;
constexpr std::uint32_t kUnderlayMtu = 9000;

}  // namespace

Packets::Packets(const std::vector<Frame>& frames) {
    for (std::size_t i = 0; i < kStagePackets; ++i) {
        const Frame& frame = frames[i % frames.size()];
        rte_mbuf* packet = ::rte_pktmbuf_alloc(Environment::get().pools().packets);
        if (packet == nullptr) {
            throw std::runtime_error("The pool of the benches has too few packets.");
        }
        packets_.push_back(packet);
        frames_.push_back(frame);
    }
    reset();
}

Packets::~Packets() {
    reset();
    for (rte_mbuf* packet : packets_) {
        ::rte_pktmbuf_free(packet);
    }
}

void Packets::reset() noexcept {
    for (std::size_t i = 0; i < packets_.size(); ++i) {
        const auto length = static_cast<std::uint16_t>(frames_[i].size());
        packets_[i]->data_off = RTE_PKTMBUF_HEADROOM;
        packets_[i]->data_len = length;
        packets_[i]->pkt_len = length;
        std::memcpy(rte_pktmbuf_mtod(packets_[i], void*), frames_[i].data(), length);
    }
}

void Packets::address(KeyRing& ring) noexcept {
    for (std::size_t number = 0; number < kStageBursts; ++number) {
        const auto keys = ring.next();
        for (std::size_t i = 0; i < keys.size(); ++i) {
            auto* frame = rte_pktmbuf_mtod(burst(number)[i], std::byte*);
            std::memcpy(frame, keys[i].destination.bytes.data(), 6);
            std::memcpy(frame + 6, keys[i].source.bytes.data(), 6);
        }
    }
}

PathFixture::PathFixture(const dataplane::FlowCache& flows)
    : counters_(std::make_unique<dataplane::WorkerCounters>()),
      upcalls_(std::make_unique<dataplane::UpcallQueue>()),
      context_(std::make_unique<dataplane::Context>()) {
    add_ports();
    add_tunnels();
    context_->snapshot = &snapshot_;
    context_->flows = &flows;
    context_->pools = Environment::get().pools();
    context_->counters = counters_.get();
    context_->upcalls = upcalls_.get();
    context_->tx.resize(dataplane::kPortsMax);
    context_->tx_ports.reserve(dataplane::kPortsMax);
    context_->targets.reserve(dataplane::kPortsMax);
}

void PathFixture::add_ports() {
    snapshot_.version = 1;
    snapshot_.bridges.resize(2);
    snapshot_.bridges[0].members = {kUplink};
    snapshot_.bridges[0].terminates_tunnels = true;
    snapshot_.bridges[0].local_mac = local_mac();
    snapshot_.bridges[1].members = {kFlowIngress, kFlowEgress};
    snapshot_.bridges[1].local_mac = gateway_mac();
    auto l3 = std::make_shared<dataplane::L3View>();
    l3->hosts.insert(inner_destination(), inner_destination_mac());
    snapshot_.bridges[1].l3 = std::move(l3);
    snapshot_.ports.resize(kFirstTunnel + tunnels::kProtocolCount);
    for (const std::uint16_t index : {kUplink, kFlowIngress, kFlowEgress}) {
        dataplane::PortView& port = snapshot_.ports[index];
        port.device = sink_;
        port.bridge = index == kUplink ? 0 : 1;
        port.mtu = kUnderlayMtu;
        port.up = true;
        port.generation = kGeneration;
    }
}

void PathFixture::add_tunnels() {
    std::vector<dataplane::PeerTable::Peer> peers;
    for (std::uint8_t index = 0; index < tunnels::kProtocolCount; ++index) {
        const tunnels::OuterMatch outer = tunnels::kProtocols[index].outer;
        dataplane::PortView& port = snapshot_.ports[tunnel_port(index)];
        port.bridge = 1;
        port.generation = kGeneration;
        port.tunnel = index;
        snapshot_.bridges[1].members.push_back(tunnel_port(index));
        const tunnels::Payload payload = tunnel_payload(index);
        port.is_l3 = payload == tunnels::Payload::ip;
        dataplane::TunnelView tunnel;
        tunnel.transmit.payload = payload;
        tunnel.receive.payload = payload;
        tunnel.header = tunnel_template(index, underlay_v4(1), underlay_v4(2));
        tunnel.resolved = true;
        tunnel.out_port = kUplink;
        tunnel.underlay_mtu = kUnderlayMtu;
        tunnel.wire_mtu = kUnderlayMtu;
        snapshot_.tunnels.push_back(tunnel);
        snapshot_.listeners.push_back({outer.ip_protocol, index, outer.default_udp_port});
        dataplane::PeerKey key;
        key.remote = underlay_v4(2);
        key.key = kTunnelKey;
        key.udp_port = outer.default_udp_port;
        key.protocol = index;
        key.payload = payload;
        peers.push_back({key, tunnel_port(index)});
    }
    snapshot_.peers = dataplane::PeerTable(peers);
    snapshot_.local_addresses = {underlay_v4(1)};
}

}  // namespace culvert::bench
