"""A folder of segments that a fleet shares: chains of nodes, an inventory next to them, and compacted days."""

from contextlib import closing
from pathlib import Path

import pytest

from energy_agent.core.energy import Entry, Identity, Method, State
from energy_agent.ledger import reading
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import Cell, DeviceFacts
from energy_agent.ledger.segments import segment
from energy_agent.ledger.signing import open_signer
from tests.energy_agent.ledger.cases import T0, S, opened
from wattlens.cli import main

M = 60 * S
H = 60 * M
HOUR_UJ = 3_600_000_000
"""An hour at 1 W."""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "segments"
    folder.mkdir()
    return folder


def signer_of(folder):
    signer, notice = open_signer(folder)
    assert notice == ""
    return signer


def book(folder, name, intervals, *, signer=None, device="", cluster="lab", hour_uj=HOUR_UJ, **batch):
    """Write further segments of a node, one per hour (by number) or (start, end) in minutes; its state is outside `folder`."""
    device = device or f"GPU-{name}"
    state, identity = folder.parent / "states" / f"{cluster}-{name}", Identity(cluster, name, "b", "0", True)
    with closing(opened(state, identity=identity, signer=signer)) as journal:
        for interval in intervals:
            start, end = interval if isinstance(interval, tuple) else (interval * 60, interval * 60 + 60)
            uj = hour_uj * (end - start) // 60
            entry = Entry(T0 + start * M, T0 + end * M, device, "", State.UNALLOCATED, Method.COUNTER, uj, 5)
            journal.commit(Batch([entry], devices=[DeviceFacts(device, "H100", 0.05, T0)], **batch))
            journal.seal(None)
    for path in segment.list_files(journal.segments_folder):
        path.rename(folder / path.name)


def inventory(folder, *lines):
    path = folder.parent / "inventory.csv"
    head = "cluster,node,uuid,sku,site,from,to" + (",key" if lines[0].count(",") == 7 else "")
    path.write_text("\n".join([head, *lines, ""]))
    return path


def compact(folder, capsys, *options, day="2026-01-01"):
    """(exit status, energy in uJ by node, standard error) of the day's compaction."""
    out, energy = folder.parent / "days", {}
    code = main(["ledger", "compact", str(folder), "--out", str(out), "--day", day, "--site", "here", *map(str, options)])
    for located in reading.read_rows(out) if list(out.rglob("manifest.json")) else ():
        if isinstance(located.row, Cell):
            energy[located.node] = energy.get(located.node, 0) + located.row.energy_uj
    return code, energy, capsys.readouterr().err
