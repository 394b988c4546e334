"""The agent's readers and probers are frozen where SIGKILL does not end them, as processes that hang in the driver are."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hostile.rig import Attack, Rig
from benchmarks.running import children

FREEZER = Path("/sys/fs/cgroup/freezer")
LONGEST_S = 60.0


def run(rig: Rig) -> None:
    """Freeze each prober of one hung GPU while another recovers; then freeze every reader that the agent starts."""
    if not FREEZER.is_dir():
        rig.figures["skipped"] = "no freezer of cgroup v1, under which SIGKILL ends no process"
        return
    with rig.node.plant() as plant:
        hung, other = plant.uuid(5), plant.uuid(6)
        try:
            with _freezer() as freeze:
                plant.fault(5, "hang")
                plant.fault(6, "hang")
                stuck = _until(rig, lambda: _freeze_all(rig, freeze, lambda words: hung in words and "--probe" in words))
                rig.require("a prober was frozen", stuck)
                plant.clear(6, "hang")
                rig.require(
                    "a GPU returns while the prober of another cannot be killed", _until(rig, lambda: _is_up(rig, other))
                )
                plant.clear(5, "hang")
            rig.require("its GPU returns once the prober has ended", _until(rig, lambda: _is_up(rig, hung)))
            with _freezer() as freeze:
                frozen: set[int] = set()
                began_s = time.monotonic()
                while time.monotonic() - began_s < LONGEST_S and not _says(rig, "cannot be killed"):
                    frozen |= _freeze_all(rig, freeze, lambda words: "energy_agent.reader.main" in words)
                    time.sleep(0.02)
                time.sleep(5.0)
                frozen |= _freeze_all(rig, freeze, lambda words: "energy_agent.reader.main" in words)
                rig.figures["readers frozen"] = len(frozen)
                rig.require("two readers that cannot be killed are the most", len(frozen) == 2)
            rig.require("GPUs are read again once they have ended", _until(rig, lambda: _is_up(rig, hung)))
        finally:
            plant.clear(5)
            plant.clear(6)


@contextmanager
def _freezer() -> Iterator[Callable[[int], None]]:
    """Freezes processes; all of them go on, and get their SIGKILL, at the end."""
    folder = FREEZER / f"wattlens-hostile-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / "freezer.state").write_text("FROZEN")
        yield lambda pid: (folder / "cgroup.procs").write_text(str(pid)) and None
    finally:
        (folder / "freezer.state").write_text("THAWED")
        end_s = time.monotonic() + 10
        while (pids := (folder / "cgroup.procs").read_text().split()) and time.monotonic() < end_s:
            for pid in pids:
                (FREEZER / "cgroup.procs").write_text(pid)
        folder.rmdir()


def _freeze_all(rig: Rig, freeze: Callable[[int], None], wanted: Callable[[str], bool]) -> set[int]:
    frozen = set()
    for pid in children(rig.agent.pid):
        try:
            if wanted(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")):
                freeze(pid)
                frozen.add(pid)
        except OSError:
            continue  # it ended
    return frozen


def _until(rig: Rig, condition: Callable[[], object]) -> bool:
    end_s = time.monotonic() + LONGEST_S
    while time.monotonic() < end_s:
        if condition():
            return True
        time.sleep(0.05)
    rig.figures["last page"] = [line for line in _page(rig).splitlines() if "source_down_info{" in line]
    return False


def _page(rig: Rig) -> str:
    try:
        return rig.agent.fetch(timeout_s=5.0).decode()
    except OSError:
        return ""


def _is_up(rig: Rig, uuid: str) -> bool:
    lines = [line for line in _page(rig).splitlines() if line.startswith("wattlens_gpu_up{") and uuid in line]
    return bool(lines) and lines[0].endswith((" 1", " 1.0"))


def _says(rig: Rig, text: str) -> bool:
    return any(text in line for line in _page(rig).splitlines() if "source_down_info{" in line and 'source="nvml"' in line)


SPEC = Attack(
    name="frozen_children",
    summary="readers and probers hang where SIGKILL does not end them",
    run=run,
    injects_faults=True,
    needs_root=True,
)
