"""The copy of the last configuration that worked."""

import logging

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files.last_good import LastGood


def parse(raw):
    if b"wrong" in raw:
        raise UsageError("it is wrong")
    return raw.decode()


def copy_of(source, state):
    return LastGood(source, state, logging.getLogger("wattlens.test"))


def test_a_wrong_file_is_replaced_by_the_last_one_that_worked(tmp_path):
    source = tmp_path / "agent.yaml"
    copy = copy_of(source, tmp_path)
    source.write_bytes(b"wrong")
    with pytest.raises(UsageError, match="it is wrong"):
        copy.load(source.read_bytes, parse)
    for raw in (b"a: 1\n", b"", b"# Copy of\n", b"\xff\x00" * 1000):
        copy.keep(raw)
        model, loaded, wrong = copy.load(source.read_bytes, lambda raw: raw if raw != b"wrong" else parse(raw))
        assert (model, loaded, wrong) == (raw, raw, "it is wrong")
    source.write_bytes(b"b: 2\n")
    assert copy.load(source.read_bytes, parse) == ("b: 2\n", b"b: 2\n", "")
    assert copy.path.stat().st_mode & 0o007 == 0


def test_a_copy_of_another_file_or_one_that_is_wrong_now_counts_for_nothing(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    copy_of(first, tmp_path).keep(b"a: 1\n")
    second.write_bytes(b"wrong")
    with pytest.raises(UsageError):
        copy_of(second, tmp_path).load(second.read_bytes, parse)
    copy_of(second, tmp_path).keep(b"wrong too\n")
    with pytest.raises(UsageError):
        copy_of(second, tmp_path).load(second.read_bytes, parse)


def test_a_copy_that_cannot_be_written_or_is_a_link_harms_nothing(tmp_path):
    copy = copy_of(tmp_path / "agent.yaml", tmp_path / "none")
    copy.keep(b"a: 1\n")
    (tmp_path / "secret").write_text("secret")
    copy = copy_of(tmp_path / "agent.yaml", tmp_path)
    for name in (copy.path.name, copy.path.with_suffix(".draft").name):
        (tmp_path / name).symlink_to(tmp_path / "secret")
    copy.keep(b"a: 1\n")
    assert (tmp_path / "secret").read_text() == "secret"
    assert copy.load(lambda: b"wrong", parse)[0] == "a: 1\n"
