// SPDX-License-Identifier: GPL-2.0-or-later
//
// Answers of Admission that a worker has got, so that a peer is judged once for each snapshot and
// not with each packet. What holds for a peer is found whatever the source port is; where rules
// read that, each flow has its own answer. Direct mapped: questions that meet in a slot take turns,
// and are asked again. One worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <nmmintrin.h>

#include "dataplane/admission.hpp"
#include "dataplane/limits.hpp"

namespace culvert::dataplane {

class AdmissionMemo {
public:
    /// What `admission` says, or said earlier; `version` is that of the snapshot it is of, above 0.
    [[nodiscard]] Admitted judge(
        const Admission& admission, const AdmissionQuestion& question, std::uint64_t version
    ) noexcept {
        AdmissionQuestion of_peer = question;
        of_peer.source_port = 0;
        Slot& peer = slots_[index(of_peer)];
        if (peer.holds(of_peer, true, version)) [[likely]] {
            return peer.answer;
        }
        Slot& flow = slots_[index(question)];
        if (flow.holds(question, false, version)) {
            return flow.answer;
        }
        const Admitted answer = admission.judge(question);
        if (answer.holds_for_peer) {
            peer = {of_peer, answer, version};
        } else {
            flow = {question, answer, version};
        }
        return answer;
    }

private:
    struct alignas(64) Slot {
        AdmissionQuestion question;
        Admitted answer;
        std::uint64_t version = 0;  ///< 0: empty.

        [[nodiscard]] bool holds(
            const AdmissionQuestion& other, bool for_peer, std::uint64_t in_version
        ) const noexcept {
            return version == in_version && answer.holds_for_peer == for_peer && question == other;
        }
    };
    static_assert(sizeof(Slot) == 64);

    [[nodiscard]] static std::size_t index(const AdmissionQuestion& question) noexcept {
        const auto source = question.source.words();
        const auto destination = question.destination.words();
        const std::uint64_t rest =
            std::uint64_t{question.source_port} | std::uint64_t{question.destination_port} << 16U |
            std::uint64_t{question.bridge} << 32U | std::uint64_t{question.protocol} << 48U;
        std::uint64_t hash = 0;
        for (const std::uint64_t word :
             {source[0], source[1], destination[0], destination[1], rest}) {
            hash = _mm_crc32_u64(hash, word);
        }
        return hash % kAdmissionsKept;
    }

    std::array<Slot, kAdmissionsKept> slots_{};
};

}  // namespace culvert::dataplane
