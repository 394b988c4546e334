"""The demo as a process of its own: ended by Ctrl-C, by SIGKILL, by the death of its node. Nothing of it stays behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from energy_agent.ledger.rows.uncertainty import Bounds
from energy_agent.sim.node import SimulatedNode
from tests.support import eventually, said_here
from wattlens.cli import main
from wattlens.demo import result
from wattlens.summary import EnergyShares, LedgerSummary, TokenCost

pytestmark = pytest.mark.timeout(360)


def _processes(folder: Path) -> list[int]:
    """Processes that name the folder in their command line, the demo itself left out."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"{folder}/".encode() in command:
                pids.append(int(entry.name))
    return pids


class Demo:
    """One run. Its stdout and stderr go to files, as a pipe that nobody reads would stop it."""

    def __init__(self, folder: Path, temporary: Path, *arguments: str) -> None:
        self.out, self.stdout_path, self.complained = folder / "out", folder / "stdout", folder / "stderr"
        self.temporary = temporary
        command = [sys.executable, "-m", "wattlens", "demo", "--out", str(self.out), *arguments]
        with self.stdout_path.open("wb") as stdout_file, self.complained.open("wb") as complained:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout_file,
                stderr=complained,
                start_new_session=True,
                env=os.environ | {"TMPDIR": str(temporary)},
            )

    @property
    def run(self) -> Path:
        (folder,) = self.out.iterdir()
        return folder

    def await_metering(self) -> None:
        """Until the agent has published and the actuator has set something."""
        eventually(lambda: self.out.is_dir() and any(self.out.glob("*/state/journal.db")))
        eventually(lambda: " ok: knee (static)" in (self.run / "agent.log").read_text())


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    # A short name: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="w-") as temporary, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()  # the port that the demo wants is taken
        run = Demo(tmp_path, Path(temporary), "--for", "600s", "--json", "--listen", f"127.0.0.1:{holder.getsockname()[1]}")
        try:
            yield run
        finally:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()


@pytest.mark.smoke
def test_ctrl_c_ends_it_in_order_with_a_summary(demo: Demo) -> None:
    demo.await_metering()
    os.killpg(demo.process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    assert demo.process.wait(180) == 0, demo.complained.read_text()
    summary = json.loads(demo.stdout_path.read_text())
    assert summary["conserved"]
    assert summary["settings_restored"]
    assert summary["chain_faults"] == []
    assert summary["total"]["energy_uj"] > 0
    assert len(summary["workloads"]) == 3
    assert all(Path(path).exists() for path in summary["files"])
    assert "is in use; the agent listens on another port" in demo.complained.read_text()
    eventually(lambda: not _processes(demo.out))
    assert list(demo.temporary.iterdir()) == []


def _settings(demo: Demo) -> set[tuple[int, tuple[int, int]]]:
    """Power limit and clock lock of all GPUs, from what is left of the plant."""
    with SimulatedNode(demo.run / "node").plant() as plant:
        truths = [plant.truth(gpu) for gpu in range(plant.count)]
        return {(t.power_limit_mw, t.locked_mhz) for t in truths}


def test_sigkill_takes_its_processes_along_and_the_settings_go_back(demo: Demo) -> None:
    demo.await_metering()
    eventually(lambda: len(_settings(demo)) == 2)  # blocks of control lie between those that are steered
    demo.process.kill()
    demo.process.wait()
    eventually(lambda: not _processes(demo.out))
    assert len(_settings(demo)) == 1  # the steered ones are again as those that nobody ever touched
    assert main(["ledger", "verify", str(demo.run / "state")]) == 0


@pytest.mark.smoke
def test_a_node_that_dies_ends_it_in_one_line(demo: Demo) -> None:
    demo.await_metering()
    os.kill(SimulatedNode(demo.run / "node").state()["pid"], signal.SIGKILL)
    assert demo.process.wait(120) == 1
    line = demo.complained.read_text().splitlines()[-1]
    assert line.startswith("wattlens: the simulated node exited")
    assert "Traceback" not in demo.complained.read_text()
    eventually(lambda: not _processes(demo.out))
    assert main(["ledger", "verify", str(demo.run / "state")]) == 0


def test_unavailable_listen_address_ends_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        here = f"127.0.0.1:{holder.getsockname()[1]}"
        for arguments, where in (["--serve"], here), ([], "192.0.2.1:9479"), ([], "no-such-host.invalid:9479"):
            assert main(["demo", "--out", str(tmp_path / "out"), "--listen", where, *arguments]) == 1
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"wattlens: --listen {where}: ")
    assert not (tmp_path / "out").exists()


def test_an_unknown_scenario_is_named(tmp_path: Path) -> None:
    done = said_here("demo", "--out", tmp_path / "out", "--scenario", "no-such-node")
    assert (done.returncode, done.stderr.count("\n"), "no-such-node" in done.stderr) == (2, 1, True)


def _result(**changes: object) -> result.DemoResult:
    bounds = Bounds(98_765_432_000_000, 90_000_000_000_000, 107_000_000_000_000, 1, 1, 0)
    tokens = (TokenCost("job", "org/a-model-with-a-name", 123_456_789, 1.2345, 1.1, 1.3),)
    gpus = EnergyShares((("GPU-0", bounds),), (("job", bounds),), 5, 0, 98_765_432_000_005)
    ledger_summary = LedgerSummary(gpus, bounds, tokens, (), 1)
    ratio = {"value": 0.25, "lower": -0.05, "upper": 0.55}
    saving = {"saving_ratio": ratio, "slowdown_ratio": ratio, "slowdown_of": "latency", "pairs": 5, "claimable_uj": 1}
    values = {
        "ledger_summary": ledger_summary,
        "names": {"GPU-0": "GPU 0"},
        "saving": saving,
        "restored": True,
        "out": Path("/o"),
        "files": {},
    }
    return result.DemoResult(**(values | changes))  # type: ignore[arg-type]


def test_the_text_fits_80_columns_and_claims_no_more_than_is_known() -> None:
    text = result.text(_result())
    assert max(map(len, text.splitlines())) <= 80
    assert "bounds, not a 95 % interval" in text
    assert "time between tokens" in text
    assert "(95 % interval -5.0 to 55.0 %)" in text
    assert "original settings: restored" in text


def test_a_loss_is_called_higher() -> None:
    lost = {
        "saving_ratio": {"value": -0.1, "lower": -0.2, "upper": 0.05},
        "slowdown_ratio": {"value": 0, "lower": 0, "upper": 0},
    }
    lines = result.saving_lines(lost | {"pairs": 4, "claimable_uj": 0})
    assert lines[0].endswith("10.0 % higher (95 % interval -5.0 to 20.0 %)")


@pytest.mark.parametrize("broken", ["restored", "chain", "conserved"])
def test_whatever_does_not_add_up_fails_the_run(broken: str) -> None:
    good = _result()
    assert good.ok
    bad = {
        "restored": replace(good, restored=False),
        "chain": replace(good, ledger_summary=replace(good.ledger_summary, chain_faults=("x: is missing",))),
        "conserved": replace(
            good, ledger_summary=replace(good.ledger_summary, gpus=replace(good.ledger_summary.gpus, counters_uj=1))
        ),
    }[broken]
    assert not bad.ok
    assert {"restored": "original settings: NOT restored", "chain": "x: is missing", "conserved": "!="}[broken] in result.text(
        bad
    )
