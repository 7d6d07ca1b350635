// SPDX-License-Identifier: GPL-2.0-or-later
//
// DPDK's environment, hidden from the user: in memory, no hugepages needed (used when free), no PCI
// scan unless a device asks for it, a file prefix of its own so that several daemons run on one
// host, telemetry on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/port.hpp"

namespace culvert::dataplane {

struct EalOptions {
    std::string file_prefix;
    std::vector<std::string> extra_args;
    std::vector<std::string> pci_devices;  ///< Addresses to scan for; empty: no PCI scan.
    std::vector<unsigned> control_cpus;    ///< Of the calling thread; empty: all it may use.
    std::uint32_t memory_mb = 0;           ///< 0: what the pools need and room for drivers.
    bool hugepages = true;                 ///< Use free hugepages when there are enough.
    std::uint32_t packet_buffers = 16384;
};

/// The arguments for rte_eal_init() (pure, for tests and `--check`). `hugepages_free_mb` is what
/// the host has free.
[[nodiscard]] std::vector<std::string>
eal_arguments(const EalOptions& options, std::uint64_t hugepages_free_mb);

/// Free hugepage memory of the host, all sizes, in MiB.
[[nodiscard]] std::uint64_t hugepages_free_mb();

/// DPDK's name and release, "DPDK 22.11.3".
[[nodiscard]] std::string dpdk_version();

class Eal {
public:
    /// Starts DPDK once per process and creates the packet pools. The calling thread becomes the
    /// control thread.
    [[nodiscard]] static Result<std::unique_ptr<Eal>> start(const EalOptions& options);
    ~Eal();  ///< Frees pools, stops DPDK, removes its run-time folder.
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;

    [[nodiscard]] const PacketPools& pools() const noexcept { return pools_; }
    [[nodiscard]] bool uses_hugepages() const noexcept { return uses_hugepages_; }
    /// Where DPDK's telemetry socket is.
    [[nodiscard]] const std::string& runtime_folder() const noexcept { return runtime_folder_; }

private:
    Eal() = default;
    PacketPools pools_;
    bool uses_hugepages_ = false;
    std::string runtime_folder_;
};

}  // namespace culvert::dataplane
