// SPDX-License-Identifier: GPL-2.0-or-later
//
// The TOML file as the source of the daemon's state. Control thread.
#pragma once

#include <string>

#include "ctl/daemon.hpp"

namespace culvert::ctl {

class TomlControl final : public ControlSource {
public:
    /// `state` is what the file at `path` said.
    TomlControl(std::string path, DesiredState state, Switch& to, Ofports& ofports);

    [[nodiscard]] Result<void> start(std::function<void()> on_ready) override;
    /// Applies the difference, and keeps what runs when the file is bad.
    [[nodiscard]] Result<std::string> reload() override;

private:
    void finish(const DesiredState& state);

    std::string path_;
    DesiredState start_;
    Switch& switch_;
    Ofports& ofports_;
};

}  // namespace culvert::ctl
