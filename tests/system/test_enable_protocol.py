# SPDX-License-Identifier: GPL-2.0-or-later
"""culvert-ctl enable-protocol and its kin on real tables: iptables-legacy, iptables-nft and nft.

Each test has a namespace of its own, whose tables are written by the host's tools, changed by
culvert-ctl and read by the host's tools again: what is not our rule has to be there byte by byte.
Checks are grouped, as each of them is a process or two.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, Namespace

OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
IPTABLES_LEGACY = "/usr/sbin/xtables-legacy-multi"
DEADLINE_S = 120.0
WRITERS = 50
KILLS_MAX = 8


class Host:
    """A namespace with tables, and the commands on it; the lock of iptables is its own."""

    def __init__(self, ns: Namespace, build: Build, folder: pathlib.Path) -> None:
        self.ns = ns
        self.culvert_ctl = build.culvert_ctl
        self.folder = folder
        self.environment = dict(os.environ, XTABLES_LOCKFILE=str(folder / "xtables.lock"))

    def start(self, *argv: object, **options: object) -> subprocess.Popen[str]:
        with self.ns.entered():
            return subprocess.Popen(
                [str(word) for word in argv],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                **options,
            )

    def run(self, *argv: object) -> tuple[int, str]:
        """The exit status, and standard output and error together."""
        child = self.start(*argv)
        try:
            output, _ = child.communicate(timeout=DEADLINE_S)
        finally:
            child.kill()
            child.wait()
        return child.returncode, output

    def sh(self, script: str) -> str:
        status, output = self.run("sh", "-ec", script)
        assert status == 0, (script, output)
        return output

    def ctl(self, *words: object, status: int = 0) -> str:
        ended, output = self.run(self.culvert_ctl, *words)
        assert ended == status, (words, ended, output)
        return output

    def ctl_json(self, *words: object) -> object:
        return json.loads(self.ctl("-f", "json", *words))


class Iptables:
    """Tables of iptables; `kind` is "legacy" or "nft"."""

    tool = "iptables"

    def __init__(self, kind: str) -> None:
        self.name = f"iptables-{kind}"
        self.kind = kind
        self.backend = "iptables-legacy" if kind == "legacy" else "nftables"

    def reset(self, *lines: str, only: str = "46") -> str:
        """A script that makes the table filter anew, with `lines` of iptables-save in it."""
        rules = {"4": "\n".join(lines), "6": "\n".join(lines) if "6" in only else ""}
        return "\n".join(
            f"""ip{six}tables-{self.kind}-restore -w <<'END'
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
{rules[six or "4"]}
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
END"""
            for six in ("", "6")
        )

    ports_near = "-A INPUT -p udp --dport 47890 -j ACCEPT"
    dropped = "-A INPUT -p gre -j DROP"
    in_user_chain = ":user - [0:0]\n-A user -p gre -j ACCEPT\n-A INPUT -j user"

    def limited(self) -> str:
        return self.reset("-A INPUT -p gre -s 10.0.0.9 -j ACCEPT", only="4")

    def rich(self) -> str:
        """Tables with everything: counters, comments, user chains, other tables and policies."""
        mark = '-m comment --comment "culvert geneve"'
        reject = {"": "icmp-host-prohibited", "6": "icmp6-adm-prohibited"}
        return "\n".join(
            f"""ip{six}tables-{self.kind}-restore -c <<'END'
*mangle
:INPUT ACCEPT [0:0]
[3:300] -A INPUT -m mark --mark 0x7 -j MARK --set-xmark 0x8/0xffffffff
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:RH-Firewall-1-INPUT - [0:0]
:unused - [0:0]
[2:200] -A INPUT -i eth9 -p udp -m udp --dport 6081 {mark} -j ACCEPT
[1:100] -A INPUT -j RH-Firewall-1-INPUT
[7:700] -A RH-Firewall-1-INPUT -i lo -m comment --comment "the loopback" -j ACCEPT
[8:800] -A RH-Firewall-1-INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
[9:900] -A RH-Firewall-1-INPUT -p udp -m udp --dport 4341 -j ACCEPT
[0:0] -A RH-Firewall-1-INPUT -p udp -m udp --dport 6081 {mark} -j DROP
[0:0] -A RH-Firewall-1-INPUT -j REJECT --reject-with {reject[six]}
COMMIT
END"""
            for six in ("", "6")
        )

    def saved(self, host: Host) -> str:
        text = host.sh("\n".join(f"ip{six}tables-{self.kind}-save -c" for six in ("", "6")))
        return "\n".join(line for line in text.splitlines() if not line.startswith("#"))

    ours = re.compile(r'\[0:0\] -A INPUT (-s \S+ )?-p .* --comment "culvert .*" -j ACCEPT')


class Nft:
    """A table of nft."""

    name = "nft"
    tool = "nftables"
    backend = "nftables"

    def reset(self, *lines: str) -> str:
        """A script that makes the ruleset anew, with `lines` in the chain."""
        rules = "\n".join(lines)
        return f"""nft -f - <<'END'
flush ruleset
table inet fw {{
chain user {{ accept; }}
chain input {{
type filter hook input priority filter; policy drop;
{rules}
tcp dport 22 accept
}}
}}
END"""

    ports_near = "udp dport 47890 accept"
    dropped = "meta l4proto gre drop"
    in_user_chain = "meta l4proto gre jump user"

    def limited(self) -> str:
        return self.reset("ip saddr 10.0.0.9 meta l4proto gre accept")

    def rich(self) -> str:
        return """nft -f - <<'END'
table inet fw {
set peers { type ipv4_addr; flags interval; elements = { 10.0.0.0/24, 10.2.0.1 } }
chain more { udp dport 6081 drop comment "culvert geneve"; }
chain input {
type filter hook input priority filter; policy drop;
iifname "eth9" udp dport 6081 counter packets 2 bytes 200 accept comment "culvert geneve"
iifname "lo" counter packets 7 bytes 700 accept comment "the loopback"
ct state established,related accept
udp dport 4341 counter packets 9 bytes 900 accept
ip saddr @peers tcp dport { 22, 80, 443 } accept
jump more
}
chain out { type filter hook output priority 0; policy accept; counter packets 1 bytes 2; }
}
END"""

    def saved(self, host: Host) -> str:
        return host.sh("nft list ruleset")

    ours = re.compile(r'.*counter packets 0 bytes 0 accept comment "culvert.*"')


BACKENDS = (Iptables("legacy"), Iptables("nft"), Nft())
Backend = Iptables | Nft


def without_ours(backend: Backend, text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not backend.ours.fullmatch(line))


def ours_in(backend: Backend, text: str) -> list[str]:
    return [line for line in text.splitlines() if backend.ours.fullmatch(line)]


@pytest.fixture
def host(lab: Lab, build: Build, tmp_path: pathlib.Path) -> Host:
    return Host(lab.namespace("fw"), build, tmp_path)


# ---- What ovs-ctl does, and what it does not ----------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_semantics(host: Host, backend: Backend) -> None:
    """Every case: what it says, its status, that our rules came or not, and that others stayed."""
    enabling = f"Enabling %s with {backend.tool}"
    exists = "already has a rule for gre, not explicitly enabling"
    cases: list[tuple[str, str, str, int]] = [
        # Tables, words, what is said, how many rules are inserted.
        (backend.reset(), "", enabling % "gre", 2),
        (backend.reset(backend.ports_near), "vxlan", enabling % "udp to port 4789", 2),
        (
            backend.reset(),
            "--protocol=17 --dport=7 --sport=8 --source=10.0.0.0/8",
            enabling % "udp to port 7 from port 8 from 10.0.0.0/8",
            1,
        ),
        (backend.reset(), "esp --source=fd00::/8,fe80::1", enabling % "esp from fd00::/8", 6),
        (backend.reset(backend.dropped), "", "already has a rule for gre, which drops it", 0),
        (backend.reset(backend.in_user_chain), "", exists, 0),
        (backend.limited(), "gre --source=0.0.0.0/0", enabling % "gre", 1),
    ]
    for tables, words, said, inserted in cases:
        host.sh(tables)
        before = backend.saved(host)
        output = host.ctl("enable-protocol", *words.split())
        assert said in output, (words, output)
        after = backend.saved(host)
        assert len(ours_in(backend, after)) == inserted, (words, after)
        assert without_ours(backend, after) == without_ours(backend, before)
    again = host.ctl("enable-protocol", "gre", "--source=0.0.0.0/0")
    assert exists in again and backend.saved(host) == after


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_esp_stands_for_the_key_exchange_too(host: Host, backend: Backend) -> None:
    host.sh(backend.reset())
    before = backend.saved(host)
    host.ctl("check-protocol", "esp", status=1)
    host.ctl("enable-protocol", "esp")
    assert len(ours_in(backend, backend.saved(host))) == 6
    host.ctl("check-protocol", "esp")
    rows = [row for row in host.ctl_json("list-protocols") if row["by"] == "culvert"]
    assert {(row["type"], row["admitted"]) for row in rows} == {
        ("esp", "yes"),
        ("ike", "yes"),
        ("esp-udp", "yes"),
    }
    host.ctl("disable-protocol", "ike")
    host.ctl("check-protocol", "esp", status=1)
    host.ctl("disable-protocol", "esp")
    assert backend.saved(host) == before


def test_wrong_words_change_nothing(host: Host) -> None:
    backend = BACKENDS[0]
    host.sh(backend.reset())
    before = backend.saved(host)
    for words, status, said in (
        ("--protocol=nosuch", 1, 'unknown protocol "nosuch"'),
        ("--dport=7", 1, "gre has no ports"),
        ("vxlan --dport=0", 2, '--dport "0" is no port'),
        ("--source=10.0.0", 2, "--source: "),
        ("--backend=nosuch", 2, "nosuch"),
        ("nosuch", 2, "nosuch"),
    ):
        output = host.ctl("enable-protocol", *words.split(), status=status)
        assert said in output and len(output.splitlines()) == 1, output
    assert backend.saved(host) == before


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_rich_tables_are_kept_byte_by_byte(host: Host, backend: Backend) -> None:
    host.sh(backend.rich())
    before = backend.saved(host)
    words = ("gre", "vxlan", "stt", "--source=10.0.0.0/24", "--comment=to rack 7")
    commands = host.ctl("enable-protocol", *words, "--dry-run")
    assert backend.saved(host) == before
    assert len(commands.splitlines()) == 3

    host.ctl("enable-protocol", *words)
    after = backend.saved(host)
    assert len(ours_in(backend, after)) == 3
    assert without_ours(backend, after) == before.rstrip("\n")
    # The commands of the dry run do the same.
    assert host.ctl("disable-protocol", *words[:3]) == (
        "Removed 3 rules for gre, udp to port 4789 and tcp to port 7471\n"
    )
    assert backend.saved(host) == before
    host.sh(commands)
    assert backend.saved(host) == after

    rows = {(row["type"], row["family"], row["by"]): row for row in host.ctl_json("list-protocols")}
    gre = rows["gre", "IPv4", "culvert"]
    assert (gre["admitted"], gre["from"], gre["packets"]) == ("some", "10.0.0.0/24", 0)
    lisp = rows["lisp", "IPv4", "operator"]
    assert (lisp["admitted"], lisp["from"], lisp["packets"]) == ("yes", "any", 9)
    assert rows["geneve", "IPv4", "operator"]["admitted"] == "no"
    assert rows["gre", "IPv6", None]["admitted"] == "no"
    assert ("geneve", "IPv4", "culvert") not in rows

    for words, status in (
        (("gre", "--source=10.0.0.7"), 0),
        (("gre", "--source=10.0.1.7"), 1),
        (("gre",), 1),
        (("lisp",), 0),
        (("geneve", "--source=0.0.0.0/0"), 1),
        (("geneve", "--interface=eth9"), 0),
    ):
        said = host.ctl("check-protocol", *words, status=status)
        assert ("admits" if status == 0 else "drops") in said, said

    packet = ("--src=10.9.9.9", "--dst=10.0.0.1", "--protocol=udp", "--dport=6081")
    way = host.ctl_json("firewall", "explain", *packet)
    assert way["verdict"] == "drop" and "6081" in way["decided_by"]
    assert max(step["depth"] for step in way["steps"]) == 1
    assert "verdict: accept" in host.ctl("firewall", "explain", *packet, "--state=ESTABLISHED")
    # Rules of the same shape or with the same comment are not ours.
    assert "nothing to remove" in host.ctl("disable-protocol", "geneve", "lisp")
    assert backend.saved(host) == after


def test_both_firewalls_are_opened_and_one_when_it_is_named(host: Host) -> None:
    legacy, nft = BACKENDS[0], BACKENDS[2]
    host.sh(legacy.reset() + "\n" + nft.reset())
    host.ctl("enable-protocol", "--backend=nftables")
    assert len(ours_in(nft, nft.saved(host))) == 2
    assert not ours_in(legacy, legacy.saved(host))
    host.ctl("check-protocol", status=1)
    output = host.ctl("enable-protocol")
    assert "Enabling gre with iptables" in output and "nftables already has a rule" in output
    host.ctl("check-protocol")
    assert "Removed 4 rules" in host.ctl("disable-protocol")


def test_absent_and_unlistable_firewalls_are_said_and_no_failure(host: Host) -> None:
    # Nothing was ever put into the tables: iptables would make them.
    assert "Enabling gre with iptables" in host.ctl("enable-protocol")
    assert len(ours_in(BACKENDS[0], BACKENDS[0].saved(host))) == 2
    without = ("setpriv", "--bounding-set=-net_admin", host.culvert_ctl, "enable-protocol", "vxlan")
    for words in ((), ("--protocol=udp", "--dport=4789", "--compat=ovs-ctl")):
        status, output = host.run(*(without if not words else without[:-1]), *words)
        assert status == 0, output
        assert "cannot list" in output and "not adding a rule for udp to port 4789" in output
    status, output = host.run(*without[:-2], "check-protocol", "gre")
    assert status == 1 and "INPUT may drop gre" in output


# ---- As ovs-ctl, to the letter ------------------------------------------------------------------


def test_compat_does_what_ovs_ctl_does(host: Host) -> None:
    """The faults of the original among them: after each run the status and the tables are alike."""
    tools = host.folder / "bin"
    tools.mkdir()
    for name in ("iptables", "iptables-save", "iptables-restore"):
        (tools / name).symlink_to(IPTABLES_LEGACY)
    host.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    vxlan = "--protocol=udp --dport=4789"
    cases = [
        ("", ""),
        ("-A INPUT -p gre -j ACCEPT", ""),
        ("-A INPUT -p 47 -s 10.0.0.9 -j DROP", ""),
        (":user - [0:0]\n-A user -p gre -j ACCEPT\n-A INPUT -j user", ""),
        ("-A INPUT ! -p gre -j ACCEPT", ""),
        ("-A INPUT -p udp --dport 47890 -j ACCEPT", vxlan),
        ("-A INPUT -p udp --dport 4000:5000 -j ACCEPT", vxlan),
        ("-A INPUT -p udp -m multiport --dports 4789 -j ACCEPT", vxlan),
        ("-A INPUT -p tcp --dport 4789 -j ACCEPT\n-A INPUT -p udp ! --dport 4789 -j DROP", vxlan),
        ("-A INPUT -p udp --sport 77 --dport 4789 -j REJECT", f"{vxlan} --sport=7"),
        ("-A INPUT -p udp -m comment --comment dpt:4789 -j ACCEPT", vxlan),
        ("", "--protocol=47"),
        ("", "--dport=7"),
    ]
    for rules, words in cases:
        reset = f"iptables-restore <<'END'\n*filter\n:INPUT DROP [0:0]\n{rules}\nCOMMIT\nEND"
        results = []
        for command in (
            (OVS_CTL, *words.split(), "enable-protocol"),
            (host.culvert_ctl, "enable-protocol", "--compat=ovs-ctl", *words.split()),
        ):
            host.sh(reset)
            status, output = host.run(*command)
            said = re.search("already has a rule|unknown protocol|enabling", output, re.IGNORECASE)
            saved = host.sh("iptables-save -t filter | grep ^-A || true")
            results.append((status, said and said[0].lower(), saved))
        assert results[0] == results[1], (rules, words, output)


# ---- Others who write, and a kill ---------------------------------------------------------------


@pytest.mark.parametrize("backend", (BACKENDS[0], BACKENDS[2]), ids=lambda backend: backend.name)
def test_concurrent_writers_lose_no_rule(host: Host, backend: Backend) -> None:
    host.sh(backend.reset())
    ports = range(10001, 10001 + WRITERS)
    children = []
    for port in ports:
        other = (
            ("iptables-legacy", "-w", "-A", "INPUT", "-p", "tcp", "--dport", port, "-j", "ACCEPT")
            if backend.tool == "iptables"
            else ("nft", "add", "rule", "inet", "fw", "input", "tcp", "dport", port, "accept")
        )
        ours = ("--protocol=udp", f"--dport={port}", "--source=10.0.0.0/8")
        children.append(host.start(*other))
        children.append(host.start(host.culvert_ctl, "enable-protocol", *ours))
    try:
        for child in children:
            output, _ = child.communicate(timeout=DEADLINE_S)
            assert child.returncode == 0, (child.args, output)
    finally:
        for child in children:
            child.kill()
            child.wait()
    saved = backend.saved(host)
    for protocol in ("tcp", "udp"):
        found = re.findall(rf"{protocol} .*dport ({ports[0] // 100}\d\d) ", saved)
        if protocol == "udp" and backend.tool == "nftables":
            found = re.findall(r"th dport (\d+) .*culvert", saved) or found
        assert sorted(map(int, found)) == list(ports), saved


@pytest.mark.parametrize(
    ("backend", "calls"),
    ((BACKENDS[0], "setsockopt"), (BACKENDS[2], "sendmsg,sendto")),
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_kill_leaves_the_table_before_or_after(host: Host, backend: Backend, calls: str) -> None:
    """At each call that can change something, evenly thinned out where there are many."""
    host.sh(backend.reset())
    before = backend.saved(host)
    trace = host.folder / "trace"
    words = (host.culvert_ctl, "enable-protocol", "gre", "vxlan", "--source=10.0.0.0/8,fd00::/8")
    status, output = host.run("strace", "-f", "-o", trace, "-e", f"trace={calls}", *words)
    assert status == 0, output
    after = backend.saved(host)
    assert len(ours_in(backend, after)) == 4
    made = trace.read_text(encoding="utf-8")
    # strace counts the calls of each name apart.
    points = [
        (call, number)
        for call in calls.split(",")
        for number in range(1, len(re.findall(rf"\b{call}\(", made)) + 1)
    ]
    assert points
    step = max(1, -(-len(points) // KILLS_MAX))
    seen = set()
    for call, number in points[::step] + points[-2:]:
        host.sh(backend.reset())
        inject = f"inject={call}:signal=KILL:when={number}"
        status, output = host.run("strace", "-f", "-o", trace, "-e", f"trace={call}", "-e", inject, *words)
        assert status in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, number, status, output)
        left = backend.saved(host)
        if backend.name == "iptables-legacy":
            # A table of IPv4 and one of IPv6, of which the kernel changes one after the other.
            for half in range(2):
                halves = [halves_of(text)[half] for text in (left, before, after)]
                assert halves[0] in halves[1:], (call, number, left)
        else:
            assert left in (before, after), (call, number, left)
        seen.add(left)
    # Nothing is left locked.
    host.sh(backend.reset())
    host.ctl(*words[1:])
    assert backend.saved(host) == after
    assert before in seen


def halves_of(saved: str) -> tuple[str, str]:
    """The tables of IPv4 and of IPv6."""
    end = saved.index("COMMIT\n") + len("COMMIT\n")
    return saved[:end], saved[end:]
