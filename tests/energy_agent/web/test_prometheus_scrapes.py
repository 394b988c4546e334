"""A real Prometheus scrapes the real agent process over mutual TLS with basic auth, also while its certificate is renewed."""

import json
import math
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.running import AgentProcess
from energy_agent.sim.node import SimulatedNode
from tests.certificates import Authority, hashed
from tests.support import eventually, free_port, need_program

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(240)]
TOKEN = "0123456789-abcdefghij"


def prometheus_config(folder: Path, target: str) -> dict[str, Any]:
    """Four jobs on one agent: with certificate and password, certificate and token, and each half alone."""
    mutual = {
        "ca_file": str(folder / "ca.pem"),
        "cert_file": str(folder / "scraper.pem"),
        "key_file": str(folder / "scraper.key"),
    }
    password = {"username": "prometheus", "password_file": str(folder / "password")}
    jobs: dict[str, dict[str, Any]] = {
        "whole": {"tls_config": mutual, "basic_auth": password},
        "token": {"tls_config": mutual, "authorization": {"credentials_file": str(folder / "token")}},
        "no-certificate": {"tls_config": {"ca_file": mutual["ca_file"]}, "basic_auth": password},
        "wrong-password": {"tls_config": mutual, "basic_auth": {"username": "prometheus", "password": "guess"}},
    }
    static = {"scheme": "https", "static_configs": [{"targets": [target]}]}
    return {
        "global": {"scrape_interval": "5s", "scrape_timeout": "5s"},
        "scrape_configs": [{"job_name": name, **static, **job} for name, job in jobs.items()],
    }


@pytest.mark.smoke
def test_prometheus_over_mutual_tls_and_basic_auth(tmp_path: Path) -> None:
    program = need_program("prometheus")
    authority = Authority(tmp_path)
    authority.issue("server", "IP:127.0.0.1")
    authority.issue("scraper", "DNS:prometheus.example")
    (tmp_path / "password").write_text("right")
    for name in ("token", "web.yml"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "token").write_text(TOKEN)
    web = {
        "tls_server_config": {
            "cert_file": "server.pem", "key_file": "server.key", "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": "ca.pem", "client_allowed_sans": ["prometheus.example"],
        },
        "basic_auth_users": {"prometheus": hashed("right", cost=10)},
    }  # fmt: skip
    (tmp_path / "web.yml").write_text(yaml.safe_dump(web))
    probe_port = free_port()
    section = {"bearer_token_file": str(tmp_path / "token"), "probe_listen": f"127.0.0.1:{probe_port}"}
    (tmp_path / "agent.yaml").write_text(yaml.safe_dump({"web": {**section, "config_file": str(tmp_path / "web.yml")}}))
    port = free_port()
    with SimulatedNode.start("h100-node", tmp_path / "node") as node:
        agent = AgentProcess(node.directory, tmp_path / "state", tmp_path / "agent.yaml")
        agent.start()
        try:
            assert agent.url.startswith("https://")
            target = agent.url.removeprefix("https://").partition("/")[0]
            config = tmp_path / "prometheus.yml"
            config.write_text(yaml.safe_dump(prometheus_config(tmp_path, target)))
            with (tmp_path / "prometheus.log").open("wb") as log:
                command = [program, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb",
                           f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
                prometheus = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                _watched(port, probe_port, authority, tmp_path, agent)
            finally:
                prometheus.terminate()
                prometheus.wait(60)
        finally:
            agent.stop()


def _watched(port: int, probe_port: int, authority: Authority, folder: Path, agent: AgentProcess) -> None:
    def ask(expression: str) -> dict[str, float]:
        url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return {r["metric"].get("job", ""): float(r["value"][1]) for r in json.load(answer)["data"]["result"]}
        except OSError:
            return {}

    def probe(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{probe_port}{path}", timeout=60) as answer:
            body: bytes = answer.read()
            return body

    up = {"whole": 1.0, "token": 1.0, "no-certificate": 0.0, "wrong-password": 0.0}
    eventually(lambda: ask("up") == up)
    all_up_s = time.time()
    eventually(lambda: ask("sum by (job) (wattlens_gpu_up)") == {"whole": 8.0, "token": 8.0})
    assert probe("/healthz") == probe("/readyz") == b"ok\n"

    reloaded = "wattlens_config_last_reload_successful"
    eventually(lambda: set(ask(reloaded).values()) == {1.0})
    (folder / "server.key.new").write_text("half of a renewal")
    (folder / "server.key.new").replace(folder / "server.key")
    eventually(lambda: set(ask(reloaded).values()) == {0.0})
    eventually(lambda: ask("up") == up)
    assert agent.log().count("web configuration not reloaded, the previous one stays in use") == 1
    authority.issue("server", "IP:127.0.0.1")
    eventually(lambda: set(ask(reloaded).values()) == {1.0})
    eventually(lambda: ask("up") == up)
    assert ask(f"min_over_time(up{{job='whole'}}[{math.ceil(time.time() - all_up_s)}s])") == {"whole": 1.0}
