// SPDX-License-Identifier: GPL-2.0-or-later
//
// The packet path of an encrypted tunnel, in bursts of 32: from a received frame to the sealed
// packet at the device, and back. Beside it the raw cipher: one call of IPsec-MB for each packet,
// for as many bytes as ESP enciphers of it, with nothing around. Main thread only.
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <intel-ipsec-mb.h>
#include <rte_mbuf.h>

#include "bench/benches.hpp"
#include "bench/measure.hpp"
#include "bench/path_fixture.hpp"
#include "dataplane/egress.hpp"
#include "dataplane/pipeline.hpp"
#include "tunnels/esp/esp.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowKey;
using dataplane::FlowVerdict;
using tunnels::EspAlgorithm;

constexpr const char* kWrongPacket = "a packet did not take the way that is to be measured";
constexpr std::array<std::size_t, 2> kFrameBytes{64, 1420};

Frame frame_of(std::size_t bytes, std::uint32_t flow) {
    Frame frame = inner_frame(flow);
    frame.resize(bytes);
    write_ipv4(frame, tunnels::kIpProtocolUdp, flow);
    return frame;
}

std::vector<Frame> frames_of(std::size_t bytes) {
    std::vector<Frame> frames;
    for (std::uint32_t i = 0; i < kStagePackets; ++i) {
        frames.push_back(frame_of(bytes, i));
    }
    return frames;
}

/// Both ends of an SA of the tunnel at `index`: the remote host seals, we open, or the reverse.
struct Ends {
    Ends(EspAlgorithm algorithm, std::uint8_t from, std::uint8_t to) {
        dataplane::SaParameters parameters;
        parameters.id = 1;
        parameters.spi = 0x1000;
        parameters.source = underlay_v4(from);
        parameters.destination = underlay_v4(to);
        parameters.extended = true;
        const tunnels::Secret key(
            std::vector<std::byte>(tunnels::row_of(algorithm).key_bytes(), std::byte{3})
        );
        out = std::make_shared<dataplane::OutboundSa>(parameters, algorithm, key, 1);
        out->allow_below(std::uint64_t{1} << 60U);
        in = std::make_shared<dataplane::InboundSa>(parameters, algorithm, key, 1024);
    }
    void encrypt(dataplane::Snapshot& snapshot, std::uint8_t index) const {
        auto policy = std::make_shared<dataplane::EspPolicy>();
        policy->out = out;
        policy->accepts = {in->parameters().id};
        snapshot.tunnels[index].esp = std::move(policy);
        snapshot.associations = dataplane::SaTable({in}, {});
    }
    std::shared_ptr<dataplane::OutboundSa> out;
    std::shared_ptr<dataplane::InboundSa> in;
};

void lead(dataplane::FlowCache& cache, std::uint16_t from, std::uint16_t to) {
    FlowKey key;
    const Frame frame = inner_frame(0);
    key.in_port = from;
    std::memcpy(key.destination.bytes.data(), frame.data(), 6);
    std::memcpy(key.source.bytes.data(), frame.data() + 6, 6);
    cache.insert(
        key,
        {.verdict = FlowVerdict::forward, .reason = dataplane::DropReason::none, .out_port = to},
        1,
        0
    );
}

void process(PathFixture& path, std::uint16_t port, const Packets& packets) {
    for (std::size_t number = 0; number < kStageBursts; ++number) {
        dataplane::process_burst(path.context(), port, packets.burst(number));
        dataplane::flush(path.context());
    }
}

void seal(benchmark::State& state, EspAlgorithm algorithm, std::uint8_t index, std::size_t bytes) {
    dataplane::FlowCache cache(1000);
    lead(cache, kFlowIngress, PathFixture::tunnel_port(index));
    PathFixture path(cache);
    const Ends ends(algorithm, 1, 2);
    ends.encrypt(path.snapshot(), index);
    Packets packets(frames_of(bytes));
    measure_staged(
        state,
        kStagePackets,
        [&] { packets.reset(); },
        [&] { process(path, kFlowIngress, packets); }
    );
    const auto expected = static_cast<std::size_t>(state.iterations());
    static_cast<void>(require(
        state, path.sink().taken() == expected && ends.out->packets == expected, kWrongPacket
    ));
}

void open(benchmark::State& state, EspAlgorithm algorithm, std::uint8_t index, std::size_t bytes) {
    dataplane::FlowCache cache(1000);
    lead(cache, kFlowIngress, PathFixture::tunnel_port(index));
    lead(cache, PathFixture::tunnel_port(index), kFlowEgress);
    PathFixture path(cache);
    PathFixture remote(cache);
    const Ends ends(algorithm, 2, 1);
    ends.encrypt(path.snapshot(), index);
    ends.encrypt(remote.snapshot(), index);
    remote.snapshot().tunnels[index].header = PathFixture::remote_template(index);
    Packets packets(frames_of(bytes));
    measure_staged(
        state,
        kStagePackets,
        [&] {
            packets.reset();
            process(remote, kFlowIngress, packets);
        },
        [&] { process(path, kUplink, packets); }
    );
    const auto expected = static_cast<std::size_t>(state.iterations());
    static_cast<void>(require(
        state, path.sink().taken() == expected && ends.in->packets == expected, kWrongPacket
    ));
}

struct FreeManager {
    void operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }
};

/// AES-GCM-128 of `bytes` in each packet.
void raw_gcm(benchmark::State& state, bool seals, std::size_t bytes) {
    const std::unique_ptr<IMB_MGR, FreeManager> manager(alloc_mb_mgr(0));
    IMB_ARCH arch{};
    init_mb_mgr_auto(manager.get(), &arch);
    std::array<std::uint8_t, 16> key{3};
    alignas(64) gcm_key_data expanded{};
    alignas(64) gcm_context_data context{};
    IMB_AES128_GCM_PRE(manager.get(), key.data(), &expanded);
    Packets packets(frames_of(bytes));
    std::array<std::uint8_t, 12> nonce{1};
    std::array<std::uint8_t, 12> head{2};
    std::array<std::uint8_t, 16> icv{};
    measure_staged(
        state,
        kStagePackets,
        [&] { packets.reset(); },
        [&] {
            for (rte_mbuf* packet : packets.all()) {
                auto* data = rte_pktmbuf_mtod(packet, std::uint8_t*);
                const auto call = seals ? manager->gcm128_enc : manager->gcm128_dec;
                call(
                    &expanded,
                    &context,
                    data,
                    data,
                    bytes,
                    nonce.data(),
                    head.data(),
                    head.size(),
                    icv.data(),
                    icv.size()
                );
                benchmark::DoNotOptimize(icv);
            }
        }
    );
}

}  // namespace

void add_esp_path_benches(Suite& suite) {
    const std::uint8_t index = *tunnels::find_protocol("vxlan");
    for (const EspAlgorithm algorithm :
         {EspAlgorithm::aes_gcm_128,
          EspAlgorithm::aes_cbc_128_sha256,
          EspAlgorithm::chacha20_poly1305}) {
        const tunnels::EspAlgorithmRow& row = tunnels::row_of(algorithm);
        for (const std::size_t bytes : kFrameBytes) {
            const std::string name = std::string(row.name) + "/" + std::to_string(bytes);
            suite.add("path/seal/" + name, [=](benchmark::State& state) {
                seal(state, algorithm, index, bytes);
            });
            suite.add("path/open/" + name, [=](benchmark::State& state) {
                open(state, algorithm, index, bytes);
            });
            if (algorithm != EspAlgorithm::aes_gcm_128) {
                continue;
            }
            // Behind the outer IP header, and as ESP pads it.
            const std::size_t payload = 16 + bytes;
            const std::size_t enciphered = payload + tunnels::esp_trailer_bytes(row, payload);
            for (const bool seals : {true, false}) {
                const std::string which = (seals ? "seal/" : "open/") + name;
                suite.add_beside(
                    "path/" + which,
                    "floor/ipsec_mb/" + which,
                    [=](benchmark::State& state) { raw_gcm(state, seals, enciphered); }
                );
            }
        }
    }
}

}  // namespace culvert::bench
