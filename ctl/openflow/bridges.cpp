// SPDX-License-Identifier: GPL-2.0-or-later
//
// See bridges.hpp.

#include "ctl/openflow/bridges.hpp"

#include <utility>
#include <vector>

#include "ctl/log.hpp"
#include "ctl/openflow/listener.hpp"
#include "dataplane/clock.hpp"

namespace culvert::ctl::openflow {

namespace {

/// A bridge of the switch. Its flow is every packet that came in by one of its ports.
class SwitchedBridge final : public Bridge, public DefaultTables {
public:
    SwitchedBridge(const CommandContext& context, std::string name, BridgeSettings settings)
        : context_(context), name_(std::move(name)), settings_(settings),
          since_s_(dataplane::coarse_clock_s()) {}

    [[nodiscard]] std::string name() const override { return name_; }

    /// As OVS: the bridge's MAC address. One without a local port has 1 to 63 characters to tell it
    /// by (FNV-1a), with the bit of locally administered addresses.
    [[nodiscard]] std::uint64_t datapath_id() const override {
        if (settings_.datapath_id) {
            return *settings_.datapath_id;
        }
        constexpr std::uint64_t kMacMask = 0xffffffffffff;
        for (const auto& [index, port] : context_.switch_.model().ports) {
            if (port.role == PortRole::local && port.name == name_) {
                return port.mac.to_u64();
            }
        }
        std::uint64_t hash = 0xcbf29ce484222325;
        for (const char letter : name_) {
            hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
        }
        return ((hash & kMacMask) | 0x020000000000) & ~std::uint64_t{0x010000000000};
    }

    [[nodiscard]] std::vector<PortFacts> ports() const override {
        const SwitchModel& model = context_.switch_.model();
        std::vector<PortFacts> facts;
        const auto bridge = model.bridges.find(name_);
        if (bridge == model.bridges.end()) {
            return facts;
        }
        std::map<std::uint16_t, const SwitchPort*> numbered;
        for (const auto& [index, port] : model.ports) {
            if (port.bridge != bridge->second.index) {
                continue;
            }
            const auto number = port.role == PortRole::local ? std::optional(Ofports::kLocal)
                                                             : context_.ofports.find(port.name);
            if (number) {
                numbered[*number] = &port;
            }
        }
        for (const auto& [number, port] : numbered) {
            facts.push_back(describe(number, *port));
        }
        return facts;
    }

    [[nodiscard]] FlowTables& tables() override { return *this; }

    [[nodiscard]] FlowFacts normal_flow() const override {
        FlowFacts facts{dataplane::coarse_clock_s() - since_s_, cookie()};
        for (const PortFacts& port : ports()) {
            facts.packets += port.rx_packets;
            facts.bytes += port.rx_bytes;
        }
        return facts;
    }

private:
    [[nodiscard]] PortFacts describe(std::uint16_t number, const SwitchPort& port) const {
        const PortTotals totals = context_.switch_.totals(port);
        PortFacts facts;
        facts.ofport = number;
        facts.name = port.name;
        facts.mac = port.mac;
        facts.up = port.role == PortRole::tunnel || port.up;
        facts.rx_packets = totals.rx_packets;
        facts.rx_bytes = totals.rx_bytes;
        facts.tx_packets = totals.tx_packets;
        facts.tx_bytes = totals.tx_bytes;
        facts.dropped = totals.dropped();
        return facts;
    }

    const CommandContext& context_;
    std::string name_;
    BridgeSettings settings_;
    std::uint32_t since_s_;
};

}  // namespace

struct Bridges::Entry {
    Entry(const CommandContext& context, const std::string& name, const BridgeSettings& with)
        : settings(with), bridge(context, name, with) {}

    BridgeSettings settings;
    SwitchedBridge bridge;
    std::vector<std::unique_ptr<Listener>> listeners;  ///< Gone before the bridge.
};

Bridges::Bridges(
    boost::asio::io_context& io,
    std::string folder,
    const CommandContext& context,
    SettingsOf settings_of
)
    : io_(io), folder_(std::move(folder)), context_(context), settings_of_(std::move(settings_of)) {
}

Bridges::~Bridges() = default;

void Bridges::update() {
    const auto& bridges = context_.switch_.model().bridges;
    std::erase_if(entries_, [&](const auto& entry) {
        return !bridges.contains(entry.first) ||
               settings_of_(entry.first) != entry.second->settings;
    });
    for (const auto& [name, bridge] : bridges) {
        if (entries_.contains(name)) {
            continue;
        }
        const BridgeSettings settings = settings_of_(name);
        auto entry = std::make_unique<Entry>(context_, name, settings);
        for (const bool snoop : {false, true}) {
            const std::string path = folder_ + "/" + name + (snoop ? ".snoop" : ".mgmt");
            auto listener =
                Listener::open(io_, entry->bridge, {path, settings.versions, snoop, {}});
            if (listener) {
                entry->listeners.push_back(std::move(*listener));
            } else if (failed_.insert(path).second) {
                logger("openflow").warn("{}", listener.error());
            }
        }
        entries_[name] = std::move(entry);
    }
}

}  // namespace culvert::ctl::openflow
