"""A new kind of row is one entry in the table of kinds: it is recorded, sealed, verified, compacted, exported and read back."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
ROW = '''
@dataclass(frozen=True, slots=True)
class ThrottleRow:
    """How long a device was held back within a cell, by reason."""

    cell_start_ns: int
    device: str
    reason: str
    start_ns: int
    end_ns: int
    throttled_ns: int


'''
ENTRY = """\
    RowType(
        "throttle",
        ThrottleRow,
        {"cell_start_ns": Form.CELL, "device": Form.TEXT, "reason": Form.TEXT} | _INTERVAL | {"throttled_ns": Form.COUNT},
        _OWN_INTERVAL,
        merge={**_LONGEST, "throttled_ns": add},
        sums=(Sum("throttled_ns", "throttled_ns", ("device", "reason")),),
    ),
"""
PROGRAM = """
import json, sys
from datetime import date
from pathlib import Path
from energy_agent.ledger import chain
from tests.energy_agent.ledger.cases import compact_day
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.journal import Batch, Journal
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import ThrottleRow
from tests.energy_agent.ledger.cases import IDENTITY, T0, S, second
folder = Path(sys.argv[1])
journal = Journal.open(folder / "journal.db", IDENTITY)
def recorded_energy(i):
    journal.commit(Batch(second(i).entries, devices=second(i).devices,
        rows=[ThrottleRow(T0, "GPU-0", "heat", T0 + i * S, T0 + (i + 1) * S, 7 + i)]))
for i in range(5):
    recorded_energy(i)
journal.close()
journal = Journal.open(folder / "journal.db", IDENTITY)
journal.seal(None)
recorded_energy(5)
journal.close()
view = read_journal(folder / "journal.db")
report = chain.verify([folder / "segments"], view)
compact_day([folder / "segments"], folder / "days", date(2026, 1, 1), Sites({}, "here"))
rows = {name: [located.row for located in read_rows(source) if isinstance(located.row, ThrottleRow)]
        for name, source in (("state", folder), ("days", folder / "days"))}
print(json.dumps({
    "faults": [fault.line for fault in report.faults],
    "total": list(view.book.totals.sums["throttled_ns"].items()),
    "state": [(r.end_ns - r.start_ns, r.throttled_ns) for r in rows["state"]],
    "days": [(r.end_ns - r.start_ns, r.throttled_ns) for r in rows["days"]],
}))
"""


def test_a_new_kind_of_row_is_one_entry(tmp_path):
    for path in (ROOT / "energy_agent").rglob("*.py"):
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    table = tmp_path / "energy_agent/ledger/rows/kinds.py"
    text = table.read_text()
    for before, new in (("class Form(", ROW), (")\nKINDS: Final", ENTRY)):
        assert text.count(before) == 1
        text = text.replace(before, new + before)
    table.write_text(text)
    state = tmp_path / "state"
    state.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(state)],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    second = 10**9
    assert json.loads(done.stdout) == {
        "faults": [],
        "total": [[["GPU-0", "heat"], 7 + 8 + 9 + 10 + 11 + 12]],
        "state": [[5 * second, 45], [second, 12]],
        "days": [[5 * second, 45]],
    }
