// SPDX-License-Identifier: GPL-2.0-or-later
//
// Keys from files. Whatever holds one on the way is wiped.
#include "ctl/private_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "ctl/config_sections.hpp"
#include "ctl/descriptor.hpp"
#include "ctl/sentence.hpp"

namespace culvert::ctl {

namespace {

constexpr std::size_t kFileBytesMax = 4096;

/// Without waiting for whoever should write to a pipe.
Descriptor open_file(const std::string& path) {
    return Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
}

/// Memory for a secret on its way.
class Wiped {
public:
    explicit Wiped(std::size_t size) : bytes_(size) {}
    Wiped(const Wiped&) = delete;
    Wiped& operator=(const Wiped&) = delete;
    ~Wiped() { tunnels::wipe(bytes_); }
    [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

std::string reason() {
    return std::generic_category().message(errno);
}

/// Why a file cannot be used that is for this user alone, or for everybody.
FileProblem problem_of_files(bool is_private) {
    return [is_private](const struct stat& status) {
        return is_private ? private_file_problem(status, ::geteuid())
                          : std::string(S_ISREG(status.st_mode) ? "" : "is not a regular file");
    };
}

/// Empty, or why the file does not serve.
std::string open_problem(const Descriptor& file, const FileProblem& problem_of) {
    struct stat status {};
    return file.is_open() && ::fstat(file.get(), &status) == 0 ? problem_of(status)
                                                               : "cannot be read: " + reason();
}

constexpr std::optional<std::uint8_t> digit_of(char c) {
    if (c >= '0' && c <= '9') {
        return static_cast<std::uint8_t>(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return static_cast<std::uint8_t>(c - 'a' + 10);
    }
    if (c >= 'A' && c <= 'F') {
        return static_cast<std::uint8_t>(c - 'A' + 10);
    }
    return std::nullopt;
}

/// "36 bytes: 32 of key, 4 of salt".
std::string parts_of(const tunnels::EspAlgorithmRow& row) {
    std::string text = fmt::format("{} bytes: {} of key", row.key_bytes(), row.cipher_key_bytes);
    if (row.salt_bytes != 0) {
        text += fmt::format(", then {} of salt", row.salt_bytes);
    }
    if (row.integrity_key_bytes != 0) {
        text += fmt::format(", then {} of integrity key", row.integrity_key_bytes);
    }
    return text;
}

/// A file as the item that names it says it.
struct Mention {
    const Origin& origin;
    std::string subject;
    std::string_view key;
    const std::string& path;

    [[nodiscard]] tl::unexpected<std::string> refused(std::string_view problem) const {
        return tl::unexpected(sentence(
            origin, subject, std::string(key) + " = " + quote(path) + " " + std::string(problem)
        ));
    }
};

Mention mention(
    const Section& section,
    const std::string& owner,
    const Origin& origin,
    std::string_view key,
    const std::string& path
) {
    return {origin, section.title() + (owner.empty() ? "" : " of " + quote(owner)), key, path};
}

Result<void> read_key(const Mention& file, tunnels::EspAlgorithm algorithm, tunnels::Secret& out) {
    const Result<PrivateText> text = read_private_file(file.path);
    if (!text) {
        return file.refused(text.error());
    }
    const Result<tunnels::Secret> key = parse_key(text->reveal(), algorithm);
    if (!key) {
        return file.refused(key.error());
    }
    out = *key;
    return {};
}

Result<void> read_psk(const Mention& file, PrivateText& out) {
    const Result<PrivateText> text = read_private_file(file.path);
    if (!text) {
        return file.refused(text.error());
    }
    const Result<PrivateText> psk = parse_psk(text->reveal());
    if (!psk) {
        return file.refused(psk.error());
    }
    out = *psk;
    return {};
}

/// The IKE daemon reads it; that it could is seen now.
Result<void> check_file(const Mention& mentioned, bool is_private) {
    if (mentioned.path.empty()) {
        return {};
    }
    const std::string problem =
        open_problem(open_file(mentioned.path), problem_of_files(is_private));
    return problem.empty() ? Result<void>{} : mentioned.refused(problem);
}

Result<void> read_tunnel_files(TunnelConfig& tunnel) {
    if (tunnel.esp) {
        EspConfig& esp = *tunnel.esp;
        const auto file = [&](std::string_view key, const std::string& path) {
            return mention(kTunnelEspSection, tunnel.name, esp.origin, key, path);
        };
        Result<void> read =
            read_key(file("key_in_file", esp.key_in_file), esp.algorithm, esp.key_in);
        return read ? read_key(file("key_out_file", esp.key_out_file), esp.algorithm, esp.key_out)
                    : read;
    }
    if (tunnel.ike) {
        IkeConfig& ike = *tunnel.ike;
        const auto file = [&](std::string_view key, const std::string& path) {
            return mention(kTunnelIkeSection, tunnel.name, ike.origin, key, path);
        };
        return ike.psk_file.empty() ? check_file(file("remote_cert", ike.remote_cert), false)
                                    : read_psk(file("psk_file", ike.psk_file), ike.psk);
    }
    return {};
}

Result<void> check_ike_files(const IkeDaemonConfig& ike) {
    const auto check = [&](std::string_view key, const std::string& path, bool is_private) {
        return check_file(mention(kIkeSection, {}, ike.origin, key, path), is_private);
    };
    Result<void> checked = check("certificate", ike.certificate, false);
    checked = checked ? check("private_key", ike.private_key, true) : checked;
    return checked ? check("ca_cert", ike.ca_cert, false) : checked;
}

/// An SA with a configured key.
struct KeyUse {
    const TunnelConfig* tunnel;
    bool outbound;

    [[nodiscard]] const EspConfig& esp() const { return *tunnel->esp; }
    [[nodiscard]] const tunnels::Secret& key() const {
        return outbound ? esp().key_out : esp().key_in;
    }
    [[nodiscard]] std::uint32_t spi() const { return outbound ? esp().spi_out : esp().spi_in; }
    [[nodiscard]] Mention file() const {
        return mention(
            kTunnelEspSection,
            tunnel->name,
            esp().origin,
            outbound ? "key_out_file" : "key_in_file",
            outbound ? esp().key_out_file : esp().key_in_file
        );
    }
};

/// Both ends of one SA may be tunnels of this host.
bool are_ends_of_one(const KeyUse& a, const KeyUse& b) {
    const KeyUse& from = a.outbound ? a : b;
    const KeyUse& to = a.outbound ? b : a;
    const auto& local = to.tunnel->local_ip;
    return from.outbound && !to.outbound && from.tunnel != to.tunnel && from.spi() == to.spi() &&
           local.value_or(from.tunnel->remote_ip) == from.tunnel->remote_ip;
}

/// A key makes each IV once only if one sender has it.
Result<void> check_reuse(const DesiredState& state) {
    const auto less = [](const tunnels::Secret* a, const tunnels::Secret* b) {
        return std::lexicographical_compare(
            a->bytes().begin(), a->bytes().end(), b->bytes().begin(), b->bytes().end()
        );
    };
    std::map<const tunnels::Secret*, KeyUse, decltype(less)> seen(less);
    for (const TunnelConfig& tunnel : state.tunnels) {
        if (!tunnel.esp) {
            continue;
        }
        for (const bool outbound : {false, true}) {
            const KeyUse use{&tunnel, outbound};
            const auto [earlier, added] = seen.emplace(&use.key(), use);
            if (added || are_ends_of_one(earlier->second, use)) {
                continue;
            }
            const Mention other = earlier->second.file();
            const std::string where = place(other.origin);
            return use.file().refused(
                "holds the key of " + std::string(other.key) + " of " +
                quote(earlier->second.tunnel->name) + (where.empty() ? "" : " (" + where + ")") +
                " too, and a key that is used twice breaks its encryption; valid: a key for each "
                "direction of each tunnel"
            );
        }
    }
    return {};
}

}  // namespace

std::string private_file_problem(const struct stat& status, uid_t daemon_user) {
    if (!S_ISREG(status.st_mode)) {
        return "is not a regular file";
    }
    if (status.st_uid != 0 && status.st_uid != daemon_user) {
        return fmt::format(
            "belongs to user {}; valid: a file of root{}",
            status.st_uid,
            daemon_user == 0 ? "" : fmt::format(" or of user {}, the daemon's", daemon_user)
        );
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return fmt::format(
            "may be read or changed by others than its owner (mode {:04o}); valid: mode 0600 or "
            "0400",
            status.st_mode & 07777U
        );
    }
    return {};
}

Result<PrivateText>
read_whole(const std::string& path, std::size_t bytes_max, const FileProblem& problem_of) {
    const Descriptor file = open_file(path);
    if (std::string problem = open_problem(file, problem_of); !problem.empty()) {
        return tl::unexpected(std::move(problem));
    }
    Wiped memory(bytes_max + 1);
    std::size_t size = 0;
    while (size < memory.bytes().size()) {
        const std::span<std::byte> rest = memory.bytes().subspan(size);
        const ssize_t got = ::read(file.get(), rest.data(), rest.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return tl::unexpected("cannot be read: " + reason());
        }
        if (got == 0) {
            break;
        }
        size += static_cast<std::size_t>(got);
    }
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): bytes are text here.
    return PrivateText({reinterpret_cast<const char*>(memory.bytes().data()), size});
}

Result<PrivateText> read_private_file(const std::string& path) {
    Result<PrivateText> text = read_whole(path, kFileBytesMax, problem_of_files(true));
    if (text && text->reveal().size() > kFileBytesMax) {
        return tl::unexpected(
            "is too large; valid: at most " + std::to_string(kFileBytesMax) + " bytes"
        );
    }
    return text;
}

Result<tunnels::Secret> parse_key(std::string_view text, tunnels::EspAlgorithm algorithm) {
    static constexpr std::string_view kBlanks = " \t\r\n";
    text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    const tunnels::EspAlgorithmRow& row = tunnels::row_of(algorithm);
    const bool is_hexadecimal =
        std::all_of(text.begin(), text.end(), [](char c) { return digit_of(c).has_value(); });
    if (!is_hexadecimal) {
        return tl::unexpected(fmt::format(
            "holds something else than hexadecimal digits; valid: {} of them", row.key_bytes() * 2
        ));
    }
    if (text.size() != row.key_bytes() * 2) {
        return tl::unexpected(fmt::format(
            "holds {} hexadecimal digits; valid: {} for {} ({})",
            text.size(),
            row.key_bytes() * 2,
            row.name,
            parts_of(row)
        ));
    }
    Wiped memory(row.key_bytes());
    for (std::size_t i = 0; i < row.key_bytes(); ++i) {
        const unsigned high = digit_of(text[2 * i]).value_or(0);
        memory.bytes()[i] = std::byte((high << 4U) | digit_of(text[2 * i + 1]).value_or(0));
    }
    return tunnels::Secret(memory.bytes());
}

Result<PrivateText> parse_psk(std::string_view text) {
    static constexpr std::string_view kValid = "a pre-shared key of 1-1024 bytes in its first line";
    const std::string_view line = text.substr(0, text.find('\n'));
    const auto refused = [](std::string_view problem) {
        return tl::unexpected(std::string(problem).append("; valid: ").append(kValid));
    };
    if (line.empty()) {
        return refused("begins with an empty line");
    }
    if (line.size() > kPskBytesMax) {
        return refused("begins with a line of " + std::to_string(line.size()) + " bytes");
    }
    if (!is_printable(line)) {
        return refused("has a control character in its first line");
    }
    return PrivateText(line);
}

Result<void> read_private_files(DesiredState& state) {
    for (TunnelConfig& tunnel : state.tunnels) {
        if (Result<void> read = read_tunnel_files(tunnel); !read) {
            return read;
        }
    }
    if (Result<void> checked = check_ike_files(state.ike); !checked) {
        return checked;
    }
    return check_reuse(state);
}

}  // namespace culvert::ctl
