// SPDX-License-Identifier: GPL-2.0-or-later
#include "ctl/ike_sas.hpp"

#include <charconv>
#include <variant>

namespace culvert::ctl {
namespace {

using vici::Message;

std::uint64_t number(std::string_view text, int base = 10) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value, base);
    return value;
}

IkeChildSa read_child(const Message& message) {
    IkeChildSa child;
    child.name = message.text("name");
    child.id = number(message.text("uniqueid"));
    const std::string_view state = message.text("state");
    child.up = state == "INSTALLED" || state == "UPDATING" || state == "REKEYING";
    for (const char* direction : {"spi-in", "spi-out"}) {
        if (const auto spi = static_cast<std::uint32_t>(number(message.text(direction), 16))) {
            child.spis.push_back(spi);
        }
    }
    return child;
}

IkeSa read_sa(const std::string& connection, const Message& message) {
    IkeSa sa;
    sa.connection = connection;
    sa.id = number(message.text("uniqueid"));
    const std::string_view state = message.text("state");
    sa.established = state == "ESTABLISHED";
    sa.connecting = state == "CONNECTING" || state == "CREATED";
    sa.initiator = message.text("initiator") == "yes";
    for (const char* tasks : {"tasks-queued", "tasks-active"}) {
        sa.busy = sa.busy || message.list(tasks) != nullptr;
    }
    sa.age_s = number(message.text("established"));
    sa.peer_id = message.text("remote-id");
    if (const Message* children = message.section("child-sas")) {
        for (const vici::Entry& entry : children->entries()) {
            if (const auto* child = std::get_if<Message>(&entry.value)) {
                sa.children.push_back(read_child(*child));
            }
        }
    }
    return sa;
}

}  // namespace

std::vector<IkeSa> read_ike_sas(const Message& message) {
    std::vector<IkeSa> found;
    for (const vici::Entry& entry : message.entries()) {
        if (const auto* sa = std::get_if<Message>(&entry.value)) {
            found.push_back(read_sa(entry.name, *sa));
        }
    }
    return found;
}

}  // namespace culvert::ctl
