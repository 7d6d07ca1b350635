// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a driver of DPDK 22.11 (ABI 23) shares with librte_ethdev and librte_bus_vdev. Debian ships
// the libraries, which export these functions to drivers, and not the headers for drivers, so the
// layout of what a source of frames needs is stated here, and no more. Another ABI may differ:
// net_replay.cpp refuses to load into one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <rte_ethdev.h>

struct rte_devargs;

namespace culvert::bench::abi {

inline constexpr char kRelease[] = "DPDK 22.11";

struct Link {
    void* next;
    void* previous;
};

struct Driver {
    Link link;
    const char* name;
    const char* alias;
};

struct Device {
    Link link;
    const char* name;
    const char* bus_info;
    const Driver* driver;
    const void* bus;
    int numa_node;
    rte_devargs* devargs;
};

struct VdevDevice {
    Link link;
    Device device;
};

struct VdevDriver {
    Link link;
    Driver driver;
    int (*probe)(VdevDevice*);
    int (*remove)(VdevDevice*);
    void* dma_map;
    void* dma_unmap;
    std::uint32_t flags;
};

/// Only its beginning: instances are DPDK's own.
struct EthDevData {
    std::array<char, RTE_ETH_NAME_MAX_LEN> name;
    void** rx_queues;
    void** tx_queues;
    std::uint16_t rx_queue_count;
    std::uint16_t tx_queue_count;
    std::array<std::uint16_t, 3> sriov;
    void* dev_private;
    rte_eth_link link;
    rte_eth_conf conf;
    std::uint16_t mtu;
    std::uint32_t min_rx_buffer;
    std::uint64_t rx_no_buffers;
    rte_ether_addr* mac_addresses;
    std::array<std::uint64_t, RTE_ETH_NUM_RECEIVE_MAC_ADDR> mac_pools;
    rte_ether_addr* hash_mac_addresses;
    std::uint16_t port;
};

struct EthDev;

using Operation = void (*)();

/// The table of operations, of which most are absent.
struct Operations {
    static constexpr std::size_t kCount = 113;
    enum Index : std::size_t {
        configure = 0,
        start = 1,
        stop = 2,
        close = 5,
        link_update = 7,
        promiscuous_enable = 9,
        promiscuous_disable = 10,
        allmulticast_enable = 11,
        allmulticast_disable = 12,
        mac_address_set = 15,
        mtu_set = 17,
        stats_get = 18,
        stats_reset = 19,
        infos_get = 24,
        rx_queue_setup = 41,
        tx_queue_setup = 45,
    };

    std::array<Operation, kCount> at{};
};

/// Only its beginning.
struct EthDev {
    std::uint16_t (*rx_burst)(void*, rte_mbuf**, std::uint16_t);
    std::uint16_t (*tx_burst)(void*, rte_mbuf**, std::uint16_t);
    std::array<void*, 4> other_fast_path;
    EthDevData* data;
    void* process_private;
    const Operations* operations;
    Device* device;
};

static_assert(offsetof(VdevDevice, device) == 16 && offsetof(Device, devargs) == 56);
static_assert(offsetof(VdevDriver, probe) == 48 && sizeof(VdevDriver) == 88);
static_assert(offsetof(EthDev, data) == 48 && offsetof(EthDev, device) == 72);
static_assert(offsetof(EthDevData, dev_private) == 96 && offsetof(EthDevData, conf) == 112);
static_assert(offsetof(EthDevData, mac_addresses) == 2400 && offsetof(EthDevData, port) == 3440);

extern "C" {
void rte_vdev_register(VdevDriver* driver);
EthDev* rte_eth_dev_allocate(const char* name);
EthDev* rte_eth_dev_allocated(const char* name);
void rte_eth_dev_probing_finish(EthDev* device);
int rte_eth_dev_release_port(EthDev* device);
}

}  // namespace culvert::bench::abi
