// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which worker polls which receive queue.
#include "ctl/queue_map.hpp"

#include <gmock/gmock.h>

namespace culvert::ctl {

namespace {

using ::testing::ElementsAre;

TEST(ChooseWorkers, QueuesOfAPortGoToDifferentWorkers) {
    EXPECT_THAT(choose_workers(3, kNumaNodeUnknown, {{}, {}, {}}), ElementsAre(0, 1, 2));
    EXPECT_THAT(choose_workers(4, kNumaNodeUnknown, {{}, {}}), ElementsAre(0, 1, 0, 1));
    EXPECT_THAT(choose_workers(2, kNumaNodeUnknown, {{}}), ElementsAre(0, 0));
}

TEST(ChooseWorkers, TheWorkerWithTheFewestQueuesComesFirst) {
    EXPECT_THAT(choose_workers(1, kNumaNodeUnknown, {{-1, 2}, {-1, 1}, {-1, 1}}), ElementsAre(1));
    // Different workers for one port matter more than an even load.
    EXPECT_THAT(choose_workers(2, kNumaNodeUnknown, {{-1, 9}, {-1, 0}}), ElementsAre(1, 0));
}

TEST(ChooseWorkers, WorkersOnTheNodeOfTheDeviceAreTakenWhereThereAreAny) {
    EXPECT_THAT(choose_workers(3, 1, {{0, 0}, {1, 5}, {0, 0}, {1, 6}}), ElementsAre(1, 3, 1));
    EXPECT_THAT(choose_workers(2, 1, {{0, 0}, {0, 0}}), ElementsAre(0, 1));
    EXPECT_THAT(choose_workers(2, kNumaNodeUnknown, {{0, 0}, {1, 0}}), ElementsAre(0, 1));
    EXPECT_THAT(choose_workers(1, 0, {{-1, 0}, {0, 7}}), ElementsAre(1));
}

TEST(ListedWorkers, AreTakenAgainFromTheFrontForMoreQueues) {
    EXPECT_THAT(listed_workers(5, {2, 0}), ElementsAre(2, 0, 2, 0, 2));
    EXPECT_THAT(listed_workers(1, {2, 0}), ElementsAre(2));
}

TEST(NumaNodeOfCpu, IsUnknownForACpuThatDoesNotExist) {
    EXPECT_EQ(numa_node_of_cpu(100000), kNumaNodeUnknown);
}

}  // namespace

}  // namespace culvert::ctl
