# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages of xenserver/culvert-xen.spec: built from the tarball of `make dist`, twice, and installed, upgraded and
removed on hosts with their scriptlets run.

The build's objects come out of ccache, which the tree's own release build has filled; without it each of the two builds
compiles everything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from netlab.daemon import Build
from netlab.rpm_root import NETWORK_CONF, Rpmbuild, RpmRoot, query, rpmbuild, stock_packages

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = "xenserver/culvert-xen.spec"
NAMES = ("culvert", "culvert-ipsec", "culvert-modules-xen")
STATE = "/var/lib/culvert"
SYSCONFIG = "/etc/sysconfig/openvswitch"
BACKEND = "xe-switch-network-backend"
# Two cold builds on a slow machine.
BUILD_SECONDS = 3600

pytestmark = pytest.mark.timeout(BUILD_SECONDS)


def version_of(tree: pathlib.Path) -> str:
    found = re.search(r"^project\(culvert VERSION (\S+) ", (tree / "CMakeLists.txt").read_text(encoding="utf-8"), re.M)
    assert found
    return found[1]


def make_dist(tree: pathlib.Path) -> pathlib.Path:
    """`make dist` in a folder of sources; the tarball."""
    done = subprocess.run(["make", "--silent", "dist"], cwd=tree, capture_output=True, text=True, check=True)
    return tree / done.stdout.strip()


def unpack(tarball: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    with tarfile.open(tarball) as archive:
        archive.extractall(folder)
    return folder / tarball.name.removesuffix(".tar.gz")


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclasses.dataclass
class Versions:
    """The packages of this version, with the tests run, and of the next one, without."""

    tarball: pathlib.Path
    tree: pathlib.Path
    """The sources out of the tarball, those of the next version."""
    old: Rpmbuild
    new: Rpmbuild
    new_version: str


def build_packages(
    top: pathlib.Path, tarball: pathlib.Path, tree: pathlib.Path, *words: str, environment: dict[str, str] | None = None
) -> Rpmbuild:
    (top / "SOURCES").mkdir(parents=True, exist_ok=True)
    (top / "SOURCES" / tarball.name).write_bytes(tarball.read_bytes())
    return rpmbuild(top, tree / SPEC, "--with", "werror", *words, environment=environment)


def unity_of(build: Build) -> dict[str, str]:
    """The environment in which a build compiles as many sources of tests as one as this one does: else ccache knows none."""
    cache = (build.directory / "CMakeCache.txt").read_text(encoding="utf-8")
    found = re.search(r"^CULVERT_UNITY:\w+=(.*)$", cache, re.M)
    return {"CULVERT_UNITY": found[1] if found else ""}


@pytest.fixture(scope="module")
def versions(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versions]:
    folder = tmp_path_factory.mktemp("rpm")
    tarball = make_dist(ROOT)
    # Some of the unit tests are enough here: all of them run by themselves.
    old = build_packages(
        folder / "old", tarball, ROOT, "--define", "kenel_uname 4.19.0+1", "--with", "check",
        "--define", "culvert_ctest_options -R '^(tunnels|dataplane|guard)_test$'", environment=unity_of(build),
    )  # fmt: skip
    assert old.status == 0, old.output[-8000:]
    tree = unpack(tarball, folder)
    version = version_of(tree)
    new_version = f"{version}.1"
    for name in ("CMakeLists.txt", SPEC):
        path = tree / name
        path.write_text(path.read_text(encoding="utf-8").replace(version, new_version), encoding="utf-8")
    rotation = tree / "ctl" / "host" / "culvert.logrotate"
    rotation.write_text("# The next version.\n" + rotation.read_text(encoding="utf-8"), encoding="utf-8")
    new = build_packages(
        folder / "new", make_dist(tree), tree, "--without", "check", "--define", f"culvert_version {new_version}",
        "--define", "culvert_python /usr/bin/python2.7",
    )  # fmt: skip
    assert new.status == 0, new.output[-8000:]
    yield Versions(tarball, tree, old, new, new_version)
    # Half a gigabyte, which pytest would keep.
    shutil.rmtree(folder)


@pytest.fixture
def stock(tmp_path: pathlib.Path):
    """stock(VERSION, SYSV): packages of the host's own."""

    def make(version: str, sysv: bool) -> dict[str, pathlib.Path]:
        return stock_packages(tmp_path / f"stock-{version}", version, sysv)

    return make


def ours(built: Rpmbuild) -> list[pathlib.Path]:
    return [built.packages[name] for name in NAMES]


# ---- The tarball and the build ----


def test_the_tarball_is_reproducible_and_complete(versions: Versions, tmp_path: pathlib.Path) -> None:
    assert versions.tarball.name == f"culvert-{version_of(ROOT)}.tar.gz"
    first = digest(make_dist(ROOT))
    assert digest(make_dist(ROOT)) == first
    with tarfile.open(versions.tarball) as archive:
        names = sorted(member.name for member in archive if not member.isdir())
    top = versions.tarball.name.removesuffix(".tar.gz")
    for name in ("CMakeLists.txt", "CMakePresets.json", "ctl/culvertd.cpp", "tests/pytest.ini", ".ci/dist", SPEC):
        assert f"{top}/{name}" in names
    # Out of a tree that is no repository comes the same tarball again, and no build of it.
    tree = unpack(versions.tarball, tmp_path)
    (tree / "build").mkdir()
    (tree / "build" / "object.o").touch()
    again = make_dist(tree)
    with tarfile.open(again) as archive:
        assert sorted(member.name for member in archive if not member.isdir()) == names
    first = digest(again)
    assert digest(make_dist(tree)) == first


def test_the_spec_has_the_version_of_the_sources() -> None:
    done = subprocess.run(
        ["rpmspec", "-q", "--srpm", "--queryformat", "%{VERSION}", ROOT / SPEC],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == version_of(ROOT)


def test_unit_tests_run_unless_they_are_left_out(versions: Versions) -> None:
    assert re.search(r"^100% tests passed, 0 tests failed out of [1-9]", versions.old.output, re.M)
    assert "tests passed" not in versions.new.output
    assert "warning: kenel_uname is a misspelling of kernel_uname" in versions.old.output
    assert "kenel_uname" not in versions.new.output


def test_a_failed_unit_test_fails_the_build_with_its_log(versions: Versions) -> None:
    vector = versions.old.build / "tests" / "vectors" / "vxlan_ipv4.hex"
    vector.rename(f"{vector}.away")
    try:
        again = rpmbuild(
            versions.old.top, ROOT / SPEC, "--short-circuit", "--define", "culvert_ctest_options -R ^tunnels_test$",
            stage="-bi",
        )  # fmt: skip
    finally:
        pathlib.Path(f"{vector}.away").rename(vector)
    assert again.status != 0
    assert f"cannot open the test vector {vector}" in again.output
    assert "tunnels_test (Failed)" in again.output


def test_packages_need_what_their_parameters_say(versions: Versions) -> None:
    needs = {name: query(path, "--requires") for name, path in versions.old.packages.items()}
    assert "openvswitch" in needs["culvert"]
    assert "strongswan >= 5.9" in needs["culvert-ipsec"]
    assert "kernel-uname-r = 4.19.0+1" in needs["culvert-modules-xen"]
    for name in ("culvert-ipsec", "culvert-modules-xen"):
        assert f"culvert = {version_of(ROOT)}-1" in needs[name]
    assert "/usr/bin/python3" in needs["culvert"]
    # With no kernel named, any will do; and the second build is for a host whose Python is older.
    needs = {name: query(path, "--requires") for name, path in versions.new.packages.items()}
    assert not [need for need in needs["culvert-modules-xen"] if "kernel" in need]
    assert [need for need in needs["culvert"] if "python" in need] == ["/usr/bin/python2.7"]


@pytest.mark.parametrize(
    ("defines", "package", "need"),
    [
        ({"kernel_uname": "4.19.0+1"}, "culvert-modules-xen", "kernel-uname-r = 4.19.0+1"),
        ({"kernel_uname": "5.1", "kenel_uname": "4.19"}, "culvert-modules-xen", "kernel-uname-r = 5.1"),
        ({"kernel_version": "2.6.32", "kernel_flavor": "kdump"}, "culvert-modules-kdump", "kernel = 2.6.32"),
        ({"kernel_name": "kernel-lts", "kernel_version": "5.4"}, "culvert-modules-xen", "kernel-lts = 5.4"),
        ({"kernel_name": "kernel-lts"}, "culvert-modules-xen", "kernel-lts"),
    ],
)
def test_kernel_parameters(defines: dict[str, str], package: str, need: str) -> None:
    words = [word for name, value in defines.items() for word in ("--define", f"{name} {value}")]
    form = "[%{=NAME} %{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\n]"
    done = subprocess.run(
        ["rpmspec", "-q", "--queryformat", form, *words, ROOT / SPEC], capture_output=True, text=True, check=True
    )
    needs = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [line for line in needs if line.startswith(package) and "kernel" in line] == [f"{package} {need}"]


# ---- What is in them ----

EXPECTED = {
    "culvert": """
        -rw-r--r-- /etc/logrotate.d/culvert
        -rwxr-xr-x /usr/bin/culvert-ctl
        drwxr-xr-x /usr/lib/culvert
        -rwxr-xr-x /usr/lib/culvert/ovs-alternative
        lrwxrwxrwx /usr/lib/culvert/ovs-vswitchd
        drwxr-xr-x /usr/lib/systemd/system/openvswitch.service.d
        -rw-r--r-- /usr/lib/systemd/system/openvswitch.service.d/culvert.conf
        drwxr-xr-x /usr/libexec/culvert
        -rwxr-xr-x /usr/libexec/culvert/culvert-boot
        -rw-r--r-- /usr/libexec/culvert/culvert-host.sh
        -rwxr-xr-x /usr/libexec/culvert/culvert-setup
        -rwxr-xr-x /usr/libexec/culvert/culvert-slot
        -rwxr-xr-x /usr/sbin/culvertd
        -rw-r--r-- /usr/share/bash-completion/completions/culvert-ctl
        drwxr-xr-x /usr/share/culvert
        drwxr-xr-x /usr/share/culvert/xenserver
        drwxr-xr-x /usr/share/culvert/xenserver/init.d
        -rwxr-xr-x /usr/share/culvert/xenserver/init.d/openvswitch
        -rwxr-xr-x /usr/share/culvert/xenserver/init.d/openvswitch-xapi-update
        -rwxr-xr-x /usr/share/culvert/xenserver/openvswitch-cfg-update
        -rw-r--r-- /usr/share/culvert/xenserver/sysconfig.template
        -rw-r--r-- /usr/share/man/man5/culvert.toml.5
        -rw-r--r-- /usr/share/man/man8/culvert-ctl.8
        -rw-r--r-- /usr/share/man/man8/culvertd.8
        drwx------ /var/lib/culvert
        drwxr-xr-x /var/log/culvert
    """,
    "culvert-ipsec": """
        -rw-r--r-- /usr/lib/systemd/system/culvert-ipsec.service
    """,
    "culvert-modules-xen": """
        -rwxr-xr-x /etc/sysconfig/modules/culvert.modules
        drwxr-xr-x /usr/lib/systemd/system/openvswitch.service.d
        -rw-r--r-- /usr/lib/systemd/system/openvswitch.service.d/culvert-modules.conf
    """,
}


@pytest.mark.parametrize("name", NAMES)
def test_files_of_a_package(versions: Versions, name: str) -> None:
    lines = query(versions.new.packages[name], "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]")
    found = [line.split(maxsplit=3) for line in lines]
    assert {(user, group) for _, user, group, _ in found} == {("root", "root")}
    # Documents, and links by the digests of programs.
    apart = ("/usr/share/doc/", "/usr/lib/.build-id")
    assert [f"{mode} {path}" for mode, _, _, path in found if not path.startswith(apart)] == [
        line.strip() for line in EXPECTED[name].strip().splitlines()
    ]
    if name == "culvert":
        documents = f"/usr/share/doc/culvert-{versions.new_version}"
        for document in ("README.md", "CHANGELOG.md", "docs/encryption.md", "culvert.toml.example"):
            assert ["-rw-r--r--", "root", "root", f"{documents}/{document}"] in found


def test_rpmlint_finds_nothing(versions: Versions) -> None:
    done = subprocess.run(
        ["rpmlint", "--config", ROOT / "xenserver" / "rpmlint.toml", *versions.old.packages.values(), ROOT / SPEC],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "4 packages and 1 specfiles checked; 0 errors, 0 warnings" in done.stdout, done.stdout


def test_debug_information_has_lines(versions: Versions, tmp_path: pathlib.Path) -> None:
    for name in ("culvert", "culvert-debuginfo"):
        data = subprocess.run(["rpm2cpio", versions.old.packages[name]], capture_output=True, check=True).stdout
        subprocess.run(["cpio", "-idm", "--quiet"], input=data, cwd=tmp_path, check=True)
    program = tmp_path / "usr/sbin/culvertd"
    sections = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
    assert ".debug_line" not in sections and ".symtab" not in sections and ".gnu_debuglink" in sections
    (debug,) = (tmp_path / "usr/lib/debug/usr/sbin").glob("culvertd*.debug")
    symbols = subprocess.run(["nm", debug], capture_output=True, text=True, check=True).stdout
    address = re.search(r"^(\S+) T main$", symbols, re.M)
    assert address
    line = subprocess.run(["addr2line", "-e", debug, address[1]], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"/usr/src/debug/culvert\S*/ctl/culvertd\.cpp:[1-9]\d*\n", line)


def test_the_programs_run_on_the_host(versions: Versions, tmp_path: pathlib.Path) -> None:
    root = RpmRoot(tmp_path / "root", sysv=False, backend="openvswitch")
    root.rpm("-i", "--nodeps", versions.new.packages["culvert"])
    for program, line in (
        ("/usr/sbin/culvertd --version", f"culvertd {versions.new_version}\n"),
        ("/usr/sbin/ovs-vswitchd --version", f"\nCulvert {versions.new_version}\n"),
        ("/usr/bin/culvert-ctl version", f"culvert-ctl {versions.new_version}"),
    ):
        root.add_libraries("/usr/bin/culvert-ctl" if "ctl" in program else "/usr/sbin/culvertd")
        done = root.run(*program.split())
        assert done.returncode == 0, done.stderr
        assert line in done.stdout


# ---- On a host ----

PLUGIN = "/etc/xapi.d/plugins/openvswitch-cfg-update"
CONFIG_PLUGIN = "/etc/xapi.d/plugins/openvswitch-config-update"
SHARE = "/usr/share/culvert/xenserver"


def links(root: RpmRoot) -> dict[str, str]:
    """Which places of the host are ours, and what stands there."""
    targets = {path: str(root.at(path).readlink()) for path in root.files() if root.at(path).is_symlink()}
    return {
        path: target for path, target in targets.items() if "culvert" in target and not path.startswith("/usr/lib/")
    }


def contents(root: RpmRoot) -> dict[str, str]:
    """Every file by its content, or a link by its target."""
    return {
        path: f"-> {root.at(path).readlink()}" if root.at(path).is_symlink() else digest(root.at(path))
        for path in root.files()
    }


SYSTEMD_LINKS = {
    "/usr/sbin/ovs-vswitchd": "/usr/lib/culvert/ovs-vswitchd",
    PLUGIN: f"{SHARE}/openvswitch-cfg-update",
    CONFIG_PLUGIN: f"{SHARE}/openvswitch-cfg-update",
}
SYSV_LINKS = {
    "/usr/sbin/ovs-vswitchd": "/usr/lib/culvert/ovs-vswitchd",
    "/etc/init.d/openvswitch": f"{SHARE}/init.d/openvswitch",
    "/etc/init.d/openvswitch-xapi-update": f"{SHARE}/init.d/openvswitch-xapi-update",
    PLUGIN: f"{SHARE}/openvswitch-cfg-update",
}


def test_life_on_a_host_with_systemd(versions: Versions, stock, tmp_path: pathlib.Path) -> None:
    """Installed on a host with Linux bridges, upgraded (the host's packages as well), removed."""
    root = RpmRoot(tmp_path / "root", sysv=False, backend="bridge")
    root.rpm("-i", "--nodeps", *stock("1", False).values())
    before = contents(root)
    root.take_calls()

    text = root.rpm("-i", "--nodeps", *ours(versions.old))
    assert links(root) == SYSTEMD_LINKS
    assert root.read(f"{STATE}/saved/usr/sbin/ovs-vswitchd").endswith('echo "stock ovs-vswitchd 1"\n')
    assert root.at(f"{STATE}/saved/usr/sbin/ovs-vswitchd").stat().st_mode & 0o777 == 0o755
    assert root.read(f"{STATE}/saved{CONFIG_PLUGIN}").endswith('echo "stock openvswitch-config-update 1"\n')
    assert root.read(NETWORK_CONF) == "openvswitch\n"
    assert root.read(f"{STATE}/network-backend") == "bridge\n"
    assert 'the network backend is openvswitch now (it was "bridge")' in text
    assert "culvertd runs in the place of ovs-vswitchd" in text
    calls = root.take_calls()
    assert calls.count(f"{BACKEND} openvswitch") == 1
    assert "systemctl daemon-reload" in calls
    assert "systemctl enable culvert-ipsec.service" in calls
    # What the host had set is kept, and what it lacked is there in comments only.
    merged = root.read(SYSCONFIG)
    assert merged.startswith('# The stock file.\nOVS_CTL_OPTS="--no-mlockall"\n')
    assert re.findall(r"^[A-Z_]+=", merged, re.M) == ["OVS_CTL_OPTS="]
    assert re.findall(r"^# ([A-Z_]+)=", merged, re.M) == [
        "FORCE_COREFILES", "OVSDB_SERVER_PRIORITY", "VSWITCHD_PRIORITY", "VSWITCHD_MLOCKALL", "CULVERT_PROTOCOLS",
    ]  # fmt: skip
    assert root.rpm("-V", "--nodeps", *NAMES) == ""
    # The host's package says what became of its files.
    assert "/usr/sbin/ovs-vswitchd" in root.rpm("-V", "--nodeps", "openvswitch", fails=True)

    # The host's own packages are upgraded: the slot is not lost, and the newer files are kept.
    root.rpm("-U", "--nodeps", *stock("2", False).values())
    assert links(root) == SYSTEMD_LINKS
    for path in ("/usr/sbin/ovs-vswitchd", CONFIG_PLUGIN):
        assert root.read(f"{STATE}/saved{path}").endswith(f'echo "stock {pathlib.Path(path).name} 2"\n')
    assert root.read(SYSCONFIG) == merged

    # So are ours: no more happens to the host than that.
    root.take_calls()
    text = root.rpm("-U", "--nodeps", *ours(versions.new))
    assert links(root) == SYSTEMD_LINKS
    assert root.read(NETWORK_CONF) == "openvswitch\n"
    assert root.read(f"{STATE}/network-backend") == "bridge\n"
    assert root.read(SYSCONFIG) == merged
    assert {call for call in root.take_calls()} == {"systemctl daemon-reload"}
    assert "the new culvertd runs from the next start" in text
    assert root.rpm("-V", "--nodeps", *NAMES) == ""
    assert root.rpm("-q", "culvert") == f"culvert-{versions.new_version}-1.x86_64\n"

    text = root.rpm("-e", *NAMES)
    calls = root.take_calls()
    assert calls.count(f"{BACKEND} bridge") == 1
    assert calls.count("systemctl disable culvert-ipsec.service") == 1
    assert calls.count("systemctl stop culvert-ipsec.service") == 1
    # Units are read again when the drop-ins are gone.
    assert calls[-1] == "systemctl daemon-reload"
    assert "the network backend is bridge again" in text
    # The host has all that it had, of the newer packages, and nothing more.
    after = contents(root)
    assert set(after) == set(before)
    assert {path for path, content in after.items() if content != before[path]} == {
        "/usr/sbin/ovs-vswitchd", CONFIG_PLUGIN, "/usr/lib/systemd/system/openvswitch.service",
    }  # fmt: skip
    assert root.rpm("-V", "--nodeps", "--nomtime", "openvswitch", "xapi-core") == ""
    assert not root.at(STATE).exists()


def test_life_on_a_host_with_sysv_scripts(versions: Versions, stock, tmp_path: pathlib.Path) -> None:
    """Installed on a host that uses Open vSwitch, whose administrator changes things in between."""
    root = RpmRoot(tmp_path / "root", sysv=True, backend="vswitch")
    root.rpm("-i", "--nodeps", *stock("1", True).values())
    before = contents(root)
    root.take_calls()

    root.rpm("-i", "--nodeps", *ours(versions.old))
    assert links(root) == SYSV_LINKS
    assert root.take_calls() == ["chkconfig --add openvswitch", "chkconfig --add openvswitch-xapi-update"]
    assert not root.at(f"{STATE}/network-backend").exists()
    # There was no such file: it is the template.
    assert root.read(SYSCONFIG) == root.read(f"{SHARE}/sysconfig.template")

    # What was changed meanwhile stays, and what it means is said.
    root.write(SYSCONFIG, "VSWITCHD_PRIORITY=-5\n")
    root.write(NETWORK_CONF, "bridge\n")
    root.write("/etc/logrotate.d/culvert", "# nothing\n")
    text = root.rpm("-U", "--nodeps", *ours(versions.new), *stock("2", True).values())
    assert links(root) == SYSV_LINKS
    assert 'the network backend of this host is "bridge", so Culvert is not in use' in text
    assert '"xe-switch-network-backend vswitch" and a reboot' in text
    assert f"{BACKEND} vswitch" not in root.take_calls()
    assert root.read(NETWORK_CONF) == "bridge\n"
    changed = root.read(SYSCONFIG)
    assert changed.startswith("VSWITCHD_PRIORITY=-5\n") and changed.count("VSWITCHD_PRIORITY=") == 1
    assert root.read(f"{STATE}/saved/etc/init.d/openvswitch").endswith('echo "stock openvswitch 2"\n')

    # The new version brings another.
    assert root.read("/etc/logrotate.d/culvert") == "# nothing\n"
    assert root.read("/etc/logrotate.d/culvert.rpmnew").startswith("# The next version.\n")

    text = root.rpm("-e", *NAMES)
    assert f"{SYSCONFIG} was changed since and stays as it is" in text
    assert root.take_calls() == ["chkconfig --add openvswitch", "chkconfig --add openvswitch-xapi-update"]
    assert root.read(NETWORK_CONF) == "bridge\n"
    after = contents(root)
    assert set(after) == {*before, SYSCONFIG, "/etc/logrotate.d/culvert.rpmnew", "/etc/logrotate.d/culvert.rpmsave"}
    assert root.read("/etc/logrotate.d/culvert.rpmsave") == "# nothing\n"
    assert root.read(SYSCONFIG) == changed
    assert root.rpm("-V", "--nodeps", "openvswitch") == ""
    assert not root.at(STATE).exists()


def test_a_host_whose_backend_cannot_be_switched(versions: Versions, stock, tmp_path: pathlib.Path) -> None:
    """The package is installed all the same, and removing it switches nothing back."""
    root = RpmRoot(tmp_path / "root", sysv=True, backend="bridge")
    root.rpm("-i", "--nodeps", *stock("1", True).values())
    root.write("/etc/xensource/broken", "")
    text = root.rpm("-i", "--nodeps", versions.old.packages["culvert"])
    assert 'xe-switch-network-backend vswitch failed: the backend is still "bridge"' in text
    root.at("/etc/xensource/broken").unlink()
    root.take_calls()
    root.rpm("-e", "culvert")
    assert not [call for call in root.take_calls() if call.startswith(BACKEND)]
    assert links(root) == {}


def test_the_administrator_s_backend_is_left(versions: Versions, stock, tmp_path: pathlib.Path) -> None:
    """Who went back to bridges and forth again meant it: what the package finds is what counts."""
    root = RpmRoot(tmp_path / "root", sysv=False, backend="bridge")
    root.rpm("-i", "--nodeps", *stock("1", False).values(), versions.old.packages["culvert"])
    root.write(NETWORK_CONF, "bridge\n")
    root.take_calls()
    root.rpm("-e", "culvert")
    assert not [call for call in root.take_calls() if call.startswith(BACKEND)]


def test_the_host_s_package_goes_first(versions: Versions, stock, tmp_path: pathlib.Path) -> None:
    """Its files go with it and do not come back with the removal of ours; its return gives us the slot again."""
    root = RpmRoot(tmp_path / "root", sysv=True, backend="vswitch")
    packages = stock("1", True)
    root.rpm("-i", "--nodeps", *packages.values(), versions.old.packages["culvert"])
    root.rpm("-e", "--nodeps", "openvswitch")
    assert links(root) == {}
    assert not root.at("/usr/sbin/ovs-vswitchd").exists()
    root.rpm("-i", "--nodeps", *packages.values())
    assert links(root) == SYSV_LINKS
    # Together, in one transaction.
    root.rpm("-e", "culvert", "openvswitch")
    assert root.files() == {NETWORK_CONF}
