"""The commands print of the recorded run what they printed when it was recorded: `python -m tests.golden.commands`."""

import pytest

pytest.importorskip("cryptography", reason="needs the extra signing")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otlp")
pytest.importorskip("pyarrow", reason="needs the extra ledger")

from tests.golden.commands import printed
from tests.golden.node_run import RECORDED


@pytest.mark.usefixtures("texts")
def test_commands_print_what_was_recorded(folder):
    assert printed(folder).splitlines() == (RECORDED / "commands.txt").read_text().splitlines()
