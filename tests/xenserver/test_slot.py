# SPDX-License-Identifier: GPL-2.0-or-later
"""culvert-slot and culvert-setup on hosts of both generations, without a package manager."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess

import pytest

from netlab.rpm_root import NETWORK_CONF, RpmRoot

XENSERVER = pathlib.Path(__file__).resolve().parents[2] / "xenserver"
LIBEXEC = "/usr/libexec/culvert"
SHARE = "/usr/share/culvert/xenserver"
SAVED = "/var/lib/culvert/saved"
SYSCONFIG = "/etc/sysconfig/openvswitch"
PROGRAM = "/usr/sbin/ovs-vswitchd"
PLUGIN = "/etc/xapi.d/plugins/openvswitch-cfg-update"
CONFIG_PLUGIN = "/etc/xapi.d/plugins/openvswitch-config-update"
SCRIPTS = ("/etc/init.d/openvswitch", "/etc/init.d/openvswitch-xapi-update")


def installed(path: pathlib.Path, sysv: bool, backend: str = "vswitch") -> RpmRoot:
    """A host with our files, none of which is in its place yet, and the host's own."""
    root = RpmRoot(path, sysv, backend)
    root.at(LIBEXEC).mkdir(parents=True)
    for name in ("culvert-host.sh", "culvert-slot", "culvert-setup"):
        shutil.copy(XENSERVER / name, root.at(LIBEXEC))
    ours = ["/usr/lib/culvert/ovs-vswitchd", f"{SHARE}/openvswitch-cfg-update"]
    ours += [f"{SHARE}/init.d/{pathlib.Path(script).name}" for script in SCRIPTS]
    for name in ours:
        root.program(name, "ours\n")
    shutil.copy(XENSERVER / "sysconfig.template", root.at(SHARE))
    root.program(PROGRAM, "stock\n")
    if sysv:
        for script in SCRIPTS:
            root.program(script, "stock\n")
        root.program(PLUGIN, "stock\n")
    else:
        root.write("/usr/lib/systemd/system/openvswitch.service", "")
        root.program(CONFIG_PLUGIN, "stock\n")
    return root


def slot(root: RpmRoot, command: str, status: int = 0) -> str:
    done = root.run(f"{LIBEXEC}/culvert-slot", command)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def set_up(root: RpmRoot, command: str) -> str:
    done = root.run(f"{LIBEXEC}/culvert-setup", command)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def with_a_shell_that_calls_programs(root: RpmRoot) -> None:
    """Busybox's has mkdir and cp in itself."""
    root.at("/bin/sh").unlink()
    shutil.copy("/bin/dash", root.at("/bin/sh"))
    root.add_libraries("/bin/sh")


def everything(root: RpmRoot) -> dict[str, tuple[str, int]]:
    """What is where: contents and links, and modes."""
    found = {}
    for path in root.files():
        file = root.at(path)
        text = f"-> {file.readlink()}" if file.is_symlink() else file.read_bytes().decode("latin-1")
        found[path] = (text, file.lstat().st_mode)
    return found


@pytest.mark.parametrize(
    ("sysv", "places"), [(True, {PROGRAM, PLUGIN, *SCRIPTS}), (False, {PROGRAM, PLUGIN, CONFIG_PLUGIN})]
)
def test_take_and_give(tmp_path: pathlib.Path, sysv: bool, places: set[str]) -> None:
    root = installed(tmp_path / "root", sysv)
    root.at(PROGRAM).chmod(0o751)
    before = everything(root)
    status = slot(root, "status", status=1)
    assert f"{PROGRAM}: the host's\n" in status
    # The host has no such plugin, and takes ours all the same.
    assert sysv or f"{PLUGIN}: nobody's\n" in status

    slot(root, "take")
    taken = everything(root)
    assert {path for path in taken if root.at(path).is_symlink() and path.startswith(("/etc/", "/usr/sbin/"))} == places
    assert taken[PROGRAM][0] == "-> /usr/lib/culvert/ovs-vswitchd"
    assert taken[f"{SAVED}{PROGRAM}"] == before[PROGRAM]
    assert {path.removeprefix(SAVED) for path in taken if path.startswith(SAVED)} == places & set(before)
    assert re.fullmatch(r"(\S+: (Culvert's \(\S+\)|not needed on this host)\n){5}", slot(root, "status"))
    slot(root, "take")
    assert everything(root) == taken

    slot(root, "give")
    assert everything(root) == before
    assert not root.at(SAVED).exists()
    slot(root, "give")
    assert everything(root) == before


def test_a_newer_file_of_the_host_is_kept_over_the_older(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    slot(root, "take")
    root.at(PROGRAM).unlink()
    root.program(PROGRAM, "newer\n")
    slot(root, "take")
    assert root.at(PROGRAM).is_symlink()
    assert root.read(f"{SAVED}{PROGRAM}") == "newer\n"
    # Put back by the host's package meanwhile: that stays, and the older copy goes.
    root.at(PROGRAM).unlink()
    root.program(PROGRAM, "newest\n")
    slot(root, "give")
    assert root.read(PROGRAM) == "newest\n"
    assert not root.at(SAVED).exists()


def test_a_link_of_the_host_is_kept_as_one(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    root.at(PROGRAM).unlink()
    root.at(PROGRAM).symlink_to("/etc/alternatives/ovs-vswitchd")
    slot(root, "take")
    assert str(root.at(f"{SAVED}{PROGRAM}").readlink()) == "/etc/alternatives/ovs-vswitchd"
    slot(root, "give")
    assert str(root.at(PROGRAM).readlink()) == "/etc/alternatives/ovs-vswitchd"


def test_what_an_interrupted_run_left_is_not_written_through(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    before = everything(root)
    slot(root, "take")
    # Cut off between a link and its renaming, and between a copy of a link and its renaming.
    root.at(f"{PROGRAM}.culvert").symlink_to("/usr/lib/culvert/ovs-vswitchd")
    slot(root, "give")
    root.at(f"{SAVED}{PROGRAM}.new").parent.mkdir(parents=True)
    root.at(f"{SAVED}{PROGRAM}.new").symlink_to(PLUGIN)
    slot(root, "take")
    assert root.read(f"{SAVED}{PROGRAM}") == "stock\n" and root.read("/usr/lib/culvert/ovs-vswitchd") == "ours\n"
    slot(root, "give")
    assert everything(root) == before


@pytest.mark.parametrize("command", ["take", "give"])
def test_no_place_is_empty_in_between(tmp_path: pathlib.Path, command: str) -> None:
    """Each place changes by one rename: nothing is removed from it, or moved away."""
    root = installed(tmp_path / "root", sysv=True)
    if command == "give":
        slot(root, "take")
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-o", trace, "-e", "trace=unlink,unlinkat,rename,renameat,renameat2",
         "chroot", root.path, f"{LIBEXEC}/culvert-slot", command], check=True,
    )  # fmt: skip
    calls = [line for line in trace.read_text(encoding="utf-8").splitlines() if line.endswith("= 0")]
    for place in (PROGRAM, PLUGIN, *SCRIPTS):
        touching = [line for line in calls if f'"{place}"' in line]
        assert len(touching) == 1, touching
        assert re.search(rf'rename\w*\(.*"{place}\.culvert".*"{place}"', touching[0]), touching


def test_what_was_killed_on_its_way_harms_nothing(tmp_path: pathlib.Path) -> None:
    """Between any two steps: a link that did not get to its place, a copy that was not finished."""
    root = installed(tmp_path / "root", sysv=True)
    before = everything(root)
    root.write(f"{SAVED}{PROGRAM}.new", "half")
    root.at(f"{SAVED}{PLUGIN}.new").parent.mkdir(parents=True)
    root.at(f"{SAVED}{PLUGIN}.new").symlink_to(f"{SHARE}/openvswitch-cfg-update")
    # Kept already, but the link is not in its place yet: the same again.
    root.write(f"{SAVED}{SCRIPTS[0]}", "")
    root.at(f"{SAVED}{SCRIPTS[0]}").unlink()
    root.at(f"{SAVED}{SCRIPTS[0]}").hardlink_to(root.at(SCRIPTS[0]))
    slot(root, "take")
    for place in (PROGRAM, PLUGIN, *SCRIPTS):
        assert root.read(f"{SAVED}{place}") == "stock\n"
        root.at(f"{place}.culvert").symlink_to(root.at(place).readlink())
    root.write(f"{SAVED}{PROGRAM}.new", "half")
    slot(root, "give")
    assert everything(root) == before
    assert not root.at(SAVED).exists()
    # Killed before anything was in its place.
    root.write(f"{SAVED}{PROGRAM}.new", "half")
    root.at(f"{SCRIPTS[0]}.culvert").symlink_to(f"{SHARE}/init.d/openvswitch")
    slot(root, "give")
    assert everything(root) == before


def test_a_link_of_the_administrator_s_to_ours_is_not_the_host_s(tmp_path: pathlib.Path) -> None:
    """It must not be kept over the host's file, which would be lost."""
    root = installed(tmp_path / "root", sysv=True)
    before = everything(root)
    slot(root, "take")
    root.at(PROGRAM).unlink()
    root.at(PROGRAM).symlink_to("../lib/culvert/ovs-vswitchd")
    assert f"{PROGRAM}: Culvert's" in slot(root, "status")
    slot(root, "take")
    slot(root, "give")
    assert everything(root) == before


def test_two_that_take_at_once(tmp_path: pathlib.Path) -> None:
    """The second finds the host's file, and the first one's link by the time that it keeps it."""
    root = installed(tmp_path / "root", sysv=True)
    with_a_shell_that_calls_programs(root)
    before = everything(root)
    root.at("/bin/mkdir").unlink()
    first = f"[ -e /tmp/first ] || {{ : >/tmp/first; {LIBEXEC}/culvert-slot take; }}"
    root.program("/bin/mkdir", f'#!/bin/sh\n{first}\nexec busybox mkdir "$@"\n')
    slot(root, "take")
    root.at("/tmp/first").unlink()
    assert root.read(f"{SAVED}{PROGRAM}") == "stock\n"
    root.at("/bin/mkdir").unlink()
    root.at("/bin/mkdir").symlink_to("busybox")
    slot(root, "give")
    assert everything(root) == before


@pytest.mark.parametrize(
    ("program", "failing"),
    [
        ("cp", 'echo "cp: No space left on device" >&2; exit 1'),
        # What is kept is on another file system.
        ("ln", '[ "$1" = -sf ] || exit 1\nexec busybox ln "$@"'),
    ],
)
def test_a_full_disk_has_room_for_a_name(tmp_path: pathlib.Path, program: str, failing: str) -> None:
    root = installed(tmp_path / "root", sysv=True)
    with_a_shell_that_calls_programs(root)
    before = everything(root)
    root.at(f"/bin/{program}").unlink()
    root.program(f"/bin/{program}", f"#!/bin/sh\n{failing}\n")
    assert slot(root, "take") == ""
    assert root.read(f"{SAVED}{PROGRAM}") == "stock\n"
    assert slot(root, "give") == ""
    assert everything(root) == before


def test_a_disk_without_any_room(tmp_path: pathlib.Path) -> None:
    """Each place stays as it is, and nothing half done is left."""
    root = installed(tmp_path / "root", sysv=True)
    with_a_shell_that_calls_programs(root)
    for program, failing in (("cp", 'echo half >"$3"; exit 1'), ("ln", "exit 1")):
        root.at(f"/bin/{program}").unlink()
        root.program(f"/bin/{program}", f"#!/bin/sh\n{failing}\n")
    before = everything(root)
    assert f"{PROGRAM} stays the host's, as it cannot be kept in {SAVED}" in slot(root, "take", status=1)
    assert everything(root) == before


def test_scripts_are_given_back_when_a_unit_comes(tmp_path: pathlib.Path) -> None:
    """The host's package was installed after ours, which took the host for one without units."""
    root = installed(tmp_path / "root", sysv=True)
    for script in SCRIPTS:
        root.at(script).unlink()
    slot(root, "take")
    assert all(root.at(script).is_symlink() for script in SCRIPTS)
    root.write("/usr/lib/systemd/system/openvswitch.service", "")
    slot(root, "take")
    assert not any(root.at(script).is_symlink() for script in SCRIPTS)


def test_the_unit_may_stand_in_either_folder_and_plugins_in_none(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=False, backend="bridge")
    root.at("/lib/systemd/system").mkdir(parents=True)
    root.at("/usr/lib/systemd/system/openvswitch.service").rename(root.at("/lib/systemd/system/openvswitch.service"))
    shutil.rmtree(root.at("/etc/xapi.d"))
    set_up(root, "install")
    assert "xe-switch-network-backend openvswitch" in root.take_calls()
    status = slot(root, "status")
    assert status.count("not needed on this host\n") == 4 and f"{PROGRAM}: Culvert's" in status
    assert not root.at("/etc/init.d").exists() and not root.at("/etc/xapi.d").exists()


def test_a_place_that_was_emptied_is_taken_again(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=False)
    slot(root, "take")
    root.at(CONFIG_PLUGIN).unlink()
    assert f"{CONFIG_PLUGIN}: nobody's\n" in slot(root, "status", status=1)
    slot(root, "take")
    slot(root, "status")
    assert root.read(f"{SAVED}{CONFIG_PLUGIN}") == "stock\n"


def test_what_cannot_be_taken_is_said(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    root.at("/usr/lib/culvert/ovs-vswitchd").unlink()
    text = slot(root, "take", status=1)
    assert f"{PROGRAM} stays the host's, as /usr/lib/culvert/ovs-vswitchd, which would stand there, is missing" in text
    assert root.read(PROGRAM) == "stock\n"
    # The other places are taken.
    assert root.at(SCRIPTS[0]).is_symlink()
    root.at(PLUGIN).unlink()
    root.at(PLUGIN).mkdir()
    assert f"{PLUGIN} is a folder, and a file or nothing is expected there" in slot(root, "take", status=1)


def test_words_that_are_no_command(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    assert 'culvert-slot: "grab" is not a command' in slot(root, "grab", status=2)
    done = root.run(f"{LIBEXEC}/culvert-setup", "grab")
    assert done.returncode == 2
    assert "usage: culvert-setup install|upgrade|remove" in done.stderr
    assert root.read(PROGRAM) == "stock\n"


# ---- culvert-setup ----


def test_sysconfig_gets_what_it_lacks(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    mine = "OVSDB_SERVER_PRIORITY=-5 # ours\n  #VSWITCHD_MLOCKALL=no\nexport FORCE_COREFILES=no\nMY_OVS_CTL_OPTS=x"
    root.write(SYSCONFIG, mine)
    root.at(SYSCONFIG).chmod(0o600)
    set_up(root, "install")
    merged = root.read(SYSCONFIG)
    assert merged.startswith(mine)
    added = re.findall(r"^# ([A-Z_]+)=", merged.removeprefix(mine), re.M)
    assert added == ["VSWITCHD_PRIORITY", "OVS_CTL_OPTS", "CULVERT_PROTOCOLS"]
    # Each with what is said of it.
    for name in added:
        assert merged.count(f"\n# {name}: ") == 1
    # The shell that reads it sees what it saw before.
    done = root.run("sh", "-c", f". {SYSCONFIG}; echo $OVSDB_SERVER_PRIORITY $FORCE_COREFILES $MY_OVS_CTL_OPTS")
    assert done.stdout == "-5 no x\n"
    assert root.at(SYSCONFIG).stat().st_mode & 0o777 == 0o600
    set_up(root, "upgrade")
    set_up(root, "upgrade")
    assert root.read(SYSCONFIG) == merged
    set_up(root, "remove")
    assert root.read(SYSCONFIG) == mine


def test_sysconfig_may_be_a_link(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    root.write("/etc/common settings", "VSWITCHD_PRIORITY=-5\n")
    root.at(SYSCONFIG).parent.mkdir(exist_ok=True)
    root.at(SYSCONFIG).symlink_to("../common settings")
    before = everything(root)
    set_up(root, "install")
    assert "# OVS_CTL_OPTS=" in root.read("/etc/common settings")
    assert str(root.at(SYSCONFIG).readlink()) == "../common settings"
    set_up(root, "remove")
    assert everything(root) == before


def test_a_new_variable_comes_with_an_upgrade(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    set_up(root, "install")
    template = root.read(f"{SHARE}/sysconfig.template") + "\n# NEW_ONE: said of it.\n# NEW_ONE=1\n"
    root.write(f"{SHARE}/sysconfig.template", template)
    set_up(root, "upgrade")
    assert root.read(SYSCONFIG).endswith("\n\n# NEW_ONE: said of it.\n# NEW_ONE=1\n")
    set_up(root, "remove")
    assert not root.at(SYSCONFIG).exists()


@pytest.mark.parametrize(
    ("sysv", "backend", "switched", "restored"),
    [
        (True, "bridge", ["vswitch"], ["bridge"]),
        (False, "bridge", ["openvswitch"], ["bridge"]),
        # Both names of it are known to both generations.
        (True, "openvswitch", [], []),
        (False, "vswitch", [], []),
        # What was no backend is not restored.
        (True, "", ["vswitch"], []),
    ],
)
def test_the_backend(
    tmp_path: pathlib.Path, sysv: bool, backend: str, switched: list[str], restored: list[str]
) -> None:
    root = installed(tmp_path / "root", sysv, backend)

    def backends() -> list[str]:
        return [call.split()[1] for call in root.take_calls() if call.startswith("xe-switch")]

    set_up(root, "install")
    assert backends() == switched
    set_up(root, "install")
    set_up(root, "upgrade")
    assert backends() == []
    set_up(root, "remove")
    assert backends() == restored
    set_up(root, "remove")
    assert backends() == []
    assert not list(root.at("/var/lib/culvert").iterdir())


def test_a_backend_that_was_not_switched_is_not_switched_back(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True, backend="bridge")
    root.write("/etc/xensource/broken", "")
    assert 'the backend is still "bridge"' in set_up(root, "install")
    # Later on somebody else does it.
    root.write(NETWORK_CONF, "openvswitch\n")
    root.at("/etc/xensource/broken").unlink()
    root.take_calls()
    set_up(root, "remove")
    assert not [call for call in root.take_calls() if call.startswith("xe-switch")]
    assert root.read(NETWORK_CONF) == "openvswitch\n"


def test_hosts_without_the_tools(tmp_path: pathlib.Path) -> None:
    """Newer hosts have no xe-switch-network-backend, and an image has no systemctl that would answer."""
    root = installed(tmp_path / "root", sysv=False, backend="bridge")
    root.at("/opt/xensource/bin/xe-switch-network-backend").unlink()
    root.at("/usr/bin/systemctl").unlink()
    before = everything(root)
    assert "backend" not in set_up(root, "install")
    assert "backend" not in set_up(root, "upgrade")
    set_up(root, "remove")
    assert everything(root) == before
    assert root.read(NETWORK_CONF) == "bridge\n"


def test_services_whose_script_goes_are_no_longer_known(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    root.at(SCRIPTS[1]).unlink()
    set_up(root, "install")
    assert root.take_calls() == ["chkconfig --add openvswitch", "chkconfig --add openvswitch-xapi-update"]
    set_up(root, "remove")
    assert root.take_calls() == ["chkconfig --del openvswitch-xapi-update", "chkconfig --add openvswitch"]


def test_modules_are_loaded_with_the_vswitch_backend_only(tmp_path: pathlib.Path) -> None:
    root = installed(tmp_path / "root", sysv=True)
    shutil.copy(XENSERVER / "culvert.modules", root.at("/etc"))
    root.at("/bin/modprobe").unlink()
    root.program("/sbin/modprobe", '#!/bin/sh\necho "modprobe $*" >>/var/log/calls\n')
    load = ["modprobe openvswitch"]
    for mode, calls in (("vswitch", load), ("openvswitch", load), ("bridge", []), ("", [])):
        root.write(NETWORK_CONF, f"{mode}\n")
        assert root.run("/etc/culvert.modules").returncode == 0
        assert root.take_calls() == calls
    root.at(NETWORK_CONF).unlink()
    assert root.run("/etc/culvert.modules").returncode == 0
    root.at("/sys/module/openvswitch").mkdir(parents=True)
    root.write(NETWORK_CONF, "vswitch\n")
    assert root.run("/etc/culvert.modules").returncode == 0
    assert root.take_calls() == []
