"""Wrong usage of `wattlens ledger import` is one line that names the option, before any query or write."""

import pytest

from tests.support import free_port
from wattlens.cli import main

BASE = {"--prometheus": "http://127.0.0.1:1", "--source": "dcgm", "--from": "2026-01-01", "--to": "2026-01-02"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"--from": "someday"}, "--from/--since: "),
        ({"--from": "2026-01-01T12:10"}, "--from/--since: expected a quarter of an hour"),
        ({"--to": "2025-12-31"}, "--to: expected a time after --from"),
        ({"--to": "2126-01-01"}, "--to is in the future"),
        ({"--from": "1969-12-31"}, "--from/--since: "),
        ({"--slice": "2d"}, "--slice: "),
        ({"--gain-uncertainty": "150%"}, "--gain-uncertainty: "),
        ({"--max-power-w": "10001"}, "--max-power-w: "),
        ({"--collect-interval": "soon"}, "--collect-interval: "),
        ({"--match": "cluster"}, "--match: "),
        ({"--cluster": "a/b"}, "got 'a/b'"),
        ({"--prometheus": "localhost:9090"}, "--prometheus: expected an http:// or https:// URL"),
        ({"--prometheus": "http://user:secret@far.example"}, "got 'http://...@far.example'"),
        ({"--user-file": "u", "--token-file": "t"}, "--token-file: cannot be combined with --user-file"),
        ({"--prometheus": "http://far.example", "--token-file": "t"}, "use https:// or --insecure"),
        ({"--signing-key": "no.pem"}, "--signing-key no.pem: no such file"),
        ({"--signing-key": "."}, "--signing-key .: is not a regular file"),
        ({"--match": "a-b=c"}, "'a-b' is not the name of a label"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, capsys, options, message):
    words = [word for pair in (BASE | options | {"--out": str(tmp_path / "out")}).items() for word in pair]
    assert main(["ledger", "import", *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not (tmp_path / "out").exists()


def test_nobody_at_the_address_is_one_line_and_exit_1(tmp_path, capsys):
    words = BASE | {"--prometheus": f"http://127.0.0.1:{free_port()}", "--out": str(tmp_path / "out")}
    assert main(["ledger", "import", *[word for pair in words.items() for word in pair]]) == 1
    said = capsys.readouterr().err
    assert "connection refused" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
