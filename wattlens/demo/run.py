"""The demo: a simulated node, the actuator and the real agent as real processes; a live view; a summary and a report.

The demo starts and ends every process, restores the original settings of the simulated GPUs at the end, and names every file.
"""

import errno
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dvfs.proof.estimate import MIN_PAIRS_WITH_LOAD
from energy_agent.core.energy import ProcessUse
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.proof import Analysis, PairedBlocks
from energy_agent.core.text import printable
from energy_agent.ledger.reading import read_rows
from energy_agent.owners.processes import ProcessOwners
from energy_agent.runtime.network.http import HttpError
from energy_agent.sim import scenario
from energy_agent.sim.building.model import FacilityModel
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.scenario_model import HostModel
from wattlens import summary
from wattlens.agent_access import AgentAccess
from wattlens.companion_process import companion, metrics_url
from wattlens.demo import headline
from wattlens.demo import result as demo_result
from wattlens.demo import site as demo_site
from wattlens.demo.places import listen_error, make_folder, shell_command, short_path
from wattlens.demo.result import proven
from wattlens.top.agent import TopAgent, TopReader
from wattlens.top.frame import TopFrame
from wattlens.top.history import MetricsHistory
from wattlens.top.local import LocalReader
from wattlens.top.metrics import MetricsResponse
from wattlens.top.run import show, simulated_library
from wattlens.top.screen import can_draw

BLOCK_S = 4.0
START_S = 20.0  # the plan of blocks, which is analysed at its end alone, leaves so much until steering begins, and for delays
GROUP = "serving"
CLEAN_S = 2.0
NODE_PERIOD_S = 1.0  # a minute is short: two readings of a slower meter would leave a tenth of it without the node
NODE_MAX_W = 12_000
LINE_READINGS = 5  # seconds between lines without a terminal
COOLING_LAG_S = 15.0  # of a small machine room, so that a minute shows it
SUMMARY = "summary.txt"
_FILES = {
    SUMMARY: "devices and workloads with bounds, steering, the building",
    "state/segments/": "the ledger: a chain of segments, see docs/ledger.md",
    "state/journal.db": "the journal, an SQLite database",
    "agent.yaml": "the agent's configuration; its log is agent.log",
}
_REPORT = {"report/report.html": "the report; the same folder has the PDF, the workbook and facts.json"}


@dataclass(slots=True)
class NamedHistory(MetricsHistory):
    """Frames in which workloads have the scenario's names; `names` are by the agent's name."""

    names: Mapping[str, str] = field(default_factory=dict)

    def add(self, response: MetricsResponse) -> TopFrame:
        """The frame to show after this response."""
        frame = MetricsHistory.add(self, response)
        return replace(
            frame,
            gpus=tuple(replace(gpu, workloads=tuple(map(self._name, gpu.workloads))) for gpu in frame.gpus),
            workloads=tuple(replace(workload, name=self._name(workload.name)) for workload in frame.workloads),
        )

    def _name(self, workload: str) -> str:
        return printable(self.names.get(workload, workload))


def describe(frame: TopFrame, workload: str) -> str:
    """Power of all GPUs, and tokens of a workload."""
    power_w = frame.node.power_w
    power = "all GPUs: no reading" if power_w is None else f"all GPUs {power_w:,.0f} W"
    for each in frame.workloads:
        if each.name == workload and each.tokens_per_s and each.j_per_token:
            return f"{power}   {workload}: {each.tokens_per_s:,.0f} tokens/s, {each.j_per_token:.3f} J/token"
    return f"{power}   {workload}: no tokens measured now"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options from the command line. `seconds` None: serve until interrupted."""

    seconds: float | None = 60.0
    out: Path = Path("demo-out")
    scenario: str = "h100-node"
    listen: str = "127.0.0.1:9479"
    seed: int | None = None
    live: bool = True
    country: str = "GBR"
    as_json: bool = False


@dataclass(slots=True)
class _Stage:
    """What runs."""

    options: DemoOptions
    out: Path
    node: SimulatedNode
    url: str = ""
    serving: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    site: demo_site.DemoSite = field(default_factory=demo_site.DemoSite)

    @property
    def state(self) -> Path:
        return self.out / "state"


def run_demo(options: DemoOptions) -> int:
    """Run it; 0 when everything added up and every setting is back."""
    listen = _listen(options)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: stopping.append(n))
    out = make_folder(options.out)
    _say(options, f"starting a simulated node: {options.scenario}")
    wanted = scenario.load(options.scenario)
    if wanted.host is None:
        wanted = wanted.model_copy(update={"host": HostModel()})
    if wanted.facility is None:
        wanted = wanted.model_copy(update={"facility": FacilityModel(cooling_lag_s=COOLING_LAG_S)})
    with SimulatedNode.start(wanted, out / "node", seed=options.seed, companion=True) as node:
        stage = _Stage(options, out, node)
        _learn(stage)
        originals = _settings(node)
        with ExitStack() as running:
            sockets = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="wattlens-")))
            _write_config(stage, sockets / "actuator.sock")
            running.enter_context(_actuator(stage, sockets / "actuator.sock"))
            stage.site = running.enter_context(demo_site.running(node, stage.out, options.country))
            agent = running.enter_context(_agent(stage, listen))
            _watch(stage, agent, stopping)
        restored = _settings(node) == originals
    if options.seconds is None:
        return 0
    return _conclude(stage, restored)


def _learn(stage: _Stage) -> None:
    """Short names: GPU 0 ... and, for workloads, what the scenario calls them."""
    with stage.node.plant() as plant:
        stage.names |= {plant.uuid(i): f"GPU {i}" for i in range(plant.count)}
    for workload in stage.node.workloads():
        workload["identity"] = _identity(stage.node, workload["pid"]) or workload["name"]
        stage.names[workload["identity"]] = workload["name"]
        if workload.get("metrics_url"):
            stage.serving = workload
    if not stage.serving:
        raise UsageError(f"scenario {stage.options.scenario!r} serves no model; the demo needs a workload of kind 'serving'")


def _identity(node: SimulatedNode, pid: int | None) -> str:
    """What the agent will call a process; '' for one that does not run."""
    owners, _ = ProcessOwners(node.directory / "proc").resolve([ProcessUse(pid)] if pid else [], 0)
    return next(iter(owners.holding.weights), "") if owners.holding is not None else ""


def _write_config(stage: _Stage, actuator: Path) -> None:
    gpus = [str(i) for i in stage.serving["gpus"]]
    plan = _block_plan(stage.options.seconds)
    steering = {
        "mode": "enforce",
        "policy": "static",
        "options": {"static": {"clean_s": CLEAN_S}},
        "actuator": str(actuator),
        "groups": [{"name": GROUP, "devices": gpus, "workload": stage.serving["identity"], "arrivals": "open"}],
    } | ({"blocks": plan} if plan else {})
    config = {
        "node": {"cluster": "demo", "name": "simulated"},
        "sources": {"node": {"rapl": {"period_s": NODE_PERIOD_S}, "redfish": _redfish(stage)}},
        "holders": {"period_s": 2.0},
        "tokens": [{"workload": stage.serving["identity"], "url": stage.serving["metrics_url"], "period_s": 0.5}],
        "dvfs": steering,
    }
    allow = [{"devices": stage.serving["gpus"], "knobs": ["clock"], "baseline": "unlocked"}]
    (stage.out / "agent.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (stage.out / "actuator.yaml").write_text(yaml.safe_dump({"allow": allow}, sort_keys=False))


def _redfish(stage: _Stage) -> dict[str, Any]:
    """The simulated node's management controller: the meter of record of the whole node."""
    folder = stage.node.directory
    return {
        "url": stage.node.state()["host"]["redfish_url"],
        "user_file": str(folder / "redfish-user"),
        "password_file": str(folder / "redfish-password"),
        "period_s": NODE_PERIOD_S,
        "max_power_w": NODE_MAX_W,
    }


def _block_plan(seconds: float | None) -> dict[str, float | int] | None:
    """As many pairs of blocks as fit; a demo that serves on and on steers without them."""
    if seconds is None:
        return None
    pairs = int((seconds - START_S) / (2 * BLOCK_S))
    return {"pairs": pairs, "seconds": BLOCK_S, "settle_s": 1.0, "seed": 1} if pairs >= MIN_PAIRS_WITH_LOAD else None


def _actuator(stage: _Stage, path: Path) -> AbstractContextManager[object]:
    command = ["actuator", "--config", stage.out / "actuator.yaml", "--socket", path, "--state", stage.out / "actuator"]
    command += ["--simulate", stage.node.directory]
    return companion(command, stage.out / "actuator.log", path.exists, "the actuator did not start")


def _listen(options: DemoOptions) -> str:
    """Return the agent's listen address. If the requested port is in use and the demo ends by itself, it is another port.

    The agent itself would continue to meter without its metrics endpoint, and retry.
    """
    error = listen_error(options.listen)
    if error is None:
        return options.listen
    if error.errno != errno.EADDRINUSE or options.seconds is None:
        raise WattlensError(f"--listen {options.listen}: {error.strerror}; choose another address")
    _say(options, f"{options.listen} is in use; the agent listens on another port")
    return options.listen.rpartition(":")[0] + ":0"


@contextmanager
def _agent(stage: _Stage, listen: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = ["agent", "--config", stage.out / "agent.yaml", "--state", stage.state, "--simulate", stage.node.directory]
    log = stage.out / "agent.log"
    with companion([*command, "--listen", listen], log, lambda: metrics_url(log), "the agent did not start") as process:
        stage.url = metrics_url(log).replace("//0.0.0.0:", "//127.0.0.1:")
        yield process


def _watch(stage: _Stage, agent: subprocess.Popen[bytes], stopping: list[int]) -> None:
    """Show readings until the end, on a terminal as `wattlens top` does, else in a line every few seconds."""
    options = stage.options
    _say(options, f"metrics of the agent: {stage.url}")
    end_s = None if options.seconds is None else time.monotonic() + options.seconds

    def caption() -> str | None:
        if agent.poll() is not None:
            raise WattlensError(f"the agent exited with code {agent.returncode}; see {stage.out / 'agent.log'}")
        if not stage.node.running:
            raise WattlensError(f"the simulated node exited; data up to then is in {stage.state}")
        if stopping or (end_s is not None and time.monotonic() >= end_s):
            return None
        status_text = "serving" if end_s is None else f"{end_s - time.monotonic():.0f} s left"
        return f"Wattlens demo, simulated node ({status_text})   {stage.site.now()}"

    reader = TopReader.of(TopAgent(AgentAccess(stage.url), agent, stage.out / "agent.log"))
    history, readings = NamedHistory(names=stage.names), 0
    if options.live and not options.as_json and can_draw():
        frame, local = history.add(reader.read_first()), LocalReader(simulated_library(stage.node.directory))
        local.follow(frame)
        show(reader, history, frame, local, 1.0, caption)
        return
    while (text := caption()) is not None:
        time.sleep(1.0)
        try:
            frame = history.add(reader.read())
        except (HttpError, ValueError):
            continue  # not ready yet
        if not options.as_json and readings % LINE_READINGS == 0:
            print(f"{text}   {describe(frame, stage.names[stage.serving['identity']])}", flush=True)
        readings += 1


def _conclude(stage: _Stage, restored: bool) -> int:
    _say(stage.options, "creating the report")
    saving = _saving(stage)
    no_report = _report(stage)
    if no_report:
        print(no_report, file=sys.stderr)
    files = _FILES | (demo_site.FILES if stage.site.url else {}) | ({} if no_report else _REPORT)
    totals, building = summary.summarise(stage.state), demo_site.concluded(stage.site, stage.out)
    result = demo_result.DemoResult(totals, stage.names, saving, restored, stage.out, files, building)
    (stage.out / SUMMARY).write_text(demo_result.text(result) + "\n")
    if stage.options.as_json:
        print(json.dumps(demo_result.document(result), indent=1, sort_keys=True))
    else:
        figures = {} if no_report else headline.read_figures(stage.out / "report/facts.json")
        print(headline.text(replace(result, out=short_path(stage.out)), figures, no_report, shell_command(sys.argv[0])))
    return 0 if result.ok else 1


def _saving(stage: _Stage) -> dict[str, Any]:
    plan = _block_plan(stage.options.seconds)
    if plan is None:
        needed_s = START_S + 2 * BLOCK_S * MIN_PAIRS_WITH_LOAD
        return {"reason": f"{MIN_PAIRS_WITH_LOAD} pairs of blocks are needed; use --for {needed_s:.0f}s or more"}
    rows = (located.row for located in read_rows(stage.state))
    return proven((row for row in rows if isinstance(row, Analysis | PairedBlocks) and row.group == GROUP), int(plan["pairs"]))


def _report(stage: _Stage) -> str:
    """Create the report. Returns why it could not be created; "" on success."""
    ledger = stage.out if stage.site.url else stage.state  # includes the building's ledger next to the node's
    command = [sys.executable, "-m", "wattlens", "report", "--ledger", str(ledger), "--out", str(stage.out / "report")]
    if stage.site.url:
        command += ["--org", str(demo_site.organisation(stage.out))]
    else:
        command += ["--country", stage.options.country]
    command += ["--accept-coverage", "0%"]  # a minute on a busy machine may have gaps; page one of the report then shows them
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return "no report: not ready within 120 s"
    return f"no report: {(done.stderr.strip().splitlines() or ['the command failed'])[-1]}" if done.returncode else ""


def _settings(node: SimulatedNode) -> list[tuple[int, tuple[int, int]]]:
    """Power limit and clock lock of each GPU, from the plant: not from anything of ours that set them."""
    with node.plant() as plant:
        truths = [plant.truth(i) for i in range(plant.count)]
        return [(t.power_limit_mw, t.locked_mhz) for t in truths]


def _say(options: DemoOptions, line: str) -> None:
    print(line, file=sys.stderr if options.as_json else sys.stdout, flush=True)
