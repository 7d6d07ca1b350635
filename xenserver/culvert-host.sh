# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the scripts of this folder ask about a XenServer or XCP-ng host. They read it with `.`.
# shellcheck shell=sh

mode_file=/etc/xensource/network.conf

# Whether systemd starts the host's Open vSwitch: then its init script is no business of ours.
has_unit() {
    [ -e /usr/lib/systemd/system/openvswitch.service ] || [ -e /lib/systemd/system/openvswitch.service ]
}

# The network backend by network.conf, in which blanks and ends of lines count for nothing, as with XAPI.
backend() {
    [ ! -r $mode_file ] || tr -d '[:space:]' <$mode_file
}

# is_vswitch BACKEND
is_vswitch() {
    [ "$1" = vswitch ] || [ "$1" = openvswitch ]
}
