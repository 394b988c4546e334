"""Prometheus puts the user's labels on every series: by the configuration in the docs and by the PodMonitors' relabelings.

A pod and its node are a target with the labels that discovery would give it: Prometheus of the peers has no discovery.
"""

import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import manifests
from tests.deploy.kubernetes_tools import need_tools
from tests.support import eventually, free_port, need_peer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
DISCOVERED = {
    "__meta_kubernetes_namespace": "wattlens",
    "__meta_kubernetes_pod_name": "wattlens-agent-x7k2p",
    "__meta_kubernetes_pod_node_name": "gpu-node-1",
    "__meta_kubernetes_pod_container_port_name": "metrics",
    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "wattlens-agent",
    "__meta_kubernetes_node_label_topology_example_com_rack": "r12",
}
LABELS = {"job": "wattlens", "instance": "gpu-node-1", "site": "fra1", "rack": "r12"}


def target_labels(folder: Path, scrape: dict[str, Any]) -> dict[str, str]:
    """Labels of the target after a real Prometheus relabelled it."""
    port = free_port()
    targets = [{"targets": [f"127.0.0.1:{port}"], "labels": DISCOVERED}]
    (folder / "targets.json").write_text(json.dumps(targets))
    scrape |= {"file_sd_configs": [{"files": ["targets.json"]}]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    command = [
        need_peer("prometheus"), "--config.file=prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:

        def active() -> list[Any]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=5) as reply:
                    return list(json.load(reply)["data"]["activeTargets"])
            except OSError:
                return []

        (target,) = eventually(active, 60, 0.2)
        return dict(target["labels"])
    finally:
        process.kill()
        process.wait(10)


def test_the_configuration_in_the_docs(tmp_path: Path) -> None:
    text = (ROOT / "docs/kubernetes.md").read_text()
    (block,) = re.findall(r"<!-- run by: tests/peers/test_series_labels.py -->\n```yaml\n(.*?)```", text, re.S)
    (scrape,) = yaml.safe_load(block)["scrape_configs"]
    del scrape["kubernetes_sd_configs"]
    assert target_labels(tmp_path, scrape) == LABELS


def test_the_relabelings_of_the_chart(tmp_path: Path) -> None:
    helm, _ = need_tools()
    values = {"podMonitor": {"enabled": True, "seriesLabels": {"site": "fra1", "note": "$1 $$"},
                             "nodeLabels": {"rack": "topology.example.com/rack"}}}  # fmt: skip
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    text = manifests.template(helm, "--values", tmp_path / "values.yaml", "--show-only", "templates/monitoring/podmonitor.yaml")
    (monitor,) = yaml.safe_load_all(text)
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    names = {"targetLabel": "target_label", "sourceLabels": "source_labels"}  # the operator writes the same in snake case
    rules = [{names.get(key, key): value for key, value in rule.items()} for rule in endpoint["relabelings"]]
    # The operator's own rules come first, and add labels that the chart drops again.
    operator_rules = [{"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
           {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"}]  # fmt: skip
    assert target_labels(tmp_path, {"job_name": "any", "relabel_configs": operator_rules + rules}) == LABELS | {"note": "$1 $$"}
