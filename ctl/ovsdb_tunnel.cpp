// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads the options of a tunnel interface. The sentences for faults that Open vSwitch knows are its
// own, since people and programs look for them in Interface.error; those for what Culvert alone
// refuses say what would be valid.
#include "ctl/ovsdb_tunnel.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "ctl/config_words.hpp"
#include "ctl/geneve_option.hpp"
#include "ctl/ovsdb_ike.hpp"
#include "ctl/sentence.hpp"
#include "tunnels/protocols.hpp"

namespace culvert::ctl {

namespace {

using tunnels::IpAddress;
using tunnels::Payload;
using tunnels::ProtocolDescriptor;

constexpr std::uint8_t kDscpMask = 0xfc;
constexpr std::uint8_t kTtlDefault = 64;
constexpr std::uint64_t kVsidMax = 0xffffff;  // RFC 7637 section 3.2.
/// Open vSwitch keeps VXLAN's port for GPE too, where IANA has 4790.
constexpr std::uint16_t kVxlanPort = 4789;

constexpr std::array<std::string_view, 5> kTypes{"gre", "ip6gre", "vxlan", "geneve", "lisp"};

/// Keys that Open vSwitch has for every type, and that are read below.
constexpr std::array<std::string_view, 12> kCommonKeys{
    "remote_ip",
    "local_ip",
    "key",
    "in_key",
    "out_key",
    "packet_type",
    "tos",
    "ttl",
    "df_default",
    "egress_pkt_mark",
    // Culvert's own:
    "ecn",
    "oversize",
};
constexpr std::array<std::string_view, 5> kUdpKeys{
    "dst_port", "src_port_min", "src_port_max", "udp6_zero_csum_rx", "udp6_zero_csum_tx"};

class Reader {
public:
    Reader(
        const std::string& name,
        const std::string& type,
        const OvsdbOptions& options,
        const IkeDaemonConfig& daemon
    )
        : name_(name), type_(type), options_(options), daemon_(daemon) {}

    OvsdbTunnel read();

private:
    [[nodiscard]] const std::string* find(const char* key) const {
        return find_option(options_, key);
    }
    [[nodiscard]] const ProtocolDescriptor& protocol() const { return *protocol_; }
    [[nodiscard]] bool is_udp() const {
        return protocol_->outer.ip_protocol == tunnels::kIpProtocolUdp;
    }
    void warn(const std::string& text) { result_.warnings.push_back(name_ + ": " + text); }
    /// The first error counts.
    void fail(const std::string& text);
    [[nodiscard]] bool failed() const { return !result_.error.empty(); }
    /// "KEY=VALUE PROBLEM; valid: VALID".
    void refuse(const char* key, std::string_view problem, std::string_view valid);

    void read_type();
    [[nodiscard]] bool knows(const std::string& key) const;
    void check_keys();
    void read_remote();
    void read_local();
    void read_packet_type();
    void check_endpoints();
    void
    read_key(const char* name, std::optional<std::uint32_t>& number, bool& flow, std::uint64_t max);
    void read_keys();
    void read_outer();
    void read_oversize();
    void read_udp();
    void read_source_ports();
    void read_gre();
    void check_nvgre();
    void read_vxlan();
    void read_geneve();
    void read_ike();
    bool read_boolean(const char* key, bool otherwise);
    void read_number(const char* key, std::uint64_t min, std::uint64_t max, std::uint16_t& out);
    void read_group(const char* key, std::optional<std::uint16_t>& out);
    template <class E, std::size_t N>
    std::optional<E> read_word(const char* key, const std::array<Word<E>, N>& words);

    const std::string& name_;
    const std::string& type_;  ///< As the database has it.
    const OvsdbOptions& options_;
    const IkeDaemonConfig& daemon_;
    const ProtocolDescriptor* protocol_ = nullptr;
    bool gbp_ = false;
    bool gpe_ = false;
    TunnelConfig tunnel_;
    OvsdbTunnel result_;
};

void Reader::fail(const std::string& text) {
    if (failed()) {
        return;
    }
    for (const std::string& warning : result_.warnings) {
        result_.error += warning + "\n";
    }
    result_.error += name_ + ": " + text;
}

void Reader::refuse(const char* key, std::string_view problem, std::string_view valid) {
    fail(
        std::string(key) + "=" + *find(key) + " " + std::string(problem) +
        "; valid: " + std::string(valid)
    );
}

/// The elements of "a,b,c"; empty ones are left out.
std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        if (end != begin) {
            parts.push_back(text.substr(begin, end - begin));
        }
        begin = end + 1;
    }
    return parts;
}

void Reader::read_type() {
    tunnel_.type = type_ == "ip6gre" ? "gre" : type_;
    const std::string* extensions = type_ == "vxlan" ? find("exts") : nullptr;
    for (const std::string& extension :
         extensions == nullptr ? std::vector<std::string>{} : split(*extensions)) {
        if (extension == "gbp") {
            gbp_ = true;
        } else if (extension == "gpe") {
            gpe_ = true;
        } else {
            warn("unknown extension '" + extension + "'");
        }
    }
    tunnel_.type = gpe_ ? "vxlan-gpe" : tunnel_.type;
    // The types of kTypes are all there.
    protocol_ = &tunnels::kProtocols[tunnels::find_protocol(tunnel_.type).value_or(0)];
}

bool Reader::knows(const std::string& key) const {
    const auto one_of = [&](const auto& keys) {
        return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    const tunnels::Features& features = protocol().features;
    return one_of(kCommonKeys) || is_ovsdb_ike_key(key) || (is_udp() && one_of(kUdpKeys)) ||
           (key == "csum" && type_ != "lisp") ||
           (features.sequence && (key == "seq" || key == "late")) ||
           (features.nvgre_key && key == "nvgre") || (type_ == "vxlan" && key == "exts") ||
           (features.group_policy && (key == "gbp_id" || key == "gbp_admit")) ||
           (features.options && key == "options");
}

void Reader::check_keys() {
    for (const auto& [key, value] : options_) {
        if (!knows(key)) {
            warn("unknown " + type_ + " argument '" + key + "'");
        }
    }
}

void Reader::read_remote() {
    const std::string* text = find("remote_ip");
    if (text == nullptr) {
        return;
    }
    if (*text == kFlowWord) {
        tunnel_.remote_flow = true;
        return;
    }
    const std::optional<IpAddress> address = IpAddress::parse(*text);
    if (!address) {
        warn("bad " + type_ + " 'remote_ip'");
    } else if (address->is_multicast()) {
        fail("multicast remote_ip=" + *text + " not allowed");
    } else {
        tunnel_.remote_ip = *address;
    }
}

void Reader::read_local() {
    const std::string* text = find("local_ip");
    if (text == nullptr) {
        return;
    }
    if (*text == kFlowWord) {
        tunnel_.local_flow = true;
        return;
    }
    const std::optional<IpAddress> address = IpAddress::parse(*text);
    if (!address) {
        warn("bad " + type_ + " 'local_ip'");
    } else if (!address->is_unset()) {
        tunnel_.local_ip = *address;
    }
}

void Reader::read_packet_type() {
    const bool has_l2 = protocol().features.ethernet;
    // Open vSwitch has no IP without Ethernet in "ip6gre", whose header could carry it.
    const bool has_l3 = protocol().features.ip && type_ != "ip6gre";
    tunnel_.packet_type = has_l2 ? Payload::ethernet : Payload::ip;
    const std::string* text = find("packet_type");
    if (text == nullptr) {
        return;
    }
    std::string full_type = type_;
    if (type_ == "vxlan") {
        full_type = gpe_ ? "VXLAN-GPE" : "VXLAN (without GPE)";
    }
    if (*text == "legacy_l2") {
        if (!has_l2) {
            fail("legacy_l2 configured on " + full_type + " tunnel that cannot carry L2 traffic");
        }
    } else if (*text == "legacy_l3") {
        if (!has_l3) {
            fail("legacy_l3 configured on " + full_type + " tunnel that cannot carry L3 traffic");
        }
        tunnel_.packet_type = Payload::ip;
    } else if (*text != "ptap") {
        fail("unknown packet_type '" + *text + "'");
    } else if (has_l2 && has_l3) {
        warn("packet_type=ptap carries Ethernet frames only");
    }
}

void Reader::check_endpoints() {
    static const IpAddress any_v4 = IpAddress::from_v4("\0\0\0\0");
    static const IpAddress broadcast_v4 = IpAddress::from_v4("\xff\xff\xff\xff");
    const bool has_remote = !tunnel_.remote_ip.is_unset();
    if (!has_remote && !tunnel_.remote_flow) {
        fail(type_ + " type requires valid 'remote_ip' argument");
        return;
    }
    if (tunnel_.local_flow && !tunnel_.remote_flow) {
        fail(type_ + " type requires 'remote_ip=flow' with 'local_ip=flow'");
    }
    if (has_remote && tunnel_.local_ip && tunnel_.local_ip->is_v4() != tunnel_.remote_ip.is_v4()) {
        fail("'remote_ip' and 'local_ip' has to be of the same address family");
    }
    if (tunnel_.remote_ip == any_v4 || tunnel_.remote_ip == broadcast_v4) {
        refuse("remote_ip", "is not the address of a host", "a unicast address, or \"flow\"");
    }
    if (tunnel_.local_ip && (tunnel_.local_ip->is_multicast() || *tunnel_.local_ip == any_v4 ||
                             *tunnel_.local_ip == broadcast_v4)) {
        refuse("local_ip", "is not the address of a host", "a unicast address of this host");
    }
}

void Reader::read_key(
    const char* name, std::optional<std::uint32_t>& number, bool& flow, std::uint64_t max
) {
    const char* const key = find(name) != nullptr ? name : "key";
    const std::string* text = find(key);
    if (text == nullptr) {
        return;
    }
    if (*text == kFlowWord) {
        flow = true;
        return;
    }
    const std::uint64_t value = leading_unsigned(*text, 0);
    if (value > max) {
        refuse(
            key,
            std::string("is out of range for ") + (tunnel_.nvgre ? "an NVGRE VSID" : type_),
            "0-" + std::to_string(max) + ", or \"flow\""
        );
        return;
    }
    number = static_cast<std::uint32_t>(value);
}

void Reader::read_keys() {
    const std::uint64_t max =
        tunnel_.nvgre ? kVsidMax : (std::uint64_t{1} << protocol().key_bits) - 1;
    read_key("in_key", tunnel_.in_key, tunnel_.in_key_flow, max);
    read_key("out_key", tunnel_.out_key, tunnel_.out_key_flow, max);
}

bool Reader::read_boolean(const char* key, bool otherwise) {
    const std::string* text = find(key);
    if (text == nullptr) {
        return otherwise;
    }
    if (*text != "true" && *text != "false") {
        refuse(key, "is not a truth value", "true, false");
    }
    return *text == "true";
}

void Reader::read_number(
    const char* key, std::uint64_t min, std::uint64_t max, std::uint16_t& out
) {
    const std::string* text = find(key);
    if (text == nullptr) {
        return;
    }
    const std::optional<std::int64_t> value = whole_number(*text, 0);
    if (!value || *value < static_cast<std::int64_t>(min) ||
        *value > static_cast<std::int64_t>(max)) {
        refuse(key, "is out of range", std::to_string(min) + "-" + std::to_string(max));
        return;
    }
    out = static_cast<std::uint16_t>(*value);
}

template <class E, std::size_t N>
std::optional<E> Reader::read_word(const char* key, const std::array<Word<E>, N>& words) {
    const std::string* text = find(key);
    if (text == nullptr) {
        return std::nullopt;
    }
    std::string valid;
    for (const Word<E>& word : words) {
        if (word.word == *text) {
            return word.value;
        }
        valid += (valid.empty() ? "" : ", ") + std::string(word.word);
    }
    refuse(key, "is unknown", valid);
    return std::nullopt;
}

void Reader::read_outer() {
    if (const std::string* text = find("tos"); text != nullptr) {
        tunnel_.tos_inherit = *text == kInheritWord;
        const std::optional<std::int64_t> value =
            text->empty() ? std::optional<std::int64_t>(0) : whole_number(*text, 0);
        if (value && *value == (*value & kDscpMask)) {
            tunnel_.tos = static_cast<std::uint8_t>(*value);
        } else if (!tunnel_.tos_inherit) {
            warn("invalid TOS " + *text);
        }
    }
    if (const std::string* text = find("ttl"); text != nullptr) {
        tunnel_.ttl_inherit = *text == kInheritWord;
        const std::int64_t value = leading_number(*text);
        if (value >= 1 && value <= 255) {
            tunnel_.ttl = static_cast<std::uint8_t>(value);
        } else if (value != 0) {
            warn("invalid TTL " + *text + ", taking " + std::to_string(kTtlDefault));
        }
    }
    if (const std::string* text = find("df_default"); text != nullptr) {
        tunnel_.df = *text != "false";
    }
    if (const std::string* text = find("egress_pkt_mark"); text != nullptr) {
        tunnel_.egress_mark = static_cast<std::uint32_t>(leading_unsigned(*text, 10));
    }
    tunnel_.ecn = read_word("ecn", kEcnWords).value_or(tunnel_.ecn);
    read_oversize();
}

void Reader::read_oversize() {
    tunnel_.oversize = read_word("oversize", kOversizeWords);
    if (tunnel_.oversize != dataplane::Oversize::fragment_outer || !tunnel_.remote_ip.is_v4()) {
        return;
    }
    if (find("df_default") == nullptr) {
        tunnel_.df = false;
    } else if (tunnel_.df) {
        refuse(
            "oversize",
            "contradicts df_default=true, which forbids fragments",
            "df_default=false beside it, or another word"
        );
    }
}

void Reader::read_source_ports() {
    constexpr std::uint64_t kMin = 1024;
    constexpr std::uint64_t kMax = 65535;
    read_number("src_port_min", kMin, kMax, tunnel_.src_port_min);
    read_number("src_port_max", kMin, kMax, tunnel_.src_port_max);
    if (tunnel_.src_port_min > tunnel_.src_port_max) {
        refuse(
            find("src_port_min") != nullptr ? "src_port_min" : "src_port_max",
            "makes the range of source ports " + std::to_string(tunnel_.src_port_min) + "-" +
                std::to_string(tunnel_.src_port_max),
            "a minimum that is not above the maximum"
        );
    }
}

void Reader::read_udp() {
    tunnel_.dst_port = gpe_ ? kVxlanPort : protocol().outer.default_udp_port;
    if (const std::string* text = find("dst_port"); text != nullptr) {
        const std::int64_t value = leading_number(*text);
        if (value < 1 || value > 65535) {
            refuse("dst_port", "is not a UDP port", "1-65535");
        } else {
            tunnel_.dst_port = static_cast<std::uint16_t>(value);
        }
    }
    read_source_ports();
    tunnel_.udp6_zero_csum_rx = read_boolean("udp6_zero_csum_rx", false);
    tunnel_.udp6_zero_csum_tx = read_boolean("udp6_zero_csum_tx", false);
    if (tunnel_.udp6_zero_csum_tx && tunnel_.remote_ip.is_v4()) {
        refuse("udp6_zero_csum_tx", "needs IPv6", "true with an IPv6 remote_ip");
    }
}

void Reader::read_gre() {
    if (const std::string* text = find("seq"); text != nullptr) {
        tunnel_.seq = *text == "true";
    }
    tunnel_.late = read_word("late", kLateWords).value_or(tunnel_.late);
    if (tunnel_.nvgre) {
        check_nvgre();
    }
}

void Reader::check_nvgre() {
    if (tunnel_.packet_type != Payload::ethernet) {
        refuse("nvgre", "carries Ethernet frames", "true with packet_type=legacy_l2");
    }
    if (!(tunnel_.in_key || tunnel_.in_key_flow) || !(tunnel_.out_key || tunnel_.out_key_flow)) {
        refuse("nvgre", "needs a key in both directions", "true with key, the VSID");
    }
    // RFC 7637 section 3.2: the C and S bits are zero.
    for (const char* key : {"csum", "seq"}) {
        if (find(key) != nullptr && *find(key) == "true") {
            refuse(key, "contradicts nvgre=true, whose header has no such field", "false");
        }
    }
}

void Reader::read_group(const char* key, std::optional<std::uint16_t>& out) {
    if (find(key) == nullptr) {
        return;
    }
    if (!gbp_) {
        refuse(key, "needs a tunnel that carries group policy", "exts=gbp beside it");
    }
    std::uint16_t value = 0;
    read_number(key, 0, 0xffff, value);
    out = value;
}

void Reader::read_vxlan() {
    tunnel_.gbp = gbp_;
    if (gbp_ && gpe_) {
        refuse("exts", "asks for two forms of the same header bits", "gbp or gpe");
    }
    if (!gpe_) {
        read_group("gbp_id", tunnel_.gbp_id);
        read_group("gbp_admit", tunnel_.gbp_admit);
    }
}

void Reader::read_geneve() {
    const std::string* text = find("options");
    std::size_t bytes = 0;
    for (const std::string& element : text == nullptr ? std::vector<std::string>{} : split(*text)) {
        std::optional<GeneveOption> option = parse_geneve_option(element);
        if (!option || option->data.size() % 4 != 0 ||
            option->data.size() > kGeneveOptionDataBytesMax) {
            fail("options has " + quote(element) + "; valid: " + std::string(kGeneveOptionRule));
            return;
        }
        const bool repeated =
            std::any_of(tunnel_.options.begin(), tunnel_.options.end(), [&](const auto& other) {
                return other.option_class == option->option_class && other.type == option->type;
            });
        if (repeated) {
            fail("options has the class and type of " + quote(element) + " twice; valid: once");
        }
        bytes += kGeneveOptionHeaderBytes + option->data.size();
        tunnel_.options.push_back(std::move(*option));
    }
    if (bytes > tunnels::kOptionsBytesMax) {
        fail(
            "options have " + std::to_string(bytes) +
            " bytes with a header of 4 bytes each; valid: at most " +
            std::to_string(tunnels::kOptionsBytesMax)
        );
    }
}

void Reader::read_ike() {
    OvsdbIke read = read_ovsdb_ike(options_, daemon_);
    for (const std::string& warning : read.warnings) {
        warn(warning);
    }
    if (!read.error.empty()) {
        fail(read.error);
    } else if (read.ike && tunnel_.remote_flow) {
        fail("an encrypted tunnel needs one peer; valid: an address in remote_ip");
    }
    tunnel_.ike = std::move(read.ike);
}

OvsdbTunnel Reader::read() {
    tunnel_.name = name_;
    read_type();
    check_keys();
    read_remote();
    read_local();
    read_packet_type();
    check_endpoints();
    if (const std::string* text = find("csum"); text != nullptr && knows("csum")) {
        tunnel_.csum = *text == "true";
    }
    tunnel_.nvgre = protocol().features.nvgre_key && read_boolean("nvgre", false);
    read_keys();
    read_outer();
    if (is_udp()) {
        read_udp();
    }
    if (protocol().features.sequence) {
        read_gre();
    }
    if (type_ == "vxlan") {
        read_vxlan();
    }
    if (protocol().features.options) {
        read_geneve();
    }
    read_ike();
    if (failed()) {
        result_.warnings.clear();  // They stand in the error.
    } else {
        result_.tunnel = std::move(tunnel_);
    }
    return std::move(result_);
}

}  // namespace

bool is_ovsdb_tunnel_type(std::string_view type) {
    return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

OvsdbTunnel read_ovsdb_tunnel(
    const std::string& name,
    const std::string& type,
    const OvsdbOptions& options,
    const IkeDaemonConfig& daemon
) {
    return Reader(name, type, options, daemon).read();
}

}  // namespace culvert::ctl
