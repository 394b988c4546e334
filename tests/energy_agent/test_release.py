"""The request to release the driver, as an operator writes it and as somebody hostile does."""

import os
from pathlib import Path

import pytest

from energy_agent.release import MAX_B, RELEASE_FILE, request, requested_until_ns


def test_what_is_requested_is_read(tmp_path: Path) -> None:
    assert requested_until_ns(tmp_path) == 0
    for until_ns in (10**18, 5):
        request(tmp_path, until_ns)
        assert requested_until_ns(tmp_path) == until_ns
    assert [p.name for p in tmp_path.iterdir()] == [RELEASE_FILE]
    assert (tmp_path / RELEASE_FILE).stat().st_mode & 0o027 == 0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}",
        b'{"until_ns": null}', b'{"until_ns": "1"}', b'{"until_ns": true}', b'{"until_ns": 1.5}', b"7",
        b'{"until_ns": Infinity}', b'{"until_ns": 1e400}', b'{"until_ns": 9223372036854775808}', b"\xff\xfe", b"[" * MAX_B,
        b'{"until_ns": ' + b"9" * 4000 + b"}", b" " * MAX_B + b'{"until_ns": 1}',
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RELEASE_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=RELEASE_FILE):
        requested_until_ns(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / RELEASE_FILE
    (tmp_path / "other").write_text('{"until_ns": 1}')
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("other")}[kind]()
    with pytest.raises(ValueError, match=RELEASE_FILE):
        requested_until_ns(tmp_path)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f"{RELEASE_FILE}.new").symlink_to(victim)
    request(tmp_path, 1)
    assert victim.read_text() == "precious"
    assert requested_until_ns(tmp_path) == 1
