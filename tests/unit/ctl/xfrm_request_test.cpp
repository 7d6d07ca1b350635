// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is told to the kernel of an SA's use, against the layouts of linux/xfrm.h. That a kernel
// takes them is shown in a guest that has ESP.
#include <cstring>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <linux/xfrm.h>
#include <netinet/in.h>

#include "ctl/netlink_bytes.hpp"
#include "ctl/xfrm_request.hpp"

namespace culvert::ctl {
namespace {

using tunnels::IpAddress;

const IpAddress kPeer4 = *IpAddress::parse("172.20.0.4");
const IpAddress kPeer6 = *IpAddress::parse("fd20::4");

// Message body and attributes of a request.
template <class Fixed>
struct Read {
    explicit Read(NetlinkRequest& request) {
        const auto* bytes = reinterpret_cast<const std::byte*>(request.header());
        visit_messages(
            {bytes, request.header()->nlmsg_len},
            [this](std::uint16_t message, Bytes body) {
                type = message;
                EXPECT_TRUE(take(body, fixed));
                EXPECT_TRUE(visit_attributes(body, [this](unsigned attribute, Bytes value) {
                    attributes[attribute].assign(value.begin(), value.end());
                    return true;
                }));
                return true;
            }
        );
    }
    template <class T>
    [[nodiscard]] T attribute(unsigned number) const {
        T value{};
        const auto found = attributes.find(number);
        if (found == attributes.end() || found->second.size() < sizeof(T)) {
            ADD_FAILURE() << "attribute " << number << " is missing or short";
            return value;
        }
        std::memcpy(&value, found->second.data(), sizeof(T));
        return value;
    }
    std::uint16_t type = 0;
    Fixed fixed{};
    std::map<unsigned, std::vector<std::byte>> attributes;
};

// struct xfrm_replay_state_esn with the bitmap of 64 packets.
struct Replay64 {
    std::uint32_t words, oseq, seq, oseq_hi, seq_hi, window;
    std::uint32_t bitmap[2];
};

TEST(XfrmRequest, NotesTheUseOfAnOutboundSa) {
    const SaUse use{0x1001, kPeer4, 1500, 3, 1700000000, 0x500000007, true};
    XfrmUseRequest request(use, {1600000000, {2, 64}, std::nullopt, true});
    EXPECT_EQ(request.header()->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE);
    const Read<xfrm_aevent_id> read(request);
    EXPECT_EQ(read.type, XFRM_MSG_NEWAE);
    EXPECT_EQ(read.fixed.sa_id.spi, htonl(0x1001));
    EXPECT_EQ(read.fixed.sa_id.daddr.a4, htonl(0xac140004));
    EXPECT_EQ(read.fixed.sa_id.family, AF_INET);
    EXPECT_EQ(read.fixed.sa_id.proto, IPPROTO_ESP);
    const auto lifetime = read.attribute<xfrm_lifetime_cur>(XFRMA_LTIME_VAL);
    EXPECT_EQ(lifetime.bytes, 1500U);
    EXPECT_EQ(lifetime.packets, 3U);
    EXPECT_EQ(lifetime.add_time, 1600000000U);
    EXPECT_EQ(lifetime.use_time, 1700000000U);
    const auto replay = read.attribute<Replay64>(XFRMA_REPLAY_ESN_VAL);
    EXPECT_EQ(read.attributes.at(XFRMA_REPLAY_ESN_VAL).size(), sizeof(Replay64));
    EXPECT_EQ(replay.words, 2U);
    EXPECT_EQ(replay.window, 64U);
    EXPECT_EQ(replay.oseq, 7U);
    EXPECT_EQ(replay.oseq_hi, 5U);
    EXPECT_EQ(replay.seq | replay.seq_hi | replay.bitmap[0] | replay.bitmap[1], 0U);
    EXPECT_FALSE(read.attributes.contains(XFRMA_REPLAY_VAL));
    EXPECT_FALSE(read.attributes.contains(XFRMA_MARK));
}

TEST(XfrmRequest, NotesTheUseOfAnInboundSaSoThatNothingOldIsTakenAgain) {
    const SaUse use{0x1002, kPeer6, 1500, 3, 0, 0x500000007, false};
    XfrmUseRequest request(use, {0, {2, 40}, XfrmMark{7, 0xff}, true});
    const Read<xfrm_aevent_id> read(request);
    EXPECT_EQ(read.fixed.sa_id.family, AF_INET6);
    EXPECT_EQ(IpAddress::from_v6(&read.fixed.sa_id.daddr), kPeer6);
    const auto replay = read.attribute<Replay64>(XFRMA_REPLAY_ESN_VAL);
    EXPECT_EQ(replay.window, 40U);
    EXPECT_EQ(replay.oseq | replay.oseq_hi, 0U);
    EXPECT_EQ(replay.seq, 7U);
    EXPECT_EQ(replay.seq_hi, 5U);
    EXPECT_EQ(replay.bitmap[0] & replay.bitmap[1], 0xffffffffU);
    const auto mark = read.attribute<xfrm_mark>(XFRMA_MARK);
    EXPECT_EQ(mark.v, 7U);
    EXPECT_EQ(mark.m, 0xffU);
}

// The kernel refuses, and some old ones crash on, a form that is not the SA's.
TEST(XfrmRequest, SequenceNumbersHaveTheFormOfTheSa) {
    XfrmUseRequest outbound(
        {0x1001, kPeer4, 0, 0, 0, 9, true}, {0, {std::nullopt, 32}, std::nullopt, false}
    );
    const Read<xfrm_aevent_id> sent(outbound);
    EXPECT_FALSE(sent.attributes.contains(XFRMA_REPLAY_ESN_VAL));
    EXPECT_EQ(sent.attribute<xfrm_replay_state>(XFRMA_REPLAY_VAL).oseq, 9U);
    EXPECT_EQ(sent.attribute<xfrm_replay_state>(XFRMA_REPLAY_VAL).seq, 0U);

    XfrmUseRequest inbound(
        {0x1001, kPeer4, 0, 0, 0, 9, false}, {0, {std::nullopt, 32}, std::nullopt, false}
    );
    const Read<xfrm_aevent_id> received(inbound);
    EXPECT_EQ(received.attribute<xfrm_replay_state>(XFRMA_REPLAY_VAL).oseq, 0U);
    EXPECT_EQ(received.attribute<xfrm_replay_state>(XFRMA_REPLAY_VAL).seq, 9U);
    EXPECT_EQ(received.attribute<xfrm_replay_state>(XFRMA_REPLAY_VAL).bitmap, 0xffffffffU);

    // A large window without extended numbers: no high half.
    XfrmUseRequest large(
        {0x1001, kPeer4, 0, 0, 0, 0x100000009, true}, {0, {2, 64}, std::nullopt, false}
    );
    const Read<xfrm_aevent_id> wide(large);
    EXPECT_EQ(wide.attribute<Replay64>(XFRMA_REPLAY_ESN_VAL).oseq, 9U);
    EXPECT_EQ(wide.attribute<Replay64>(XFRMA_REPLAY_ESN_VAL).oseq_hi, 0U);

    // The largest window that there is.
    XfrmUseRequest largest(
        {0x1001, kPeer4, 0, 0, 0, 9, false}, {0, {128, 4096}, XfrmMark{1, 1}, true}
    );
    const Read<xfrm_aevent_id> widest(largest);
    EXPECT_EQ(
        widest.attributes.at(XFRMA_REPLAY_ESN_VAL).size(), sizeof(xfrm_replay_state_esn) + 512
    );
}

TEST(XfrmRequest, SaysTheEndOfAnSa) {
    XfrmExpireRequest soft(0x1001, kPeer4, false, {0, {}, std::nullopt, false});
    EXPECT_EQ(soft.header()->nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
    const Read<xfrm_user_expire> read(soft);
    EXPECT_EQ(read.type, XFRM_MSG_EXPIRE);
    EXPECT_EQ(read.fixed.state.id.spi, htonl(0x1001));
    EXPECT_EQ(read.fixed.state.id.daddr.a4, htonl(0xac140004));
    EXPECT_EQ(read.fixed.state.id.proto, IPPROTO_ESP);
    EXPECT_EQ(read.fixed.state.family, AF_INET);
    EXPECT_EQ(read.fixed.hard, 0);
    EXPECT_TRUE(read.attributes.empty());

    XfrmExpireRequest hard(0x1001, kPeer4, true, {0, {}, XfrmMark{7, 0xff}, false});
    const Read<xfrm_user_expire> end(hard);
    EXPECT_EQ(end.fixed.hard, 1);
    EXPECT_EQ(end.attribute<xfrm_mark>(XFRMA_MARK).v, 7U);
}

}  // namespace
}  // namespace culvert::ctl
