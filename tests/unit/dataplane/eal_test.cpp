// SPDX-License-Identifier: GPL-2.0-or-later
//
// The arguments that hide DPDK's environment from the user.

#include "dataplane/eal.hpp"

#include <algorithm>

#include <gmock/gmock.h>

namespace culvert::dataplane {

namespace {

using ::testing::Contains;
using ::testing::Not;

EalOptions options() {
    EalOptions value;
    value.file_prefix = "culvert-test";
    value.control_cpus = {0};
    return value;
}

TEST(EalArguments, WithoutHugepagesMemoryIsAnonymousAndBounded) {
    const auto args = eal_arguments(options(), 0);
    EXPECT_THAT(args, Contains("--no-huge"));
    EXPECT_THAT(args, Contains("-m"));
    EXPECT_THAT(args, Not(Contains("--in-memory")));  // DPDK refuses the two together.
}

TEST(EalArguments, EnoughFreeHugepagesAreUsedUnlessForbidden) {
    EXPECT_THAT(eal_arguments(options(), 4096), Contains("--in-memory"));
    EXPECT_THAT(eal_arguments(options(), 4096), Not(Contains("--no-huge")));
    EalOptions never = options();
    never.hugepages = false;
    EXPECT_THAT(eal_arguments(never, 4096), Contains("--no-huge"));
}

TEST(EalArguments, PciIsScannedOnlyForDevicesAskedFor) {
    EXPECT_THAT(eal_arguments(options(), 0), Contains("--no-pci"));
    EalOptions pci = options();
    pci.pci_devices = {"0000:03:00.0"};
    const auto args = eal_arguments(pci, 0);
    EXPECT_THAT(args, Not(Contains("--no-pci")));
    const auto allow = std::find(args.begin(), args.end(), "-a");
    ASSERT_NE(allow, args.end());
    EXPECT_EQ(*(allow + 1), "0000:03:00.0");
}

TEST(EalArguments, ExtraArgumentsComeLastAndTelemetryStaysOn) {
    EalOptions extra = options();
    extra.extra_args = {"-d", "libplugin.so", "--log-level=debug"};
    const auto args = eal_arguments(extra, 0);
    EXPECT_EQ(args.back(), "--log-level=debug");
    EXPECT_THAT(args, Not(Contains("--log-level=warning")));
    EXPECT_THAT(args, Not(Contains("--no-telemetry")));
}

TEST(EalArguments, MemoryGrowsWithTheBuffers) {
    const auto megabytes = [](const std::vector<std::string>& args) {
        return std::stoul(*(std::find(args.begin(), args.end(), "-m") + 1));
    };
    EalOptions many = options();
    many.packet_buffers = 262144;
    EXPECT_GT(megabytes(eal_arguments(many, 0)), 600U);
    EXPECT_LT(megabytes(eal_arguments(options(), 0)), 200U);
}

}  // namespace

}  // namespace culvert::dataplane
