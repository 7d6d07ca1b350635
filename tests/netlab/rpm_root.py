# SPDX-License-Identifier: GPL-2.0-or-later
"""RPM packages as they are built, and a scratch root in which they are installed with their scriptlets run.

A scratch root has busybox for the programs that scriptlets call, and instead of the host's own tools (systemctl,
chkconfig, xe-switch-network-backend) scripts that write down how they were called. It has a database of rpm of its own;
nothing of the machine's is read or changed.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess

BUSYBOX = pathlib.Path("/usr/bin/busybox")
CALLS = "/var/log/calls"
NETWORK_CONF = "/etc/xensource/network.conf"

# A tool of the host that only writes down how it was called.
_RECORDER = f"""#!/bin/sh
echo "${{0##*/}} $*" >>{CALLS}
"""

# The host's tool writes the backend's name, and what makes it fail is this file.
_SWITCH_BACKEND = f"""#!/bin/sh
echo "${{0##*/}} $*" >>{CALLS}
[ ! -e /etc/xensource/broken ] || exit 1
echo "$1" >{NETWORK_CONF}
"""

# The host's own packages, as far as ours meets them: the files that stand in the places of the slot.
_STOCK_SPEC = """
Name: openvswitch
Version: %{stock_version}
Release: 1
Summary: The host's Open vSwitch
License: Apache-2.0
BuildArch: noarch
%description
Stand-in.
%package -n xapi-core
Summary: The host's XAPI
%description -n xapi-core
Stand-in.
%install
put() {
    install -D -m "$1" /dev/null "%{buildroot}$2"
    printf '#!/bin/sh\\n# chkconfig: 2345 09 91\\necho "stock %s %{stock_version}"\\n' "${2##*/}" >"%{buildroot}$2"
}
put 755 /usr/sbin/ovs-vswitchd
put 755 /etc/xapi.d/plugins/openvswitch-config-update
put 755 /etc/xapi.d/plugins/openvswitch-cfg-update
put 755 /etc/init.d/openvswitch
put 755 /etc/init.d/openvswitch-xapi-update
put 644 /usr/lib/systemd/system/openvswitch.service
install -D -m 644 /dev/null %{buildroot}/etc/sysconfig/openvswitch
printf '# The stock file.\\nOVS_CTL_OPTS="--no-mlockall"\\n' >%{buildroot}/etc/sysconfig/openvswitch
%post
echo "stock post $1" >>/var/log/calls
%files
/usr/sbin/ovs-vswitchd
%if 0%{?sysv:1}
/etc/init.d/openvswitch
/etc/init.d/openvswitch-xapi-update
/etc/xapi.d/plugins/openvswitch-cfg-update
%exclude /usr/lib/systemd/system/openvswitch.service
%exclude /etc/sysconfig/openvswitch
%exclude /etc/xapi.d/plugins/openvswitch-config-update
%else
/usr/lib/systemd/system/openvswitch.service
%config(noreplace) /etc/sysconfig/openvswitch
%exclude /etc/init.d
%exclude /etc/xapi.d/plugins/openvswitch-cfg-update
%exclude /etc/xapi.d/plugins/openvswitch-config-update
%files -n xapi-core
/etc/xapi.d/plugins/openvswitch-config-update
%endif
"""


@dataclasses.dataclass
class Rpmbuild:
    """One run of rpmbuild: its packages by name, and what it printed."""

    top: pathlib.Path
    status: int
    output: str

    @property
    def build(self) -> pathlib.Path:
        """The unpacked sources with what was built of them."""
        (folder,) = (self.top / "BUILD").iterdir()
        return folder

    @property
    def packages(self) -> dict[str, pathlib.Path]:
        return {path.name.rsplit("-", 2)[0]: path for path in sorted(self.top.glob("RPMS/*/*.rpm"))}


def ccache_folder() -> str:
    """The machine's own cache; the HOME of a build has none."""
    done = subprocess.run(["ccache", "--get-config", "cache_dir"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def rpmbuild(
    top: pathlib.Path, spec: pathlib.Path, *words: str, stage: str = "-bb", environment: dict[str, str] | None = None
) -> Rpmbuild:
    """Builds in the folder `top`, and leaves there what was built; payloads are packed fast."""
    top.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["rpmbuild", stage, "--nodeps", "--noclean", "--define", f"_topdir {top}", "--define", f"_tmppath {top}/tmp",
         "--define", "_binary_payload w1.gzdio", *words, spec],
        env=os.environ | {"CCACHE_DIR": ccache_folder(), "HOME": str(top)} | (environment or {}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return Rpmbuild(top, done.returncode, done.stdout)


def stock_packages(top: pathlib.Path, version: str, sysv: bool) -> dict[str, pathlib.Path]:
    """Packages of the host's own: `openvswitch`, and `xapi-core` where systemd starts it."""
    top.mkdir(parents=True, exist_ok=True)
    spec = top / "stock.spec"
    spec.write_text(_STOCK_SPEC.lstrip(), encoding="utf-8")
    words = ["--define", f"stock_version {version}"] + (["--define", "sysv 1"] if sysv else [])
    built = rpmbuild(top, spec, *words)
    assert built.status == 0, built.output
    return built.packages


def query(package: pathlib.Path, form: str) -> list[str]:
    """The lines of `rpm -qp` with a format or an option."""
    words = [form] if form.startswith("-") else ["--queryformat", form]
    done = subprocess.run(["rpm", "-qp", *words, package], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class RpmRoot:
    """A host to install packages on, in a folder."""

    def __init__(self, path: pathlib.Path, sysv: bool, backend: str) -> None:
        """`sysv`: a host whose services are SysV scripts, otherwise systemd's units."""
        self.path = path
        for folder in (
            "bin", "dev", "etc/xensource", "etc/xapi.d/plugins", "opt/xensource/bin", "sbin", "tmp",
            "usr/bin", "usr/sbin", "var/lib", "var/log",
        ):  # fmt: skip
            self.at(f"/{folder}").mkdir(parents=True)
        shutil.copy(BUSYBOX, self.at("/bin/busybox"))
        applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in applets:
            if applet not in ("busybox", "rpm"):
                self.at(f"/bin/{applet}").symlink_to("busybox")
        # /dev/null is a file here: scriptlets only write to it.
        self.write("/dev/null", "")
        self.write(CALLS, "")
        self.write(NETWORK_CONF, f"{backend}\n")
        self.program("/sbin/chkconfig" if sysv else "/usr/bin/systemctl", _RECORDER)
        self.program("/opt/xensource/bin/xe-switch-network-backend", _SWITCH_BACKEND)

    def at(self, path: str) -> pathlib.Path:
        """Where the file of the host is."""
        return self.path / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        return self.at(path).read_text(encoding="utf-8")

    def program(self, path: str, text: str) -> None:
        self.write(path, text)
        self.at(path).chmod(0o755)

    def take_calls(self) -> list[str]:
        """How the host's tools were called since the last time."""
        calls = self.read(CALLS).splitlines()
        self.write(CALLS, "")
        return calls

    def rpm(self, *words: object, fails: bool = False) -> str:
        """rpm in this root, whose output it returns; of libraries and such the root has no packages."""
        done = subprocess.run(
            ["rpm", "--root", str(self.path), "--dbpath", "/var/lib/rpm", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout
        # Debian's rpm says of itself that alien would be better.
        return re.sub(r"^rpm: .*\n", "", done.stdout, flags=re.MULTILINE)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in this root."""
        return subprocess.run(
            ["/usr/sbin/chroot", self.path, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False,
        )  # fmt: skip

    def add_libraries(self, program: str) -> None:
        """The machine's shared libraries that a program of this root needs."""
        done = subprocess.run(["ldd", self.at(program)], capture_output=True, text=True, check=True)
        for name in re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout):
            self.at(name).parent.mkdir(parents=True, exist_ok=True)
            if not self.at(name).exists():
                shutil.copy(name, self.at(name))

    def files(self) -> set[str]:
        """Every file and link below /etc, /usr and /var except those of the root itself."""
        found = set()
        for top in ("etc", "usr", "var"):
            for path in self.at(f"/{top}").rglob("*"):
                if path.is_symlink() or not path.is_dir():
                    found.add(f"/{path.relative_to(self.path)}")
        return {path for path in found if not path.startswith(("/var/lib/rpm/", CALLS))}
