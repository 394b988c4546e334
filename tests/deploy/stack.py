"""The compose stack with images made from packages, none pulled; what its tests ask it, and the truth of the plant in it."""

import json
import os
import re
import shutil
import signal
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.engine import Engine, engine, import_build_image, make_wheels
from tests.support import eventually, free_port, need_program

HERE = Path(__file__).parent
BUILD, BASE = "wattlens-test/build", "wattlens-test/base"
IMAGES = {
    "WATTLENS_SIM_IMAGE": "wattlens-test/sim",
    "WATTLENS_IMAGE": "wattlens-test/agent",
    "WATTLENS_SITE_IMAGE": "wattlens-test/site",
    "WATTLENS_REPORT_IMAGE": "wattlens-test/report",
    "PROMETHEUS_IMAGE": "wattlens-test/prometheus",
    "VICTORIA_METRICS_IMAGE": "wattlens-test/victoria-metrics",
    "GRAFANA_IMAGE": "wattlens-test/no-grafana",
}
PORTS = {
    "agent": "WATTLENS_PORT",
    "site": "WATTLENS_SITE_PORT",
    "prometheus": "PROMETHEUS_PORT",
    "victoria-metrics": "VICTORIA_METRICS_PORT",
    "grafana": "GRAFANA_PORT",
}
SERVICES = ("node", *PORTS)
_PEERS = """FROM {base}
RUN ln -s /usr/bin/busybox /usr/bin/wget && install -d -o 65534 -g 65534 /prometheus
COPY prometheus promtool victoria-metrics /usr/bin/
"""
_STUB = """FROM {agent}
RUN ln -s /usr/bin/busybox /usr/bin/wget && install -d -o 472 -g 472 /var/lib/grafana
COPY grafana_stub.py /
USER 472
ENTRYPOINT ["python", "/grafana_stub.py"]
CMD []
HEALTHCHECK NONE
"""


@dataclass
class Stack:
    """The stack while it runs."""

    docker: Engine
    folder: Path
    ports: dict[str, int]

    def up(self) -> None:
        """Everything runs and is healthy."""
        words = ("up", "--detach", "--wait", "--wait-timeout", "120", "--pull", "never", "--no-build", "--quiet-pull")
        self.docker.compose(*words, timeout=150)

    def get(self, service: str, path: str) -> str:
        """A page of a service by the port that it is published on."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[service]}{path}", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def query(self, expression: str, store: str = "prometheus", **more: str) -> list[dict[str, Any]]:
        """An instant query's result."""
        asked = urllib.parse.urlencode({"query": expression, **more})
        result: list[dict[str, Any]] = json.loads(self.get(store, f"/api/v1/query?{asked}"))["data"]["result"]
        return result

    def value(self, expression: str, store: str = "prometheus", **more: str) -> float:
        """Return the only value of an instant query, or 0 while it has no result."""
        result = self.query(expression, store, **more)
        return float(result[0]["value"][1]) if result else 0.0

    def booked_j(self) -> float:
        """What the agent's page says of the energy of all GPUs."""
        lines = re.findall(r"^wattlens_gpu_energy_joules_total\{.*\} (\S+)$", self.get("agent", "/metrics"), re.M)
        assert lines
        return sum(map(float, lines))

    def published_j(self) -> float:
        """Energy that the counters of the plant's GPUs showed since it was made, in J."""
        return float(sum(gpu["sensed_j"] for gpu in self.status()["gpus"]))

    def status(self) -> dict[str, Any]:
        """Truth of node and building."""
        node_status: dict[str, Any] = json.loads(
            self.docker.compose("exec", "-T", "node", "wattlens", "sim", "status", "--dir", "/sim/node", "--json")
        )
        return node_status

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container."""
        (details,) = json.loads(self.docker.run("inspect", f"wattlens-test-{service}-1"))
        return dict(details)

    def healthy(self, service: str) -> bool:
        """Running, and healthy by its own check."""
        state = self.inspect(service)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")

    def crash(self, service: str) -> None:
        """Kill the main process of a container as the kernel would, behind the engine's back."""
        os.kill(self.inspect(service)["State"]["Pid"], signal.SIGKILL)

    def build(self, target: str) -> None:
        """An image of the repository's recipe."""
        self.docker.run(
            "build", "--quiet", "--network", "none", "--file", "deploy/container/Dockerfile", "--target", target,
            "--tag", f"wattlens-test/{target}", "--build-context", f"wheels={self.folder / 'wheels'}",
            "--build-arg", f"BASE_IMAGE={BASE}", "--build-arg", f"BUILD_IMAGE={BUILD}", ".", timeout=900,
        )  # fmt: skip

    def build_own(self, tag: str, recipe: str, *files: str | Path) -> None:
        """An image of the test's own."""
        context = self.folder / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(recipe)
        for file in files:
            shutil.copy(file, context)
        self.docker.run("build", "--quiet", "--network", "none", "--tag", tag, context)
        shutil.rmtree(context)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """An engine, the images, and the stack up; everything ends with it."""
    for program in ("dockerd", "docker", "mmdebstrap", "prometheus", "promtool", "victoria-metrics"):
        need_program(program)
    if os.geteuid() != 0:
        pytest.skip("a Docker engine of one's own needs root")
    ports = {service: free_port() for service in PORTS}
    environ = IMAGES | {PORTS[service]: str(port) for service, port in ports.items()}
    with engine(folder, environ) as docker:
        deployment = Stack(docker, folder, ports)
        with ThreadPoolExecutor() as pool:
            base = pool.submit(import_build_image, docker, folder, BUILD)
            wheels = pool.submit(make_wheels, folder / "wheels", "3.13", "facility")
            for each in (base, wheels):
                each.result()
        deployment.build_own(BASE, f"FROM {BUILD}\nRUN apt-get purge -y gcc libc6-dev && apt-get autoremove -y\n")
        for target in ("agent", "site", "sim"):
            deployment.build(target)
        programs = [need_program(name) for name in ("prometheus", "promtool", "victoria-metrics")]
        deployment.build_own("wattlens-test/peers", _PEERS.format(base=BASE), *programs)
        start = 'FROM wattlens-test/peers\n{}ENTRYPOINT ["/usr/bin/{}"]\n'
        deployment.build_own(IMAGES["PROMETHEUS_IMAGE"], start.format("USER 65534\n", "prometheus"))
        deployment.build_own(IMAGES["VICTORIA_METRICS_IMAGE"], start.format("", "victoria-metrics"))
        deployment.build_own(IMAGES["GRAFANA_IMAGE"], _STUB.format(agent=IMAGES["WATTLENS_IMAGE"]), HERE / "grafana_stub.py")
        try:
            deployment.up()
            eventually(lambda: deployment.value("count(up == 1)") == 2, every=0.5)
            yield deployment
        finally:
            docker.compose("down", "--volumes", "--timeout", "3")
