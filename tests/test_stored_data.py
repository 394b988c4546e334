"""Data that version 0.1 wrote is read by this version, to the last microjoule.

The expected values do not come from the reader under test: those of the journal are the counters of `/metrics` that version 0.1
served just before it was killed, those of segments and days are the totals that it printed when it wrote them.
"""

import contextlib
import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.core.energy import Entry, Identity, Method, State
from energy_agent.core.saved_state import Component
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.ledger.signing import open_signer
from energy_agent.owners.processes import ProcessOwners
from tests.support import said_here

STORED = Path(__file__).parent / "data" / "stored-0.1"

JOURNAL_UJ = {
    "GPU-26bf3ad8-516a-413f-b48d-810b490f1f38": 6_441_810_000,
    "GPU-347846a2-2114-4ce2-bbc9-20f4a3b3b9ac": 51_115_536_000,
    "GPU-3d92694e-cdb3-4d28-84b6-b0b8c0cd5c55": 50_564_905_000,
    "GPU-6a190b87-6759-4f77-93d3-8e7c1d1942ec": 50_336_439_000,
    "GPU-9f9d96c7-2133-4559-9f76-c78b68978f29": 40_809_961_000,
    "GPU-a0bacaa4-24d8-41bf-8e0a-790b851a8d62": 41_320_957_000,
    "GPU-b6ad16a4-538e-4ded-a8ad-142210225dd6": 10_363_537_000,
    "GPU-f86d0484-87e8-4608-94d6-d253a3f7a72b": 51_554_777_000,
}
UNALLOCATED_UJ = 6_441_810_000
SEGMENT_UJ = 88_619_682_082
MEASURED_J = 17_826.74322091194


@pytest.fixture
def state(tmp_path):
    """State folder of the agent that was killed."""
    with tarfile.open(STORED / "journal.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2, as in Debian 12, has none
        archive.extractall(tmp_path)
    return tmp_path / "killed"


def export(*arguments):
    """Rows of `ledger export` in JSON Lines."""
    reply = said_here("ledger", "export", "--format", "jsonl", *arguments)
    assert reply.returncode == 0, reply.stderr
    return [json.loads(line) for line in reply.stdout.splitlines()]


def total_uj(source):
    """Energy of `ledger export --sum`."""
    reply = said_here("ledger", "export", "--sum", "--json", source)
    assert reply.returncode == 0, reply.stderr
    return json.loads(reply.stdout)["energy_uj"]


def test_journal_of_a_killed_agent_keeps_every_microjoule_of_each_device(state):
    rows = export(state)
    by_device = dict.fromkeys(JOURNAL_UJ, 0)
    for row in rows:
        by_device[row["device"]] += row["energy_uj"]
    assert by_device == JOURNAL_UJ
    assert sum(row["energy_uj"] for row in rows if not row["workload"]) == UNALLOCATED_UJ
    assert total_uj(state) == sum(JOURNAL_UJ.values())


def test_states_of_a_killed_agent_arrive_in_their_components(state):
    path = state / "journal.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        *_, (last,) = connection.execute("SELECT batch FROM log ORDER BY sequence")
    view = read_journal(path)
    assert view.book.states.keys() == {Component.METERS, Component.GPU_INFO}  # no workload had ended
    meters, infos = view.book.states[Component.METERS], view.book.states[Component.GPU_INFO]
    assert meters.keys() == infos.keys() == JOURNAL_UJ.keys()
    assert meters.items() <= json.loads(last)[6].items()  # 0.1 had all states under names in one mapping
    assert all(json.loads(text)["uuid"] == uuid for uuid, text in infos.items())
    with contextlib.closing(Journal.open(path, view.identity)) as journal:
        assert journal.states() == view.book.states
        accountant = Accountant(view.identity, ProcessOwners(state), SensorFor(2_500_000_000), {}, 0.05)
        assert accountant.restore(journal.states(), journal.totals(), journal.facts(), 0) == []
        snapshot = accountant.snapshot(0, {}, (), journal.stats())
        assert {d.info.uuid: d.info.name for d in snapshot.devices} == dict.fromkeys(JOURNAL_UJ, "NVIDIA H100 80GB HBM3")
        assert all(sum(d.event_ns.values()) > 0 for d in snapshot.devices)
    with contextlib.closing(Journal.open(path, view.identity)) as journal:
        assert journal.states() == view.book.states


def test_snapshot_of_another_journal_in_the_folder_is_not_restored(state):
    """A folder that this version used, whose journal was deleted for a rollback to 0.1."""
    identity = read_journal(state / "journal.db").identity
    used = state.parent / "used"
    with contextlib.closing(Journal.open(used / "journal.db", identity)) as journal:
        journal.commit(Batch([Entry(0, 10**12, "GPU-later", "", State.UNALLOCATED, Method.COUNTER, 77, 5)]))
    shutil.copy(used / "journal.snapshot", state)
    with contextlib.closing(Journal.open(state / "journal.db", identity)) as journal:
        assert journal.notice == ""
    assert total_uj(state) == sum(JOURNAL_UJ.values())


def test_journal_verifies(state):
    reply = said_here("ledger", "verify", state)
    assert reply.returncode == 0, reply.stdout + reply.stderr


def test_segments_and_compacted_days_keep_their_total(tmp_path):
    assert total_uj(STORED / "segments") == total_uj(STORED / "days") == SEGMENT_UJ
    assert said_here("ledger", "verify", STORED / "segments").returncode == 0
    reply = said_here(
        "ledger", "compact", STORED / "segments", "--out", tmp_path / "days", "--day", "2026-11-28", "--site", "demo"
    )
    assert reply.returncode == 0, reply.stderr
    assert total_uj(tmp_path / "days") == SEGMENT_UJ


def test_segments_are_compacted_with_signed_ones_of_this_version(tmp_path):
    signer, _ = open_signer(tmp_path)
    new = Journal.open(tmp_path / "new" / "journal.db", Identity("demo", "new", "b", "1", True), signer=signer)
    start = 1_795_860_000_000_000_000  # 2026-11-28T10:00Z
    entry = Entry(start, start + 10**12, "GPU-new", "", State.UNALLOCATED, Method.COUNTER, 77, 5)
    new.commit(Batch([entry], devices=[DeviceFacts("GPU-new", "H100", 0.05, start)]))
    new.seal(None)
    new.close()
    folders = (STORED / "segments", tmp_path / "new" / "segments")
    reply = said_here("ledger", "verify", "--json", *folders)
    assert reply.returncode == 0, reply.stdout + reply.stderr
    chains = json.loads(reply.stdout)["chains"]
    assert {c["node"]: c["unsigned"] for c in chains if not c["unsigned"]} == {"new": 0}
    assert all(c["unsigned"] == c["segments"] for c in chains if c["node"] != "new")
    days = tmp_path / "days"
    reply = said_here("ledger", "compact", *folders, "--out", days, "--day", "2026-11-28", "--site", "demo")
    assert reply.returncode == 0, reply.stderr
    assert total_uj(days) == SEGMENT_UJ + 77


def test_saved_measurement_is_compared(tmp_path):
    for name in ("a", "b"):
        shutil.copy(STORED / "measured.json", tmp_path / f"{name}.json")
    reply = said_here("compare", "--json", tmp_path / "a.json", tmp_path / "b.json")
    assert reply.returncode == 0, reply.stderr
    assert str(MEASURED_J)[:8] in reply.stdout


def test_facts_of_a_report_are_compared_with_themselves():
    reply = said_here("report", "diff", "--json", STORED / "report", STORED / "report" / "facts.json")
    assert reply.returncode == 0, reply.stdout + reply.stderr
