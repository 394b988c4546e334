"""Who may change a file: owners, modes and groups, as ssh looks at its own files."""

import os
import pwd

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import hide_from_others, make_folder, require_safe, require_safe_path

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

    def is_safe_path(path):
        try:
            require_safe_path(path, "test")
        except UsageError:
            return False
        return True

    for owner, mode, expected in (
        (0, 0o755, True),
        (0, 0o1777, True),  # as /tmp: nobody else can rename what is ours in there
        (0, 0o777, False),
        (OTHER, 0o755, False),
        (OTHER, 0o1777, False),
    ):
        os.chown(top, owner, 0)
        top.chmod(mode)
        for path in (middle, middle / "file", tmp_path / "link/file", middle / "none"):
            assert is_safe_path(path) == expected, (path, owner, oct(mode))
    os.chown(top, 0, 0)
    top.chmod(0o1777)
    assert not is_safe_path(top), "in a folder itself others could make files"


@as_root
def test_a_missing_folder_is_made_below_a_safe_one_alone(tmp_path):
    make_folder(tmp_path / "a/b/c", "client.socket", 0o755)
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "file").write_text("")
    for place in ("open/x", "open/x/y", "file/x"):
        with pytest.raises(UsageError, match=r"^client\.socket"):
            make_folder(tmp_path / place, "client.socket", 0o755)
        assert not (tmp_path / "open/x").exists()


def test_a_folder_of_ours_is_hidden_from_others_and_one_of_somebody_else_is_left_alone(tmp_path):
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
