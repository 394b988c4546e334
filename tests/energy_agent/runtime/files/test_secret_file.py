"""Secrets in files: one line each, and an error that names the setting and the file, never the content."""

from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files.secret_file import read_secret


@pytest.mark.parametrize("content", [b"secret", b"secret\n", b"secret\r\n"])
def test_the_line_end_is_no_part_of_a_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_secret(tmp_path / "file", "token_file") == "secret"


@pytest.mark.parametrize("content", [b"", b"\n", b" \n", b"secret\nsecret\n", b"secret\0", b"secret\xff", b"secret" * 1000])
@pytest.mark.parametrize("key", ["password_file", "--token-file"])
def test_anything_but_one_line_of_text_is_refused(tmp_path: Path, content: bytes, key: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_secret(tmp_path / "file", key)
    text = str(caught.value)
    assert key in text
    assert str(tmp_path / "file") in text
    assert "secret" not in text


def test_an_option_is_not_called_a_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--token-file: .*No such file"):
        read_secret(tmp_path / "missing", "--token-file")
