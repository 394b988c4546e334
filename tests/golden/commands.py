"""What the commands print of the recorded run: from the agent's state, from its segments and from compacted days."""

import contextlib
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pyarrow import parquet

from tests.golden.node_run import RECORDED, results
from wattlens.cli import main

DAY = "2026-03-31"
PERIOD = ("--from", DAY, "--to", "2026-04-01")
KEYS = ("workload", "owner", "namespace", "user", "team", "model", "gpu", "node")


def commands(folder: Path) -> Iterator[tuple[str, ...]]:
    """The commands, each with its arguments."""
    state, segments, days = str(folder), str(folder / "segments"), str(folder / "days")
    yield "ledger", "verify", state, "--json"
    yield "ledger", "compact", segments, "--out", days, "--site", "berlin", "--day", DAY, "--json"
    for source in (state, segments, days):
        for key in KEYS:
            yield "usage", source, *PERIOD, "--by", key, "--price", "0.2EUR/kWh", "--carbon", "380", "--json"
        yield "usage", source, *PERIOD, "--csv"
        for job in ("slurm/77", "k8s/none/none"):
            yield "job", job, source, "--json"
        yield "job", "slurm/77", source, "--seff"
        yield "ledger", "export", source, "--sum", "--json"
        for kind in ((), ("--actions",), ("--pairs",), ("--analyses",)):
            yield "ledger", "export", source, "--format", "jsonl", *kind
    yield "usage", state, *PERIOD


def printed(folder: Path) -> str:
    """Each command with its exit code, output and messages, and the rows of each Parquet table."""
    parts = list[str]()
    for command in commands(folder):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(command))
        text = _short(out.getvalue().replace(str(folder), "FOLDER")) + err.getvalue()
        parts.append(f"$ wattlens {' '.join(command)}\nexit {code}\n{text}")
    for path in sorted((folder / "days").rglob("*.parquet")):
        rows = parquet.read_table(path).to_pylist()
        parts.append(
            f"{path}: {len(rows)} rows, {_digest(json.dumps(rows, default=str))}\n{json.dumps(rows[:2], default=str)}\n"
        )
    return "\n".join(parts).replace(str(folder), "FOLDER")


def _short(text: str) -> str:
    """A long list as its first rows and a digest of all."""
    lines = text.splitlines(keepends=True)
    return text if len(lines) < 150 else "".join(lines[:10]) + f"{len(lines)} lines, {_digest(text)}\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":  # python -m tests.golden.commands: record them again
    with tempfile.TemporaryDirectory() as scratch:
        results(Path(scratch))
        text = printed(Path(scratch))
    (RECORDED / "commands.txt").write_text(text)
    sys.stdout.write(f"{len(text)} characters\n")
