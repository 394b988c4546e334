"""The request to release the driver, as an operator writes it and as somebody hostile does."""

import os
from pathlib import Path

import pytest

from energy_agent.node.release import MAX_B, RELEASE_FILE, is_requested, request


class Boot:
    """A clock of one boot."""

    def __init__(self, boot_s: int = 0, boot_id: str = "b") -> None:
        self.boot_s, self.id = boot_s, boot_id

    def boot_ns(self) -> int:
        return self.boot_s * 10**9

    def boot_id(self) -> str:
        return self.id


def test_a_request_holds_until_its_time_and_within_its_boot(tmp_path: Path) -> None:
    assert not is_requested(tmp_path, Boot())
    request(tmp_path, 100, Boot(5))
    assert is_requested(tmp_path, Boot(104))
    assert not is_requested(tmp_path, Boot(105))
    assert not is_requested(tmp_path, Boot(104, "other")), "another boot's clock counts from elsewhere"
    request(tmp_path, 0, Boot(50))
    assert not is_requested(tmp_path, Boot(50))
    assert [p.name for p in tmp_path.iterdir()] == [RELEASE_FILE]
    assert (tmp_path / RELEASE_FILE).stat().st_mode & 0o027 == 0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}", b"7", b"\xff\xfe", b"[" * MAX_B, b'{"until_boot_ns": 1}',
        b'{"until_boot_ns": 1, "boot_id": 7}', b" " * MAX_B + b'{"until_boot_ns": 1, "boot_id": "b"}',
        *(b'{"boot_id": "b", "until_boot_ns": %s}' % value for value in (
            b"null", b'"1"', b"true", b"1.5", b"Infinity", b"1e400", b"9223372036854775808", b"9" * 4000,
        )),
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RELEASE_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=RELEASE_FILE):
        is_requested(tmp_path, Boot())


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / RELEASE_FILE
    (tmp_path / "other").write_text('{"until_boot_ns": 1, "boot_id": "b"}')
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("other")}[kind]()
    with pytest.raises(ValueError, match=RELEASE_FILE):
        is_requested(tmp_path, Boot())


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"{RELEASE_FILE}.new").symlink_to(victim)
    request(tmp_path, 1, Boot())
    assert victim.read_text() == "precious"
    assert is_requested(tmp_path, Boot())
