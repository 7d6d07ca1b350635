// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sends many frames both ways between two interfaces in two network namespaces and checks what
// arrives: every byte, that nothing is lost, doubled or reflected, and the order inside each flow.
// A sender never runs more than a window ahead of its receiver, so that no socket buffer on the way
// can overflow: whatever is missing at the end was lost by the thing under test.
// Every frame is a function of (seed, direction, flow, sequence number); the receiver makes it anew
// and compares. Even flows are frames of an experimental EtherType, odd ones UDP over IPv4.
// Prints lines {"progress": N} and at the end one line with the result. No DPDK, no offloads.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr unsigned kFlows = 8;
constexpr std::size_t kFrameBytesMax = 65536;
constexpr std::size_t kSendBurst = 16;
constexpr std::size_t kReceiveBurst = 64;
constexpr int kSocketBufferBytes = 32 << 20;
constexpr milliseconds kStall{3000};     // Without progress for so long, a direction gives up.
constexpr milliseconds kAftermath{200};  // Late duplicates are waited for so long.
constexpr std::uint32_t kMagic = 0x43565354;
constexpr std::array<std::uint8_t, 3> kMacPrefix{0x02, 0x57, 0x4f};

struct Options {
    std::uint64_t frames = 200000;
    std::uint64_t seed = 1;
    std::uint64_t window = 256;
    std::size_t bytes_min = 60;
    std::size_t bytes_max = 1514;
    bool until_eof = false;  // Send on after `frames` until standard input ends.
    std::array<std::string, 2> namespaces;
    std::array<std::string, 2> interfaces;
};

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// The splitmix64 generator: small, seedable, no state to share.
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }

private:
    std::uint64_t state_;
};

struct FrameId {
    unsigned direction;  // The sending end: 0 or 1.
    unsigned flow;
    std::uint64_t sequence;
};

class Writer {
public:
    explicit Writer(std::uint8_t* at) : at_(at) {}
    template <class T>
    void put(T value) {
        for (std::size_t i = sizeof(T); i-- > 0;) {
            *at_++ = static_cast<std::uint8_t>(value >> (8 * i));
        }
    }
    void put_mac(unsigned end, unsigned flow) {
        for (const auto byte : kMacPrefix) {
            put(byte);
        }
        put(static_cast<std::uint8_t>(end));
        put(static_cast<std::uint16_t>(flow));
    }
    [[nodiscard]] std::uint8_t* at() const { return at_; }

private:
    std::uint8_t* at_;
};

void put_ipv4_udp(Writer& out, const FrameId& id, std::size_t ip_bytes) {
    std::uint8_t* header = out.at();
    out.put<std::uint16_t>(0x4500);
    out.put(static_cast<std::uint16_t>(ip_bytes));
    out.put(static_cast<std::uint16_t>(id.sequence));
    out.put<std::uint16_t>(0x4000);
    out.put<std::uint16_t>(0x4011);  // TTL 64, UDP.
    out.put<std::uint16_t>(0);
    out.put<std::uint32_t>(0xc6120000U + id.direction);  // 198.18.0.0/15: benchmarking.
    out.put<std::uint32_t>(0xc6120000U + (1 - id.direction));
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 20; i += 2) {
        sum += static_cast<std::uint32_t>(header[i] << 8 | header[i + 1]);
    }
    sum = (sum & 0xffffU) + (sum >> 16);
    sum = ~(sum + (sum >> 16)) & 0xffffU;
    header[10] = static_cast<std::uint8_t>(sum >> 8);
    header[11] = static_cast<std::uint8_t>(sum);
    out.put(static_cast<std::uint16_t>(1024 + id.flow));
    out.put<std::uint16_t>(9);
    out.put(static_cast<std::uint16_t>(ip_bytes - 20));
    out.put<std::uint16_t>(0);
}

/// Writes the frame that `id` stands for and returns its length.
std::size_t make_frame(const Options& options, const FrameId& id, std::uint8_t* frame) {
    Random random(
        options.seed ^ (id.sequence << 16) ^ (std::uint64_t{id.direction} << 8) ^ id.flow
    );
    const std::size_t range = options.bytes_max - options.bytes_min + 1;
    const std::size_t length = options.bytes_min + random.next() % range;
    Writer out(frame);
    out.put_mac(1 - id.direction, id.flow);
    out.put_mac(id.direction, id.flow);
    const bool udp = id.flow % 2 == 1;
    out.put<std::uint16_t>(udp ? ETHERTYPE_IP : 0x88b5);
    if (udp) {
        put_ipv4_udp(out, id, length - sizeof(ether_header));
    }
    out.put(kMagic);
    out.put(static_cast<std::uint16_t>(id.flow));
    out.put(id.sequence);
    for (std::uint8_t* at = out.at(); at < frame + length;) {
        const std::uint64_t word = random.next();
        const auto left = static_cast<std::size_t>(frame + length - at);
        const std::size_t bytes = std::min(sizeof word, left);
        std::memcpy(at, &word, bytes);
        at += bytes;
    }
    return length;
}

/// Opens a packet socket on an interface of another namespace; the socket stays there.
int open_socket(const std::string& name_space, const std::string& interface, bool receive) {
    const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    const int there = open(name_space.c_str(), O_RDONLY | O_CLOEXEC);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) {
        fail("namespace " + name_space);
    }
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(receive ? ETH_P_ALL : 0);
    address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
    if (fd < 0 || address.sll_ifindex == 0) {
        fail("interface " + interface + " in " + name_space);
    }
    const int on = 1;
    const int buffer = receive ? SO_RCVBUFFORCE : SO_SNDBUFFORCE;
    if (setsockopt(fd, SOL_SOCKET, buffer, &kSocketBufferBytes, sizeof(int)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0 ||
        bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("socket on " + interface);
    }
    if (setns(home, CLONE_NEWNET) != 0) {
        fail("setns");
    }
    close(there);
    close(home);
    return fd;
}

struct Counts {
    std::uint64_t duplicated = 0;
    std::uint64_t reordered = 0;
    std::uint64_t corrupted = 0;
    std::uint64_t reflected = 0;
};

/// Frames from one end to the other: a sender thread, a receiver thread and what they share.
class Direction {
public:
    Direction(const Options& options, unsigned from)
        : options_(options), from_(from),
          send_fd_(open_socket(options.namespaces[from], options.interfaces[from], false)),
          receive_fd_(open_socket(options.namespaces[1 - from], options.interfaces[1 - from], true)
          ) {}

    void send_all(const std::atomic<bool>& told_to_end);
    void receive_all(const std::atomic<bool>& stop);

    [[nodiscard]] std::uint64_t sent() const { return sent_; }
    [[nodiscard]] std::uint64_t received() const { return received_; }
    [[nodiscard]] bool gave_up() const { return gave_up_; }
    [[nodiscard]] const Counts& counts() const { return counts_; }

private:
    bool wait_for_credit();
    bool send_burst(std::span<mmsghdr> messages);
    void judge(std::span<const std::uint8_t> frame);
    void accept(const FrameId& id);

    const Options& options_;
    unsigned from_;
    int send_fd_;
    int receive_fd_;
    std::atomic<std::uint64_t> sent_{0};
    std::atomic<std::uint64_t> received_{0};  // Distinct whole frames.
    std::atomic<bool> gave_up_{false};
    Counts counts_;  // Written by the receiver, read after it ended.
    struct Flow {
        std::vector<bool> seen;
        std::uint64_t next = 0;
    };
    std::array<Flow, kFlows> flows_;
    std::vector<std::uint8_t> expected_ = std::vector<std::uint8_t>(kFrameBytesMax);
};

bool Direction::wait_for_credit() {
    std::uint64_t received = received_;
    auto deadline = Clock::now() + kStall;
    while (sent_ + kSendBurst > received_ + options_.window) {
        if (received_ != received) {
            received = received_;
            deadline = Clock::now() + kStall;
        } else if (Clock::now() > deadline) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
}

bool Direction::send_burst(std::span<mmsghdr> messages) {
    // Counted before they leave: the receiver must never see a frame that was not sent.
    sent_ += messages.size();
    auto deadline = Clock::now() + kStall;
    while (!messages.empty()) {
        const int done =
            sendmmsg(send_fd_, messages.data(), static_cast<unsigned>(messages.size()), 0);
        if (done > 0) {
            messages = messages.subspan(static_cast<std::size_t>(done));
            deadline = Clock::now() + kStall;
        } else if (errno != ENOBUFS && errno != EINTR) {
            fail("send on " + options_.interfaces[from_]);
        } else if (Clock::now() > deadline) {
            return false;
        } else {
            // The far end of a veth had no room (its backlog is full): nothing was sent.
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }
    return true;
}

void Direction::send_all(const std::atomic<bool>& told_to_end) {
    std::vector<std::uint8_t> room(kSendBurst * kFrameBytesMax);
    std::array<iovec, kSendBurst> parts{};
    std::array<mmsghdr, kSendBurst> messages{};
    std::array<std::uint64_t, kFlows> next{};
    Random random(options_.seed + from_);
    while (sent_ < options_.frames || (options_.until_eof && !told_to_end)) {
        if (!wait_for_credit()) {
            gave_up_ = true;
            return;
        }
        for (std::size_t i = 0; i < kSendBurst; ++i) {
            const auto flow = static_cast<unsigned>(random.next() % kFlows);
            std::uint8_t* frame = room.data() + i * kFrameBytesMax;
            const std::size_t bytes = make_frame(options_, {from_, flow, next[flow]++}, frame);
            parts[i] = {frame, bytes};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        if (!send_burst(messages)) {
            gave_up_ = true;
            return;
        }
    }
}

void Direction::accept(const FrameId& id) {
    Flow& flow = flows_[id.flow];
    if (id.sequence >= flow.seen.size()) {
        flow.seen.resize(id.sequence + 1);
    }
    if (flow.seen[id.sequence]) {
        ++counts_.duplicated;
        return;
    }
    flow.seen[id.sequence] = true;
    if (id.sequence < flow.next) {
        ++counts_.reordered;
    } else {
        flow.next = id.sequence + 1;
    }
    ++received_;
}

void Direction::judge(std::span<const std::uint8_t> frame) {
    if (frame.size() < sizeof(ether_header) ||
        std::memcmp(frame.data() + 6, kMacPrefix.data(), kMacPrefix.size()) != 0) {
        return;  // Not ours: the kernels on the way speak too.
    }
    if (frame[9] != from_) {
        ++counts_.reflected;
        return;
    }
    FrameId id{from_, 0, 0};
    const bool udp = frame[12] == 0x08 && frame[13] == 0x00;
    const std::size_t offset = sizeof(ether_header) + (udp ? 28 : 0);
    if (frame.size() < offset + 14) {
        ++counts_.corrupted;
        return;
    }
    id.flow = static_cast<unsigned>(frame[offset + 4] << 8 | frame[offset + 5]);
    for (std::size_t i = 0; i < 8; ++i) {
        id.sequence = id.sequence << 8 | frame[offset + 6 + i];
    }
    if (id.flow >= kFlows || id.sequence >= sent_) {
        ++counts_.corrupted;
        return;
    }
    const std::size_t bytes = make_frame(options_, id, expected_.data());
    if (bytes != frame.size() || std::memcmp(frame.data(), expected_.data(), bytes) != 0) {
        ++counts_.corrupted;
        return;
    }
    accept(id);
}

void Direction::receive_all(const std::atomic<bool>& stop) {
    std::vector<std::uint8_t> room(kReceiveBurst * kFrameBytesMax);
    std::array<iovec, kReceiveBurst> parts{};
    std::array<mmsghdr, kReceiveBurst> messages{};
    for (std::size_t i = 0; i < kReceiveBurst; ++i) {
        parts[i] = {room.data() + i * kFrameBytesMax, kFrameBytesMax};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    while (!stop) {
        pollfd wait{receive_fd_, POLLIN, 0};
        if (poll(&wait, 1, 20) <= 0) {
            continue;
        }
        const int got =
            recvmmsg(receive_fd_, messages.data(), kReceiveBurst, MSG_DONTWAIT, nullptr);
        for (int i = 0; i < got; ++i) {
            const auto at = static_cast<std::size_t>(i);
            judge({room.data() + at * kFrameBytesMax, messages[at].msg_len});
        }
    }
}

Options parse_options(int argc, char** argv) {
    Options options;
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    std::size_t at = 0;
    const auto next = [&]() -> std::string {
        if (at >= words.size()) {
            throw std::invalid_argument("a value is missing after " + std::string(words.back()));
        }
        return std::string(words[at++]);
    };
    while (at < words.size()) {
        const std::string word = next();
        if (word == "--a" || word == "--b") {
            const std::size_t end = word == "--b" ? 1 : 0;
            options.namespaces[end] = next();
            options.interfaces[end] = next();
        } else if (word == "--frames") {
            options.frames = std::stoull(next());
        } else if (word == "--seed") {
            options.seed = std::stoull(next());
        } else if (word == "--window") {
            options.window = std::stoull(next());
        } else if (word == "--bytes-min") {
            options.bytes_min = std::stoull(next());
        } else if (word == "--bytes-max") {
            options.bytes_max = std::stoull(next());
        } else if (word == "--until-eof") {
            options.until_eof = true;
        } else {
            throw std::invalid_argument("unknown option " + word);
        }
    }
    if (options.bytes_min < 60 || options.bytes_max < options.bytes_min ||
        options.bytes_max > kFrameBytesMax || options.window < kSendBurst) {
        throw std::invalid_argument("60 <= bytes-min <= bytes-max <= 65536, window >= 16");
    }
    return options;
}

void print_result(const std::array<Direction*, 2>& directions) {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    Counts sum;
    for (const Direction* one : directions) {
        sent += one->sent();
        received += one->received();
        sum.duplicated += one->counts().duplicated + one->counts().reflected;
        sum.reordered += one->counts().reordered;
        sum.corrupted += one->counts().corrupted;
        sum.reflected += one->counts().reflected;
    }
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::printf(
        "{\"sent\": %llu, \"received\": %llu, \"lost\": %llu, \"duplicated\": %llu, "
        "\"reordered\": %llu, \"corrupted\": %llu, \"reflected\": %llu, "
        "\"a_to_b\": [%llu, %llu], \"b_to_a\": [%llu, %llu], \"gave_up\": %s}\n",
        number(sent),
        number(received),
        number(sent - received),
        number(sum.duplicated),
        number(sum.reordered),
        number(sum.corrupted),
        number(sum.reflected),
        number(directions[0]->sent()),
        number(directions[0]->received()),
        number(directions[1]->sent()),
        number(directions[1]->received()),
        directions[0]->gave_up() || directions[1]->gave_up() ? "true" : "false"
    );
}

void watch_standard_input(std::atomic<bool>& ended) {
    std::array<char, 64> ignored{};
    while (read(STDIN_FILENO, ignored.data(), ignored.size()) > 0) {
    }
    ended = true;
}

/// Prints progress until nothing more can arrive.
void follow(
    const std::array<Direction*, 2>& directions, const std::atomic<unsigned>& senders_running
) {
    std::uint64_t last = 0;
    auto deadline = Clock::now() + kStall;
    while (true) {
        const std::uint64_t a = directions[0]->received();
        const std::uint64_t b = directions[1]->received();
        std::printf("{\"progress\": %llu}\n", static_cast<unsigned long long>(std::min(a, b)));
        std::fflush(stdout);
        const bool sending = senders_running != 0;
        if (sending || a + b != last) {
            deadline = Clock::now() + kStall;
        }
        last = a + b;
        const std::uint64_t sent = directions[0]->sent() + directions[1]->sent();
        if (!sending && (a + b == sent || Clock::now() > deadline)) {
            break;
        }
        std::this_thread::sleep_for(milliseconds(20));
    }
    std::this_thread::sleep_for(kAftermath);
}

void storm(const Options& options) {
    Direction forward(options, 0);
    Direction backward(options, 1);
    const std::array<Direction*, 2> directions{&forward, &backward};
    std::atomic<bool> stop{false};
    std::atomic<bool> told_to_end{false};
    std::atomic<unsigned> senders_running{2};
    std::vector<std::jthread> threads;
    for (Direction* one : directions) {
        threads.emplace_back([one, &stop] { one->receive_all(stop); });
        threads.emplace_back([one, &told_to_end, &senders_running] {
            one->send_all(told_to_end);
            --senders_running;
        });
    }
    if (options.until_eof) {
        std::thread([&told_to_end] { watch_standard_input(told_to_end); }).detach();
    }
    follow(directions, senders_running);
    stop = true;
    threads.clear();
    print_result(directions);
    std::fflush(stdout);
    _exit(0);  // The thread that reads standard input may still wait there.
}

}  // namespace

int main(int argc, char** argv) {
    try {
        storm(parse_options(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "frame_storm: %s\n", error.what());
        return 2;
    }
}
