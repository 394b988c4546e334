"""A fleet of this version and 0.1 in one quarter and one report: upgrades in mid-quarter, a rollback, and an upgrade after it.

`python -m benchmarks mixed_versions [--seconds 20] [--old FOLDER]`, in a git checkout or with a folder of version 0.1's code.

Four simulated nodes run real agents at three dates of a quarter. Agents of 0.1 run from its own code, as processes of their
own. `stays` runs 0.1 throughout, `new` this version; `upgraded` changes on 15 August under load, by SIGKILL; `reverted` changes
as well, goes back to 0.1 as docs/security.md describes, and is upgraded once more on 22 August. Requirements:

- 0.1 refuses the state folder of this version and changes none of its files;
- every chain verifies, and all compact without a fault;
- the report's energy is the sum of the cells in the segment files, added up here from their text, to the microjoule;
- no two chains have energy of a GPU for the same time;
- each agent's energy agrees with the simulator's counter between its first and its last reading.
"""

import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.exactness import TruthRecorder
from benchmarks.runner import Row, say
from benchmarks.running import AgentProcess
from energy_agent.core.errors import UsageError
from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode

OLD_COMMIT: Final = "875a47b5"
"""Version 0.1."""
CLUSTER, REVERTED_CLUSTER = "fleet", "fleet-reverted"
TIMES: Final = ("2026-08-08T12:00:00Z", "2026-08-15T12:00:00Z", "2026-08-22T12:00:00Z")
QUARTER: Final = "2026Q3"
OLD, NEW, KILLED, REFUSED, REVERT = "old", "new", "killed", "refused", "revert"


class Visit(NamedTuple):
    """What a node does from `start` on, in turn."""

    node: str
    start: str
    steps: tuple[str, ...]


VISITS: Final = (
    Visit("stays", TIMES[0], (OLD,)),
    Visit("upgraded", TIMES[0], (OLD,)),
    Visit("reverted", TIMES[0], (OLD,)),
    Visit("new", TIMES[0], (NEW,)),
    Visit("stays", TIMES[1], (OLD,)),
    Visit("upgraded", TIMES[1], (OLD, KILLED, NEW)),
    Visit("reverted", TIMES[1], (OLD, NEW, REFUSED, REVERT, OLD)),
    Visit("new", TIMES[1], (NEW,)),
    Visit("stays", TIMES[2], (OLD,)),
    Visit("upgraded", TIMES[2], (NEW,)),
    Visit("reverted", TIMES[2], (OLD, KILLED, NEW)),
    Visit("new", TIMES[2], (NEW,)),
)


@dataclass
class Fleet:
    """Folders of the run, and the state folder in which each node is now."""

    folder: Path
    code: Path
    seconds: float
    clusters: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[int, bool, str]] = field(default_factory=dict)  # exit code, state unchanged, message
    truths: list[tuple[Visit, TruthRecorder]] = field(default_factory=list)

    def state(self, node: str) -> Path:
        """The state folder of a node's present cluster name."""
        return self.folder / self.clusters.get(node, CLUSTER) / node

    def agent(self, node: SimulatedNode, name: str, version: str) -> AgentProcess:
        """An agent on a simulated node, of this version or 0.1, in the node's state folder."""
        state = self.state(name)
        state.parent.mkdir(exist_ok=True)
        config = self.folder / f"{state.parent.name}-{name}.yaml"
        config.write_text(json.dumps({"node": {"name": name, "cluster": state.parent.name}, "ledger": {"segment_s": 900}}))
        return AgentProcess(node.directory, state, config, code=self.code if version == OLD else None)


def run(seconds: float = 20.0, old: str = "", keep: str = "") -> Iterator[Row]:
    """`seconds` of each agent; `old` is a folder of 0.1's code; `keep` a folder in which all files stay."""
    with tempfile.TemporaryDirectory(prefix="wattlens-mixed-") as name:
        folder = Path(keep or name).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        fleet = Fleet(folder, Path(old).absolute() if old else _checkout(folder / "0.1"), seconds)
        for start in TIMES:
            say(f"{start}: agents on 4 nodes")
            play(fleet, [visit for visit in VISITS if visit.start == start])
        yield from _judge(fleet)


def _checkout(folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", OLD_COMMIT], cwd=Path(__file__).parents[1], capture_output=True, check=False)
    if archive.returncode:
        raise UsageError(f"--old: expected a folder with the code of 0.1; git has none: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def play(fleet: Fleet, visits: Sequence[Visit]) -> None:
    """Run visits of different nodes at the same time."""
    with ThreadPoolExecutor(len(visits)) as pool:
        list(pool.map(lambda visit: _visit(fleet, visit), visits))


def _visit(fleet: Fleet, visit: Visit) -> None:
    seed = 1 + [v.node for v in VISITS].index(visit.node)
    settings = {
        "boards": [{"count": 2, "sku": "H100-SXM5-80GB"}],
        "seed": seed,
        "start": visit.start,
        "workloads": [{"name": "train", "kind": "training", "gpus": [0], "step_s": 0.5, "checkpoint_every_s": 30}],
    }
    place = fleet.folder / "nodes" / f"{visit.node}-{visit.start}".replace(":", "")  # LD_LIBRARY_PATH has no escape
    with (
        SimulatedNode.start(scenario.parse(json.dumps(settings).encode(), "benchmark"), place, timeout_s=120) as node,
        node.plant() as plant,
    ):
        truth = TruthRecorder(plant)
        truth.start()
        fleet.truths.append((visit, truth))
        time.sleep(0.5)
        steps = list(visit.steps)
        while steps:
            step = steps.pop(0)
            if step == REFUSED:
                fleet.refused[visit.node] = _refused(fleet, fleet.agent(node, visit.node, OLD))
            elif step == REVERT:
                fleet.clusters[visit.node] = REVERTED_CLUSTER
            else:
                agent = fleet.agent(node, visit.node, step)
                agent.start(120)
                time.sleep(fleet.seconds)
                if steps[:1] == [KILLED]:
                    steps.pop(0)
                    agent.kill()
                else:
                    agent.stop()
        time.sleep(0.5)
        truth.ended.set()
        truth.join()


def _refused(fleet: Fleet, agent: AgentProcess) -> tuple[int, bool, str]:
    """Exit code of an agent that does not start, whether its state folder is as before, and its last line."""
    before = _digests(agent.state)
    try:
        agent.start(120)
    except RuntimeError:
        pass
    else:
        agent.stop()
    assert agent.process is not None
    return agent.process.wait(60), _digests(agent.state) == before, agent.log().strip().splitlines()[-1]


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", "-shm", "-wal"))
    }


INVENTORY: Final = f"""cluster,node,uuid,sku,site,from,to
{CLUSTER},stays,,,fra1,2026-07-01,
{CLUSTER},upgraded,,,fra1,2026-07-01,
{CLUSTER},reverted,,,fra1,2026-07-01,2026-08-16
{REVERTED_CLUSTER},reverted,,,fra1,2026-08-15,
{CLUSTER},new,,,fra1,2026-07-01,
"""


class RecordedCell(NamedTuple):
    """A cell of one GPU in a segment file."""

    cluster: str
    node: str
    device: str
    energy_uj: int
    start_ns: int
    end_ns: int
    bound_uj: int
    """Uncertainty of energy that no counter confirms."""


def read_cells(folder: Path) -> Iterator[RecordedCell]:
    """Every cell of the segment files, from their text: no code of the ledger."""
    for path in sorted(folder.rglob("*.jsonl.gz")):
        header, *rows = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
        for row in rows:
            if row["kind"] == "cell":
                bound_uj = sum(row[f"edge_{part}_uj"] for part in ("first", "inner", "last"))
                yield RecordedCell(
                    header["cluster"], header["node"], row["device"], row["energy_uj"], row["start_ns"],
                    row["end_ns"], bound_uj if row["method"] == "integrated" else 0,
                )  # fmt: skip


def report_uj(folder: Path, states: Iterable[Path], code: Path | None = None) -> tuple[list[RecordedCell], Counter[str], int]:
    """Ship state folders, verify, compact and report them by the commands that a user runs.

    Args:
        folder: for `segments`, `days` and `report`.
        states: the state folders; a node `stays` is shipped by the version in `code`, if one is given.
        code: folder of 0.1's code.

    Returns:
        The cells of the segment files; energy by device in the compacted days; the report's energy of all devices.

    Raises:
        UsageError: a command failed, or found a fault.
    """
    segments, days, report, inventory = (folder / name for name in ("segments", "days", "report", "fleet.csv"))
    for state in states:
        _wattlens("ledger", "ship", state, segments, code=code if state.name == "stays" else None)
    inventory.write_text(INVENTORY)
    _wattlens("ledger", "verify", segments)
    _wattlens("ledger", "compact", segments, "--out", days, "--inventory", inventory)
    period = ("--quarter", QUARTER, "--country", "DEU", "--accept-coverage", "0.00001%")
    _wattlens("report", "--ledger", days, *period, "--formats", "html", "--out", report)
    (facts,) = report.rglob("facts.json")
    compacted = Counter[str]()
    for line in _wattlens("ledger", "export", days, "--format", "jsonl").splitlines():
        row = json.loads(line)
        compacted[row["device"]] += row["energy_uj"]
    return list(read_cells(segments)), compacted, int(json.loads(facts.read_text())["conservation"]["device_uj"])


def overlaps(cells: Iterable[RecordedCell]) -> int:
    """Number of times at which two chains have energy of one GPU."""
    by_device: dict[str, list[RecordedCell]] = {}
    for cell in cells:
        by_device.setdefault(cell.device, []).append(cell)
    in_time = (sorted(mine, key=lambda i: (i.start_ns, i.end_ns)) for mine in by_device.values())
    return sum(a.cluster != b.cluster and b.start_ns < a.end_ns for mine in in_time for a, b in pairwise(mine))


def _judge(fleet: Fleet) -> Iterator[Row]:
    states = sorted(path.parent for path in fleet.folder.glob("*/*/journal.db"))
    cells, compacted, reported_uj = report_uj(fleet.folder, states, fleet.code)
    for node in dict.fromkeys(visit.node for visit in VISITS):
        yield _judge_node(fleet, node, [i for i in cells if i.node == node], compacted)
    total_uj = sum(i.energy_uj for i in cells)
    yield {"segment_files_uj": total_uj, "report_uj": reported_uj, "ok": total_uj == reported_uj}
    for node, (code, unchanged, message) in fleet.refused.items():
        yield {"node": node, "exit": code, "state_unchanged": unchanged, "message": message, "ok": code != 0 and unchanged}


def _judge_node(fleet: Fleet, node: str, cells: list[RecordedCell], compacted: Mapping[str, int]) -> Row:
    """Energy of the node's GPUs, each once, and against the simulator's counters."""
    over = under = error_uj = sensed_uj = 0
    for device, cluster in sorted({(i.device, i.cluster) for i in cells}):
        mine, before_ns = [i for i in cells if (i.device, i.cluster) == (device, cluster)], 0
        for visit, truth in fleet.truths:
            if visit.node != node:
                continue
            first, last_ns = truth.points[device][0], truth.points[device][-1].t_ns
            visited = [i for i in mine if before_ns < i.end_ns <= last_ns]
            if visited:
                # A chain that goes on after a reboot has the energy since the boot, a new one that since its first reading.
                span = first.t_ns if before_ns else min(i.start_ns for i in visited), max(i.end_ns for i in visited)
                most, least = (amount + bool(before_ns) * first.sensed_uj for amount in truth.published(device, span))
                energy_uj, doubt_uj = sum(i.energy_uj for i in visited), sum(i.bound_uj for i in visited)
                over, under = over + (energy_uj > most + doubt_uj), under + (energy_uj < least - doubt_uj)
                sensed_uj, error_uj = sensed_uj + (most + least) // 2, error_uj + energy_uj - (most + least) // 2
                before_ns = last_ns
    files_uj, days_uj = sum(i.energy_uj for i in cells), sum(compacted[device] for device in {i.device for i in cells})
    twice = overlaps(cells)
    return {
        "node": node, "segment_files_uj": files_uj, "days_uj": days_uj, "twice": twice, "over": over, "under": under,
        "counters_j": sensed_uj / 1e6, "error": error_uj / sensed_uj,
        "ok": files_uj == days_uj and not (twice or over or under),
    }  # fmt: skip


def _wattlens(*words: object, code: Path | None = None) -> str:
    """Standard output of a command of this version, or of the version in `code`."""
    command = [sys.executable, "-m", "wattlens", *map(str, words)]
    reply = subprocess.run(command, cwd=code, capture_output=True, text=True, check=False)
    if reply.returncode:
        raise UsageError(f"{' '.join(command[2:])}: {reply.stdout}{reply.stderr}")
    return reply.stdout
