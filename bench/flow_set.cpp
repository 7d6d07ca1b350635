// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keys and tables. A table that does not take a key throws std::runtime_error: a comparison of
// tables that hold different numbers of flows would say nothing. Main thread only.
#include "bench/flow_set.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <random>
#include <stdexcept>
#include <string>

#include <rte_hash_crc.h>

#include "bench/environment.hpp"

namespace culvert::bench {

namespace {

using dataplane::FlowAction;
using dataplane::FlowKey;

constexpr std::uint16_t kAbsentVlan = 7;
constexpr std::uint64_t kShuffleSeed = 4789;

/// Addresses of virtual machines: one vendor prefix, three octets that look random.
tunnels::MacAddress machine(std::size_t number) {
    const std::size_t scrambled = (number * 0x9e3779b1U) & 0xffffffU;  // Odd factor: one to one.
    return {
        {0x00,
         0x16,
         0x3e,
         static_cast<std::uint8_t>(scrambled >> 16U),
         static_cast<std::uint8_t>((scrambled >> 8U) & 0xffU),
         static_cast<std::uint8_t>(scrambled & 0xffU)}};
}

std::vector<FlowKey> make_keys(std::size_t flows, std::uint16_t vlan) {
    const auto side = static_cast<std::size_t>(std::ceil(std::sqrt(static_cast<double>(flows))));
    std::vector<FlowKey> keys(flows);
    for (std::size_t i = 0; i < flows; ++i) {
        keys[i].in_port = kFlowIngress;
        keys[i].vlan = vlan;
        keys[i].source = machine(i / side);
        keys[i].destination = machine(side + i % side);
    }
    std::mt19937_64 random(kShuffleSeed);
    std::shuffle(keys.begin(), keys.end(), random);
    constexpr std::size_t kBurst = dataplane::kBurstMax;
    keys.resize((flows + kBurst - 1) / kBurst * kBurst);
    std::copy_n(
        keys.begin(), keys.size() - flows, keys.begin() + static_cast<std::ptrdiff_t>(flows)
    );
    return keys;
}

constexpr FlowAction kAction{
    .verdict = dataplane::FlowVerdict::forward,
    .reason = tunnels::DropReason::none,
    .out_port = kFlowEgress};

[[noreturn]] void refuse(const char* table, std::size_t flows) {
    throw std::runtime_error(
        std::string(table) + " does not take " + std::to_string(flows) + " flows."
    );
}

std::map<std::size_t, FlowSet>& sets() {
    static std::map<std::size_t, FlowSet> all;
    return all;
}

}  // namespace

FlowSet::FlowSet(std::size_t flows)
    : flows_(flows), present_(make_keys(flows, dataplane::kVlanNone)),
      absent_(make_keys(flows, kAbsentVlan)) {}

dataplane::FlowCache& FlowSet::cache() {
    if (!cache_) {
        cache_ = std::make_unique<dataplane::FlowCache>(flows_);
        for (const FlowKey& key : std::span(present_).first(flows_)) {
            const auto inserted = cache_->insert(key, kAction, 1, 0);
            if (!inserted.ok || inserted.evicted) {
                refuse("FlowCache", flows_);
            }
        }
    }
    return *cache_;
}

RteHash FlowSet::make_hash(const char* prefix, std::uint8_t flags) const {
    const std::string name = prefix + std::to_string(flows_);
    rte_hash_parameters parameters{};
    parameters.name = name.c_str();
    parameters.entries =
        static_cast<std::uint32_t>(std::bit_ceil(std::max(flows_, dataplane::kFlowsMin)));
    parameters.key_len = sizeof(FlowKey);
    parameters.hash_func = rte_hash_crc;
    parameters.socket_id = Environment::get().large_page_socket();
    parameters.extra_flag = flags;
    RteHash table(::rte_hash_create(&parameters));
    if (!table) {
        refuse("rte_hash", flows_);
    }
    // What a look-up has to deliver: the action, in the 8 bytes that rte_hash stores beside a key.
    static_assert(sizeof(FlowAction) <= sizeof(void*));
    void* data = nullptr;
    std::memcpy(&data, &kAction, sizeof kAction);
    for (const FlowKey& key : std::span(present_).first(flows_)) {
        if (::rte_hash_add_key_data(table.get(), &key, data) != 0) {
            refuse("rte_hash", flows_);
        }
    }
    return table;
}

rte_hash& FlowSet::hash() {
    if (!hash_) {
        hash_ = make_hash("plain_", 0);
    }
    return *hash_;
}

rte_hash& FlowSet::lock_free_hash() {
    if (!lock_free_hash_) {
        lock_free_hash_ = make_hash("lock_free_", RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF);
    }
    return *lock_free_hash_;
}

FlowMap& FlowSet::map() {
    if (!map_) {
        map_ = std::make_unique<FlowMap>();
        for (const FlowKey& key : std::span(present_).first(flows_)) {
            map_->emplace(key, kAction);
        }
    }
    return *map_;
}

FlowSet& flow_set(std::size_t flows) {
    return sets().try_emplace(flows, flows).first->second;
}

void release_flow_sets() {
    sets().clear();
}

}  // namespace culvert::bench
