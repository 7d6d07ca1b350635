# SPDX-License-Identifier: GPL-2.0-or-later
"""Network laboratories for the system tests, the interop tests and the demo.

A laboratory is a set of network namespaces joined by veth pairs. Everything in it carries a name of
this run alone, and everything is removed when the `Lab` context ends, also on failure, SIGINT and
SIGTERM. Needs root, iproute2, and the Python standard library; the interop tests need more.

    lab.py       namespaces, wires, processes, cleanup
    config.py    the daemon's TOML file, as a value
    daemon.py    culvertd and culvert-ctl
    topology.py  hosts and virtual machines
    peers.py     independent peers: the kernel's VXLAN, Open vSwitch
    guest.py     independent peer: a QEMU guest with Debian's kernel (guest_image.py makes it)
    esp.py       security associations with configured keys, and what was captured of them
    guest_esp.py the guest's kernel encrypts
    guest_switch.py  culvertd and charon in a guest
    capture.py   captures of a wire, read by tshark
    outer.py     what a tunnel's packets must look like there
    matrix.py    the table of what the interop tests drove
    measure.py   ping, iperf3
    transfer.py  TCP and UDP transfers with checked content
    frames.py    raw Ethernet frames: craft, send, capture
    storm.py     front of tests/system/tools/frame_storm.cpp
"""
