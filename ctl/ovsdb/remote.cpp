// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reads "unix:PATH", "tcp:HOST[:PORT]" and "ssl:HOST[:PORT]".
#include "ctl/ovsdb/remote.hpp"

#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/un.h>

#include "ctl/ovsdb/client.hpp"

namespace culvert::ctl::ovsdb {
namespace {

tl::unexpected<std::string> refuse(const std::string& text, const std::string& why) {
    return tl::unexpected<std::string>("remote \"" + text + "\" " + why);
}

Result<Remote> parse_path(Remote remote, std::string_view path) {
    constexpr std::size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty() || path.size() > kPathMax) {
        return refuse(
            remote.text,
            "has a path of " + std::to_string(path.size()) +
                " characters; a socket's path has 1 to " + std::to_string(kPathMax)
        );
    }
    remote.host = path;
    return remote;
}

Result<Remote> parse_host(Remote remote, std::string_view rest) {
    const std::string form = "is not KIND:HOST[:PORT] with an IPv6 address in brackets";
    std::string_view host;
    if (rest.starts_with('[')) {
        const std::size_t end = rest.find(']');
        if (end == std::string_view::npos) {
            return refuse(remote.text, form);
        }
        host = rest.substr(1, end - 1);
        rest.remove_prefix(end + 1);
    } else {
        host = rest.substr(0, rest.find(':'));
        rest.remove_prefix(host.size());
    }
    if (host.empty()) {
        return refuse(remote.text, "names no host");
    }
    remote.host = host;
    if (rest.empty()) {
        return remote;
    }
    if (rest.front() != ':' || rest.find(':', 1) != std::string_view::npos) {
        return refuse(remote.text, form);
    }
    rest.remove_prefix(1);
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), remote.port);
    if (error != std::errc() || end != rest.data() + rest.size() || remote.port == 0) {
        return refuse(remote.text, "has a port that is not a number from 1 to 65535");
    }
    return remote;
}

}  // namespace

Result<Remote> parse_remote(const std::string& text) {
    Remote remote;
    remote.text = text;
    const std::string_view all = text;
    const std::size_t colon = all.find(':');
    const std::string_view kind = all.substr(0, colon);
    const std::string_view rest = colon == std::string_view::npos ? "" : all.substr(colon + 1);
    if (kind == "unix") {
        return parse_path(std::move(remote), rest);
    }
    if (kind == "tcp" || kind == "ssl") {
        remote.kind = kind == "tcp" ? Remote::Kind::tcp : Remote::Kind::ssl;
        return parse_host(std::move(remote), rest);
    }
    return refuse(text, "is not unix:PATH, tcp:HOST[:PORT] or ssl:HOST[:PORT]");
}

Result<std::vector<std::string>> parse_remotes(const std::string& text) {
    std::vector<std::string> remotes;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        std::string one = text.substr(at, end - at);
        if (const auto remote = parse_remote(one); !remote.has_value()) {
            return tl::unexpected(remote.error());
        }
        remotes.push_back(std::move(one));
        at = end + 1;
    }
    return remotes;
}

}  // namespace culvert::ctl::ovsdb
