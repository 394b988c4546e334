"""The demo: a simulated node, the actuator and the real agent as real processes; a live view; a summary and a report.

Everything is started here and ended here, the settings of the simulated GPUs are as found at the end, and every file is named.
"""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from energy_agent.core.errors import WattlensError
from energy_agent.holders.cgroup import membership
from energy_agent.sim.node import SimulatedNode
from wattlens import summary
from wattlens.live import Page, Screen, View, read_page

START_S = 20.0
BLOCK_S = 4.0
CLEAN_S = 2.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says. `seconds` None: serve until told to end."""

    seconds: float | None = 60.0
    out: Path = Path("demo-out")
    scenario: str = "h100-node"
    listen: str = "127.0.0.1:9479"
    seed: int | None = None
    live: bool = True
    country: str | None = None
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

    @property
    def state(self) -> Path:
        return self.out / "state"


def run_demo(options: DemoOptions) -> int:
    """Run it; 0 when everything added up and every setting is back."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: stopping.append(n))
    out = (options.out / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")).absolute()
    out.mkdir(parents=True)
    _say(options, f"starting a simulated node ({options.scenario}); the simulator's library is built on first use")
    with SimulatedNode.start(options.scenario, out / "node", seed=options.seed) as node:
        stage = _Stage(options, out, node)
        _learn(stage)
        found = _settings(node)
        with ExitStack() as running:
            sockets = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="wattlens-")))
            _write_config(stage, sockets / "actuator.sock")
            running.enter_context(_actuator(stage, sockets / "actuator.sock"))
            agent = running.enter_context(_agent(stage))
            _watch(stage, agent, stopping)
        restored = _settings(node) == found
    if options.seconds is None:
        return 0
    return _conclude(stage, restored)


def _learn(stage: _Stage) -> None:
    """Short names: GPU 0 ... and, for workloads, what the scenario calls them."""
    with stage.node.plant() as plant:
        stage.names |= {plant.uuid(i): f"GPU {i}" for i in range(plant.count)}
    for workload in stage.node.workloads():
        member = membership(f"0::{workload['cgroup']}")
        workload["identity"] = member.name if member is not None else workload["name"]
        stage.names[workload["identity"]] = workload["name"]
        if workload.get("metrics_url"):
            stage.serving = workload


def _write_config(stage: _Stage, actuator: Path) -> None:
    gpus = [str(i) for i in stage.serving["gpus"]]
    plan = _block_plan(stage.options.seconds)
    steering = {
        "mode": "enforce",
        "policy": "static",
        "options": {"clean_s": CLEAN_S},
        "actuator": str(actuator),
        "groups": [{"name": "serving", "devices": gpus, "workload": stage.serving["identity"]}],
    } | ({"blocks": plan} if plan else {})
    config = {
        "node": {"cluster": "demo", "name": "simulated"},
        "holders": {"period_s": 2.0},
        "tokens": [{"workload": stage.serving["identity"], "url": stage.serving["metrics_url"], "period_s": 0.5}],
        "dvfs": steering,
    }
    allow = [{"devices": stage.serving["gpus"], "knobs": ["clock"], "baseline": "unlocked"}]
    (stage.out / "agent.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (stage.out / "actuator.yaml").write_text(yaml.safe_dump({"allow": allow}, sort_keys=False))


def _block_plan(seconds: float | None) -> dict[str, float | int] | None:
    """As many pairs of blocks as fit; a demo that serves on and on steers without them."""
    if seconds is None:
        return None
    pairs = int((seconds - START_S / 2) / (2 * BLOCK_S))
    return {"pairs": pairs, "seconds": BLOCK_S, "settle_s": 1.0, "seed": 1} if pairs >= 2 else None


@contextmanager
def _actuator(stage: _Stage, path: Path) -> Iterator[None]:
    command = ["actuator", "--config", stage.out / "actuator.yaml", "--socket", path, "--state", stage.out / "actuator"]
    with _child(stage, "actuator", [*command, "--simulate", stage.node.directory]) as process:
        _until(process, path.exists, "actuator", stage)
        yield


@contextmanager
def _agent(stage: _Stage) -> Iterator[subprocess.Popen[bytes]]:
    listen = stage.options.listen
    if stage.options.seconds is not None and _taken(listen):
        listen = listen.rpartition(":")[0] + ":0"
    command = ["agent", "--config", stage.out / "agent.yaml", "--state", stage.state, "--listen", listen]
    with _child(stage, "agent", [*command, "--simulate", stage.node.directory]) as process:
        _until(process, lambda: _find_url(stage), "agent", stage)
        yield process


def _find_url(stage: _Stage) -> bool:
    """The agent says in its log where it listens."""
    for word in (stage.out / "agent.log").read_text().split():
        if word.startswith("http://"):
            stage.url = word.rstrip(",").replace("//0.0.0.0:", "//127.0.0.1:")
            return True
    return False


def _watch(stage: _Stage, agent: subprocess.Popen[bytes], stopping: list[int]) -> None:
    options = stage.options
    _say(options, f"the agent serves {stage.url}")
    view = View(stage.serving["identity"], stage.names)
    screen = Screen(options.live and not options.as_json)
    end_s = None if options.seconds is None else time.monotonic() + options.seconds
    try:
        while not stopping and (end_s is None or time.monotonic() < end_s):
            time.sleep(1.0)
            if agent.poll() is not None:
                raise WattlensError(f"the agent ended with {agent.returncode}; see {stage.out / 'agent.log'}")
            try:
                page: Page = read_page(stage.url, time.monotonic())
            except OSError:
                continue  # not ready yet
            left = "serving" if end_s is None else f"{max(0, end_s - time.monotonic()):.0f} s left"
            if not options.as_json:
                screen.show(f"Wattlens demo, simulated node ({left})", view, page)
    finally:
        screen.close()


def _conclude(stage: _Stage, restored: bool) -> int:
    found = summary.summarise(stage.state)
    saving = _saving(stage)
    report = _report(stage, saving)
    files = _files(stage, report)
    ok = found.conserved and not found.chain_faults and restored
    if stage.options.as_json:
        print(json.dumps(_facts(found, saving, restored, files), indent=1, sort_keys=True))
        return 0 if ok else 1
    print(summary.text(found, stage.names))
    print("\nSteering (policy static: SM clock held at the knee, on and off in random order)")
    print(f"  {_saving_text(saving)}")
    print(f"  settings at the end: {'as found' if restored else 'NOT as found'}")
    print("\nWritten")
    for path, what in files.items():
        print(f"  {path}  {what}")
    return 0 if ok else 1


def _saving(stage: _Stage) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((stage.state / "savings.json").read_text())["serving"]
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _saving_text(saving: Mapping[str, Any]) -> str:
    ratio, slowdown = saving.get("saving_ratio"), saving.get("slowdown_ratio")
    if ratio is None or slowdown is None:
        return f"no saving can be told: {saving.get('reason') or 'no paired blocks were measured'}"
    return (
        f"J/token {100 * ratio['value']:.1f} % lower ({100 * ratio['low']:.1f} to {100 * ratio['high']:.1f} %), "
        f"time per token {100 * slowdown['value']:+.1f} % ({100 * slowdown['low']:+.1f} to {100 * slowdown['high']:+.1f} %), "
        f"{saving['pairs']} pairs; claimable {saving['claimable_uj'] / 1e6:,.0f} J"
    )


def _report(stage: _Stage, saving: Mapping[str, Any]) -> Path | None:
    """The interim report, where its libraries are installed."""
    command = [sys.executable, "-m", "wattlens", "report", "--ledger", str(stage.state), "--out", str(stage.out / "report")]
    saved = saving.get("saved_uj")
    if saved is not None and saving.get("slowdown_ratio") is not None:
        statement = {f"{k}_j": saved[v] / 1e6 for k, v in (("saved", "value"), ("low", "low"), ("high", "high"))}
        statement |= {"slowdown_ratio": saving["slowdown_ratio"]["value"], "method": "paired on/off blocks in random order"}
        (stage.out / "savings.json").write_text(json.dumps(statement))
        command += ["--savings", str(stage.out / "savings.json")]
    if stage.options.country:
        command += ["--country", stage.options.country]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 0:
        return stage.out / "report"
    print(f"no report: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}", file=sys.stderr)
    return None


def _files(stage: _Stage, report: Path | None) -> dict[str, str]:
    files = {
        str(stage.state / "segments"): "the ledger: hash-chained segments (gunzip and sha256sum suffice to check it)",
        str(stage.state / "journal.db"): "the journal, an SQLite database",
        str(stage.out / "agent.yaml"): "the agent's configuration",
        str(stage.out / "agent.log"): "its log",
    }
    if report is not None:
        files = {str(report / "index.html"): "interim report; facts.json and emissions.csv beside it"} | files
    return files


def _facts(found: summary.Summary, saving: Mapping[str, Any], restored: bool, files: Mapping[str, str]) -> dict[str, Any]:
    def bounds(pairs: Any) -> dict[str, dict[str, int]]:
        return {name: {"energy_uj": b.energy_uj, "low_uj": b.low_uj, "high_uj": b.high_uj} for name, b in pairs}

    return {
        "simulated": True,
        "devices": bounds(found.devices),
        "workloads": bounds(found.workloads),
        "unheld_uj": found.unheld_uj,
        "unattributed_uj": found.unattributed_uj,
        "total": bounds([("all", found.total)])["all"],
        "tokens": [{"workload": t.workload, "model": t.model, "tokens": t.tokens, "j_per_token": t.j_per_token,
                    "low": t.low, "high": t.high} for t in found.tokens],
        "conserved": found.conserved,
        "chain_faults": list(found.chain_faults),
        "saving": dict(saving),
        "settings_restored": restored,
        "files": dict(files),
    }  # fmt: skip


def _settings(node: SimulatedNode) -> list[tuple[int, tuple[int, int]]]:
    """Power limit and clock lock of each GPU, from the plant: not from anything of ours that set them."""
    with node.plant() as plant:
        truths = [plant.truth(i) for i in range(plant.count)]
        return [(t.power_limit_mw, t.locked_mhz) for t in truths]


@contextmanager
def _child(stage: _Stage, name: str, arguments: list[Any]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, asked to end at the end and ended by force if it will not."""
    with (stage.out / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wattlens", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until(process: subprocess.Popen[bytes], ready: Any, name: str, stage: _Stage) -> None:
    end_s = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > end_s:
            lines = (stage.out / f"{name}.log").read_text(errors="replace").strip().splitlines()
            raise WattlensError(f"the {name} did not start: {lines[-1] if lines else 'it said nothing'}")
        time.sleep(0.05)


def _taken(listen: str) -> bool:
    address, _, port = listen.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(port)))
        except OSError:
            return True
    return False


def _say(options: DemoOptions, line: str) -> None:
    print(line, file=sys.stderr if options.as_json else sys.stdout, flush=True)
