"""Who may change a file: owners, modes and groups, as ssh looks at its own files."""

import os
import pwd
import subprocess
import sys

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files.permissions import hide_from_others, make_folder, require_safe
from tests.support import need_program

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
OTHER = 65534


def is_safe(path):
    try:
        require_safe(path, "test")
    except UsageError:
        return False
    return True


def test_a_file_is_safe_unless_others_may_write_it(tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_text("")
    for mode in range(0o1000):
        path.chmod(mode)
        private_group = path.stat().st_gid == 0 or pwd.getpwuid(os.geteuid()).pw_gid == path.stat().st_gid
        expected = not mode & 0o002 and (not mode & 0o020 or private_group)
        assert is_safe(path) == expected, oct(mode)
    assert is_safe(tmp_path / "none")


@as_root
def test_owners_and_groups(tmp_path):
    for path in (tmp_path / "file", tmp_path / "folder"):
        path.mkdir() if path.name == "folder" else path.write_text("")
        for owner, group, mode, expected in (
            (0, 0, 0o664, True),
            (0, OTHER, 0o644, True),
            (0, OTHER, 0o664, False),
            (0, 4242, 0o664, False),
            (OTHER, 0, 0o600, False),
            (OTHER, OTHER, 0o400, False),
        ):
            os.chown(path, owner, group)
            path.chmod(mode)
            assert is_safe(path) == expected, (path.name, owner, group, oct(mode))
        link = tmp_path / f"link-to-{path.name}"
        link.symlink_to(path)  # what counts is what it leads to
        assert not is_safe(link)


@as_root
def test_a_path_is_as_safe_as_the_folders_above_it(tmp_path):
    top, middle = tmp_path / "top", tmp_path / "top/middle"
    middle.mkdir(parents=True)
    (middle / "file").write_text("")
    (tmp_path / "link").symlink_to(middle)
    (tmp_path / "relative").symlink_to("top/../top/middle/file")
    for owner, group, mode, expected in (
        (0, 0, 0o755, True),
        (0, 0, 0o775, True),
        (0, 0, 0o1777, True),  # as /tmp: nobody else can rename what is ours in there
        (0, OTHER, 0o775, False),
        (0, 0, 0o777, False),
        (OTHER, 0, 0o755, False),
        (OTHER, 0, 0o1777, False),
    ):
        os.chown(top, owner, group)
        top.chmod(mode)
        for path in (middle, middle / "file", tmp_path / "link/file", tmp_path / "relative", middle / "none", top / "none/x"):
            assert is_safe(path) == expected, (path, owner, oct(mode))
            require_safe(path, "test", folders_above=False)
    os.chown(top, 0, 0)
    top.chmod(0o1777)
    assert not is_safe(top), "in a folder itself others could make files"


@as_root
def test_link_owned_by_another_user_is_not_safe(tmp_path):
    """Though it leads to a file of root: its owner may have it lead to another one next."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/file").write_text("")
    for folder, owner, expected in (
        ("theirs", OTHER, False),
        ("theirs", 0, False),
        ("shared", OTHER, False),
        ("shared", 0, True),
    ):
        link = tmp_path / folder / "link"
        link.symlink_to(tmp_path / "ours")
        os.chown(tmp_path / "theirs", OTHER, OTHER)
        os.lchown(link, owner, owner)
        (tmp_path / "chain").symlink_to(f"{folder}/link")
        for path in (link / "file", link, tmp_path / "chain/file"):
            assert is_safe(path) == expected, (path, owner)
        link.unlink()
        (tmp_path / "chain").unlink()
    (tmp_path / "loop").symlink_to("loop")
    assert is_safe(tmp_path / "loop/file")  # nothing can be opened there


@as_root
def test_a_mounted_configuration_of_kubernetes_is_safe(tmp_path):
    """A volume of root with mode 0777, and links to a folder that the kubelet replaces."""
    mount, umount = need_program("mount"), need_program("umount")
    volume = tmp_path / "etc/wattlens"
    volume.mkdir(parents=True)
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "mode=0777", "none", str(volume)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine lets us mount nothing")
    try:
        (volume / "..2026").mkdir()
        (volume / "..2026/agent.yaml").write_text("")
        (volume / "..data").symlink_to("..2026")
        (volume / "agent.yaml").symlink_to("..data/agent.yaml")
        for owner in (0, OTHER):
            os.chown(volume, owner, owner)
            volume.chmod(0o777 if owner == 0 else 0o755)
            assert is_safe(volume / "agent.yaml")
            assert is_safe(volume)
        os.chown(volume / "..2026", OTHER, OTHER)
        assert not is_safe(volume / "agent.yaml")
    finally:
        subprocess.run([umount, str(volume)], check=True)


@as_root
def test_folders_of_the_hosts_root_are_safe_in_a_user_namespace(tmp_path):
    """Where they seem to belong to nobody; a folder that all may write to stays unsafe."""
    unshare = need_program("unshare")
    (tmp_path / "host/ours").mkdir(parents=True)
    (tmp_path / "host/ours/file").write_text("")
    os.chown(tmp_path / "host", 4242, 4242)
    code = f"""
from pathlib import Path
from energy_agent.runtime.files.permissions import require_safe
require_safe(Path({str(tmp_path / "host/ours/file")!r}), "test")
"""
    for mode, expected in ((0o755, True), (0o777, False)):
        (tmp_path / "host").chmod(mode)
        command = [unshare, "--user", "--map-root-user", sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stderr.startswith("unshare"):
            pytest.skip(f"no user namespace can be made here: {done.stderr}")
        assert (done.returncode == 0) == expected, done.stderr


@as_root
def test_a_missing_folder_is_made_below_a_safe_one_alone(tmp_path):
    make_folder(tmp_path / "a/b/c", "client.socket", 0o755)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    make_folder(tmp_path / "tmp/x/y", "client.socket", 0o755)
    require_safe(tmp_path / "tmp/x/y", "client.socket")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_text("")
    for place in ("open/x", "open/x/y", "file/x"):
        with pytest.raises(UsageError, match=r"^client\.socket"):
            make_folder(tmp_path / place, "client.socket", 0o755)
        assert not (tmp_path / "open/x").exists()


@as_root
def test_sticky_folder_gets_no_advice_to_chmod(tmp_path):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    with pytest.raises(UsageError, match="choose a folder of its own below it") as caught:
        require_safe(tmp_path / "tmp", "client.socket")
    assert "chmod" not in str(caught.value)


def test_own_folder_is_hidden_and_foreign_folder_is_unchanged(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o2775)
    hide_from_others(folder)
    assert folder.stat().st_mode & 0o7777 == 0o2770
    if os.geteuid() == 0:
        os.chown(folder, OTHER, OTHER)
        folder.chmod(0o755)
        hide_from_others(folder)
        assert folder.stat().st_mode & 0o777 == 0o755
    hide_from_others(tmp_path / "none")
