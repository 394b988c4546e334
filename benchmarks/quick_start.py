"""The quick start of docs/kubernetes.md, run as written on a real cluster: time of each step, until dashboards show figures.

`python -m benchmarks quick_start [--out FOLDER] [--images-archive FILE]`, as root, with WATTLENS_PEERS. The cluster is a
Kubernetes node of its own with simulated GPUs (tests/peers/kube), on which three inference servers run already. The clock
starts at the first command of the page, with the product's image on the node as after a pull; the pull itself is not included.
A real Prometheus with the configuration of docs/grafana.md scrapes the agent. The dashboards are those of the chart, drawn by
Grafana's own packages in a browser into FOLDER.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from benchmarks.runner import Row, say
from energy_agent.core.errors import UsageError
from tests.peers.kube import images
from tests.peers.kube.cluster import NODE, ROOT, Cluster, CommandError, cluster, load, need_cluster
from tests.support import eventually, free_port, is_listening, need_peer, need_program

BAR_MIN: Final = 10.0
SHOWN: Final = timedelta(minutes=3)
BOARDS: Final = ("wattlens-gpu", "wattlens-inference", "wattlens-fleet")
PROMETHEUS: Final = "http://127.0.0.1:9090"
_NAMED: Final = {"metadata": {"name": "nvidia"}, "handler": "nvidia"}
RUNTIME_CLASS: Final = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", **_NAMED}
EXPECTED: Final = (
    "wattlens_gpu_power_watts",
    "instance_workload:wattlens_workload_energy_joules:rate5m",
    "instance_workload_model:wattlens_joules_per_token:ratio_rate5m",
)
"""What Prometheus has before a person finds all figures on the dashboards."""


def run(out: str = "quick-start", images_archive: str = "") -> Iterator[Row]:
    """Draw dashboards into `out`; `images_archive` is one that an earlier run built, else it is built first."""
    pictures = Path(out).absolute()
    if pictures.exists():
        raise UsageError(f"--out: {pictures} exists; name a new folder")
    try:
        need_cluster()
        for program in ("chromium", "curl", "node", *(() if images_archive else ("dockerd", "docker", "mmdebstrap"))):
            need_program(program)
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        raise UsageError(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="wattlens-quick-start-") as name:
        folder = Path(name)
        archive = Path(images_archive) if images_archive else _build(folder / "images")
        with cluster(folder / "node") as node:
            load(node, archive)
            _prepare(node)
            began = time.monotonic()
            yield from _install(node, pictures, began)
            end = datetime.now(UTC)
    yield from _draw_all(pictures, began, end)  # a cluster that ends has network interfaces, which disturb a browser


def _build(folder: Path) -> Path:
    say("building the images, which takes minutes")
    folder.mkdir()
    return images.build(folder)


def _prepare(node: Cluster) -> None:
    """What a user's cluster has: the node's label, the runtime class, and pods with GPUs."""
    node.kubectl("label", "node", NODE, "nvidia.com/gpu.present=true", "--overwrite")
    node.apply(RUNTIME_CLASS)
    node.kubectl("apply", "--filename", ROOT / "tests/peers/kube/serving.yaml")
    node.kubectl("--namespace", "serving", "rollout", "status", "deployment/chat")


def commands(page: str) -> list[list[str]]:
    """Commands of the shell blocks that a page marks as run here, block by block, with this cluster's names."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"<!-- run by: tests/peers/test_kubernetes.py -->\n```sh\n(.*?)```", text, re.S)
    for word, name in {"REGISTRY": images.REGISTRY, "NAMESPACE": "serving", "NAME": "chat"}.items():
        blocks = [re.sub(rf"\b{word}\b", name, block) for block in blocks]
    lines = [block.replace("\\\n", " ").splitlines() for block in blocks]
    return [[line for line in block if not line.startswith("docker ")] for block in lines]


def _install(node: Cluster, pictures: Path, began: float) -> Iterator[Row]:
    look, set_up, see, annotate, *_ = commands("kubernetes.md")
    for line in (*look, *set_up, "\n".join(see), *annotate):
        start = time.monotonic()
        screen = node.shell(line)
        yield _row(line.splitlines()[-1], start, began, _last_line(screen))
    start = time.monotonic()
    upgrade = "helm upgrade wattlens deploy/helm/wattlens --namespace wattlens --reset-then-reuse-values"
    upgrade += " --set dashboards.enabled=true"
    node.shell(upgrade)
    maps = node.objects("configmaps", "--namespace", "wattlens", "--selector", "grafana_dashboard=1")
    yield _row(upgrade, start, began, f"{len(maps)} ConfigMaps with dashboards")
    start = time.monotonic()
    with _scraping(node, pictures / "prometheus"):
        for expression in EXPECTED:
            eventually(lambda query=expression: _query(node, query), 300, 1)
        yield _row("prometheus with the configuration of docs/grafana.md", start, began, f"values of {len(EXPECTED)} queries")


def _draw_all(pictures: Path, began: float, end: datetime) -> Iterator[Row]:
    minutes = 0.0
    with _serving(pictures / "prometheus") as url:
        for number, board in enumerate(BOARDS):
            start = time.monotonic()
            panels, empty, errors = draw(board, url, pictures, end)
            minutes = minutes if number else (time.monotonic() - began) / 60
            screen = f"{panels} panels; empty: {', '.join(empty) or 'none'}; errors: {', '.join(errors) or 'none'}"
            yield _row(f"dashboard {board} in a browser", start, began, screen, not errors and panels > len(empty))
    yield {"minutes_to_the_first_dashboard": minutes, "bar": BAR_MIN, "ok": minutes <= BAR_MIN}


def _row(step: str, start: float, began: float, screen: str, is_good: bool = True) -> Row:
    now = time.monotonic()
    row = {"step": step[:100], "seconds": now - start, "since_start_s": now - began, "on_screen": screen[:300], "ok": is_good}
    say(json.dumps(row))
    return row


def _last_line(screen: str) -> str:
    lines = [line.strip() for line in screen.splitlines() if line.strip()]
    return lines[-1] if lines else ""


@contextmanager
def _scraping(node: Cluster, home: Path) -> Iterator[None]:
    """A Prometheus in the cluster's network, whose target is the agent's pod."""
    (pod,) = node.objects("pods", "--namespace", "wattlens", "--selector", "app.kubernetes.io/name=wattlens-agent")
    text = (ROOT / "docs/grafana.md").read_text()
    block = re.search(r"```yaml\n(scrape_configs:.*?)```", text, re.S)
    if block is None:
        raise UsageError("docs/grafana.md: expected a configuration of Prometheus")
    home.mkdir(parents=True)
    (home / "prometheus.yml").write_text(block[1].replace("gpu-node-1:9479", f"{pod['status']['podIP']}:9479"))
    for name in ("rules", "alerts"):
        source = ROOT / f"dashboards/prometheus/wattlens-{name}.yml"
        (home / source.name).write_text(source.read_text())
    arguments = (f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}")
    with (home / "log").open("wb") as log:
        listening = ("--web.listen-address=127.0.0.1:9090", "--web.enable-lifecycle")
        process = subprocess.Popen(node.command(need_peer("prometheus"), *arguments, *listening), stdout=log, stderr=log)
    try:
        yield
    finally:
        node.run("curl", "--silent", "--request", "POST", f"{PROMETHEUS}/-/quit")
        process.wait(60)


def _query(node: Cluster, expression: str) -> bool:
    """Whether Prometheus has a value."""
    command = ("curl", "--silent", "--get", f"{PROMETHEUS}/api/v1/query", "--data-urlencode", f"query={expression}")
    try:
        return bool(json.loads(node.run(*command))["data"]["result"])
    except (ValueError, KeyError, CommandError):  # it is starting
        return False


def _iso(time_utc: datetime) -> str:
    return time_utc.isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _serving(home: Path) -> Iterator[str]:
    """Address of a Prometheus on this machine that serves what that of the cluster has stored.

    A browser on this machine has no way into the cluster's network.
    """
    (home / "stored.yml").write_text("{}")
    port = free_port()
    arguments = (f"--config.file={home / 'stored.yml'}", f"--storage.tsdb.path={home / 'data'}")
    with (home / "stored.log").open("wb") as log:
        command = [str(need_peer("prometheus")), *arguments, f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: is_listening(port), 60, 0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def draw(board: str, url: str, pictures: Path, end: datetime) -> tuple[int, list[str], list[str]]:
    """Number of panels drawn, titles of empty ones, and errors; `end` is that of the time shown."""
    command = [sys.executable, "-m", "tests.dashboards.render", "--out", str(pictures), "--board", board, "--theme", "light"]
    command += ["--width", "1280", "--span", _iso(end - SHOWN), "--until", _iso(end), "--prometheus", url]
    drawn = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    path = pictures / f"{board}-light-1280.json"
    if not path.exists():
        return 0, [], [drawn.stderr[-300:]]
    report = json.loads(path.read_text())
    panels = report.get("panels", [])
    empty = [panel["title"] for panel in panels if not panel["series"] and not panel["rows"]]
    errors = [*report["console"], *filter(None, [report.get("failure")]), *(e for panel in panels for e in panel["errors"])]
    return len(panels), empty, errors
