// SPDX-License-Identifier: GPL-2.0-or-later
//
// Any bytes opened as an ESP packet of each algorithm, whole and in pieces, and a sealed packet
// changed in any way, which must never be authentic. The first twelve octets of the input choose
// algorithm and form, the sequence number, where the packet is cut, and the change.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "tunnels/esp/esp.hpp"

namespace culvert::tunnels {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kChoiceBytes = 12;
constexpr std::size_t kPacketBytesMax = 65535;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

unsigned octet(std::span<const std::byte> bytes, std::size_t at) {
    return std::to_integer<unsigned>(bytes[at]);
}

unsigned word_at(std::span<const std::byte> bytes, std::size_t at) {
    return octet(bytes, at) << 8U | octet(bytes, at + 1);
}

/// Keys and engine are made once.
const EspKey& key_of(EspAlgorithm algorithm) {
    static const auto keys = [] {
        std::array<std::unique_ptr<EspKey>, kEspAlgorithms.size()> made;
        for (std::size_t i = 0; i < made.size(); ++i) {
            std::array<std::byte, Secret::kBytesMax> octets{};
            octets.fill(std::byte{0x42});
            made[i] = std::make_unique<EspKey>(
                kEspAlgorithms[i].algorithm,
                Secret(std::span(octets).first(kEspAlgorithms[i].key_bytes()))
            );
        }
        return made;
    }();
    return *keys[static_cast<std::size_t>(algorithm)];
}

EspEngine& engine() {
    static EspEngine the_engine;
    return the_engine;
}

/// What the input chooses.
struct Choice {
    EspAlgorithm algorithm;
    bool extended;
    std::uint64_t sequence;
    std::size_t cut;     ///< Of pieces.
    std::size_t change;  ///< Which octet is changed,
    std::byte flip;      ///< and which of its bits.
};

Choice choose(std::span<const std::byte> input) {
    const std::uint64_t low = word_at(input, 2) << 16U | word_at(input, 4);
    return {
        kEspAlgorithms[octet(input, 0) % kEspAlgorithms.size()].algorithm,
        (octet(input, 1) & 1U) != 0,
        std::uint64_t{word_at(input, 6)} << 32U | low,
        octet(input, 8),
        word_at(input, 9),
        input[11]};
}

/// A packet in pieces of exactly their size, so that AddressSanitizer sees what is beside them.
class Pieces {
public:
    /// Cut at `cut` if that is between IV and ICV.
    Pieces(const EspAlgorithmRow& row, const Bytes& packet, std::size_t cut) {
        const std::size_t front = esp_front_bytes(row);
        if (cut < front || cut + row.icv_bytes > packet.size()) {
            cut = packet.size();
        }
        const auto at = packet.begin() + static_cast<std::ptrdiff_t>(cut);
        memory_[0].assign(packet.begin(), at);
        memory_[1].assign(at, packet.end());
        for (std::size_t i = 0; i < memory_.size(); ++i) {
            pieces_[i] = {memory_[i].data(), static_cast<std::uint32_t>(memory_[i].size())};
        }
    }

    [[nodiscard]] EspPacket packet(std::uint64_t sequence) const {
        return {std::span(pieces_).first(memory_[1].empty() ? 1 : 2), sequence, false};
    }
    [[nodiscard]] Bytes read() const {
        Bytes bytes = memory_[0];
        bytes.insert(bytes.end(), memory_[1].begin(), memory_[1].end());
        return bytes;
    }

private:
    std::array<Bytes, 2> memory_;
    std::array<EspPiece, 2> pieces_{};
};

/// What is inside, if the packet is authentic.
std::optional<Bytes> open(const Choice& choice, const Bytes& packet, std::size_t cut) {
    const EspAlgorithmRow& row = row_of(choice.algorithm);
    const Pieces pieces(row, packet, cut);
    EspPacket opened = pieces.packet(choice.sequence);
    engine().open(key_of(choice.algorithm), choice.extended, std::span(&opened, 1));
    if (!opened.is_authentic) {
        return std::nullopt;
    }
    const Bytes whole = pieces.read();
    return Bytes(
        whole.begin() + static_cast<std::ptrdiff_t>(esp_front_bytes(row)),
        whole.end() - row.icv_bytes
    );
}

/// RFC 4303 section 2.4 by the letter.
void check_trailer(std::span<const std::byte> end) {
    const auto trailer = parse_esp_trailer(end);
    bool is_valid = end.size() >= 2;
    std::size_t padding = 0;
    if (is_valid) {
        padding = octet(end, end.size() - 2);
        is_valid = padding + 2 <= end.size();
        for (std::size_t i = 1; is_valid && i <= padding; ++i) {
            is_valid = octet(end, end.size() - 2 - padding + i - 1) == i;
        }
    }
    require(trailer.has_value() == is_valid);
    if (is_valid) {
        require(trailer->bytes == padding + 2);
        require(trailer->next_header == octet(end, end.size() - 1));
        Bytes again(trailer->bytes);
        write_esp_trailer(again, trailer->next_header);
        require(std::ranges::equal(again, end.last(trailer->bytes)));
    }
}

/// Whatever arrives: in one piece and in two it is the same.
void check_arbitrary(const Choice& choice, std::span<const std::byte> bytes) {
    const EspAlgorithmRow& row = row_of(choice.algorithm);
    const std::size_t around = esp_front_bytes(row) + row.icv_bytes;
    if (bytes.size() < around + row.block_bytes) {
        return;  // Refused by whoever calls, for its length.
    }
    const std::size_t inside = (bytes.size() - around) / row.block_bytes * row.block_bytes;
    const Bytes packet(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(around + inside));
    const auto whole = open(choice, packet, packet.size());
    require(whole == open(choice, packet, choice.cut));
    if (whole) {
        check_trailer(std::span(*whole).last(std::min<std::size_t>(257, whole->size())));
    }
}

Bytes seal(const Choice& choice, std::span<const std::byte> payload) {
    const EspAlgorithmRow& row = row_of(choice.algorithm);
    const std::size_t front = esp_front_bytes(row);
    const std::size_t trailer = esp_trailer_bytes(row, payload.size());
    Bytes clear(front + payload.size() + trailer + row.icv_bytes);
    std::ranges::copy(payload, clear.begin() + static_cast<std::ptrdiff_t>(front));
    write_esp_trailer(std::span(clear).subspan(front + payload.size(), trailer), 47);
    const Pieces pieces(row, clear, choice.cut);
    EspPacket sealed = pieces.packet(choice.sequence);
    engine().seal(key_of(choice.algorithm), 0x1001, choice.extended, std::span(&sealed, 1));
    return pieces.read();
}

/// What was sealed opens as it was, and not when anything is changed.
void check_sealed(const Choice& choice, std::span<const std::byte> payload) {
    const EspAlgorithmRow& row = row_of(choice.algorithm);
    const Bytes packet = seal(choice, payload);
    const auto opened = open(choice, packet, packet.size());
    require(opened.has_value() && opened == open(choice, packet, choice.cut));
    check_trailer(std::span(*opened).last(std::min<std::size_t>(257, opened->size())));
    require(std::ranges::equal(std::span(*opened).first(payload.size()), payload));

    if (choice.flip != std::byte{0}) {
        Bytes changed = packet;
        changed[choice.change % packet.size()] ^= choice.flip;
        require(!open(choice, changed, choice.cut));
    }
    // Cut off, and continued.
    const std::size_t around = esp_front_bytes(row) + row.icv_bytes;
    const std::size_t blocks = (packet.size() - around) / row.block_bytes;
    if (blocks > 1) {
        const std::size_t kept = around + (1 + choice.change % (blocks - 1)) * row.block_bytes;
        require(!open(
            choice,
            Bytes(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(kept)),
            choice.cut
        ));
    }
    Bytes longer = packet;
    longer.insert(longer.end(), row.block_bytes, choice.flip);
    require(!open(choice, longer, choice.cut));
    // Of another turn of the sequence number.
    if (choice.extended) {
        Choice other = choice;
        other.sequence ^= std::uint64_t{1} << (32 + choice.change % 32);
        require(!open(other, packet, choice.cut));
    }
    Choice other = choice;
    other.extended = !choice.extended;
    require(!open(other, packet, choice.cut));
}

}  // namespace
}  // namespace culvert::tunnels

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    culvert::tunnels::check_trailer(input);
    // Longer ones do not arrive: the IP packet would not hold them.
    if (size < culvert::tunnels::kChoiceBytes || size > culvert::tunnels::kPacketBytesMax - 100) {
        return 0;
    }
    const auto choice = culvert::tunnels::choose(input);
    const auto rest = input.subspan(culvert::tunnels::kChoiceBytes);
    culvert::tunnels::check_arbitrary(choice, rest);
    culvert::tunnels::check_sealed(choice, rest);
    return 0;
}
