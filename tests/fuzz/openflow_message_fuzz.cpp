// SPDX-License-Identifier: GPL-2.0-or-later
//
// Arbitrary bytes on an OpenFlow socket: the first byte chooses the versions and in what pieces the
// rest arrives. Answers must be whole messages of at most 64 KiB in the agreed version, the same
// for every way of splitting, and a closed connection stays silent.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "ctl/openflow/session.hpp"

namespace {

using namespace culvert::ctl::openflow;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

class FuzzBridge final : public Bridge, public DefaultTables {
public:
    [[nodiscard]] std::string name() const override { return "br0"; }
    [[nodiscard]] std::uint64_t datapath_id() const override { return 1; }
    [[nodiscard]] std::vector<PortFacts> ports() const override {
        PortFacts one;
        one.ofport = 1;
        one.name = "vif1";
        PortFacts other;
        other.ofport = 65534;
        other.name = "a name longer than fits";
        return {one, other};
    }
    [[nodiscard]] FlowTables& tables() override { return *this; }
    [[nodiscard]] FlowFacts normal_flow() const override { return {1, cookie(), 2, 3}; }
};

void check_messages(View answers) {
    while (!answers.empty()) {
        require(answers.size() >= kHeaderBytes);
        const Header header = read_header(answers);
        require(header.length >= kHeaderBytes && header.length <= answers.size());
        require(header.version >= kOf10 && header.version <= kOf15);
        answers = answers.subspan(header.length);
    }
}

Bytes converse(View bytes, Versions versions, std::size_t piece) {
    FuzzBridge bridge;
    Session session(bridge, versions, false);
    Bytes all = session.greeting();
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        session.feed(bytes.subspan(at, std::min(piece, bytes.size() - at)));
        for (Bytes out; session.answer(out); out.clear()) {
            all.insert(all.end(), out.begin(), out.end());
        }
        static_cast<void>(session.take_refusal());
    }
    return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const Versions versions = (data[0] & 1U) != 0 ? kAllVersions : 1U << kOf11;
    const View bytes = std::as_bytes(std::span(data + 1, size - 1));
    const Bytes whole = converse(bytes, versions, std::max<std::size_t>(bytes.size(), 1));
    const Bytes pieces = converse(bytes, versions, std::size_t{data[0]} / 2 + 1);
    require(whole == pieces);
    check_messages(whole);
    return 0;
}
