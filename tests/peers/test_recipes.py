"""The recipes of docs/recipes.md on a real API server and a real Prometheus; KEDA's and Kueue's controllers do not run.

The API server validates strictly: an unknown or misspelt field is refused. The script of the CronJob runs as the CronJob would
run it, with the real kubectl.
"""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from dashboards.build.shipped import load_dashboards
from dashboards.rules import rules
from deploy import manifests
from energy_agent.core.catalogue.node import CATALOGUE
from tests.deploy.kubernetes_tools import need_tools
from tests.deploy.npm_models import install_models
from tests.peers.kube import recipe_crds
from tests.peers.kube.api_server import ApiServer
from tests.support import eventually, free_port, need_peer, need_program

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/examples/kubernetes"
INTENSITY = "wattlens_grid_carbon_intensity_grams_per_kilowatt_hour"
NIGHT_S = 1780282800
"""NOW_LOW in seconds."""
REPLICAS = (
    ("wattlens_requests_running", ',model="llama-70b"', 60, 60),
    ("wattlens_requests_waiting", ',model="llama-70b"', 40, 32),
    (
        "instance_workload_model:wattlens_time_to_first_token_seconds:quantile_rate5m",
        ',model="llama-70b",quantile="0.9"',
        0.4,
        1.1,
    ),
    ("instance_workload:wattlens_gpu_power_watts:sum", "", 4100, 3900),
    ("wattlens_workload_info", ',namespace="serving",owner="Deployment/chat"', 1, 1),
)
"""Series of two replicas at NIGHT_S: name, labels, and the value of each."""
NOW_LOW, NOW_HIGH = "2026-06-01T03:00:00Z", "2026-06-01T18:00:00Z"


def objects(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    for program in ("etcd", "curl"):
        need_program(program)
    for peer in ("kube-apiserver", "kubectl"):
        need_peer(peer)
    running = ApiServer(tmp_path_factory.mktemp("api"))
    try:
        running.wait()
        for namespace in ("serving", "research"):
            running.kubectl("create", "namespace", namespace)
        running.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(recipe_crds.definitions()))
        names = [f"crd/{definition['metadata']['name']}" for definition in recipe_crds.definitions()]
        running.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """URL of a Prometheus whose grid was at 300 g for a week, then at 100 g at three at night and at 400 g in the evening."""
    folder = tmp_path_factory.mktemp("prometheus")
    start = 1779667200  # 2026-05-25T00:00:00Z
    lines = []
    for minute in range(0, 8 * 24 * 60, 15):
        value = 100 if minute == (7 * 24 + 3) * 60 else 400 if minute == (7 * 24 + 18) * 60 else 300
        lines.append(f'{INTENSITY}{{zone="GB",basis="direct"}} {value} {start + minute * 60}')
    families = [f"# TYPE {INTENSITY} gauge", *lines]
    for name, labels, first, second in REPLICAS:
        of_replica = 'cluster="a",job="wattlens",instance="n1",workload="serving/chat'
        families += [f"# TYPE {name} gauge"]
        families += [f'{name}{{{of_replica}-{n}"{labels}}} {value} {NIGHT_S}' for n, value in ((1, first), (2, second))]
    (folder / "samples").write_text("\n".join([*families, "# EOF"]) + "\n")
    create = [need_peer("promtool"), "tsdb", "create-blocks-from", "openmetrics", "samples", "data"]
    subprocess.run(create, cwd=folder, check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("{}\n")
    port = free_port()
    command = [
        need_peer("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
        "--storage.tsdb.retention.time=10y", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: query(url, "up") is not None, 60, 0.2)
        yield url
    finally:
        process.kill()
        process.wait(10)


def query(url, expr, **parameters):
    """Reply to an instant query; None while the server starts."""
    parameters = urllib.parse.urlencode({"query": expr} | parameters)
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=10) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        return None if error.code == 503 else json.load(error)
    except OSError:
        return None


@pytest.mark.parametrize("name", ["keda.yaml", "kueue.yaml", "carbon-start.yaml"])
def test_the_api_server_accepts_the_manifests(server, name):
    applied = server.kubectl("apply", "--validate=strict", "--filename", FOLDER / name)
    assert applied.count("created") + applied.count("unchanged") == len(objects(name))


def test_the_api_server_refuses_misspelt_fields(server):
    for name, field, wrong in (("keda.yaml", "formula:", "formulas:"), ("kueue.yaml", "nominalQuota: 40000", "quota: 40000")):
        text = (FOLDER / name).read_text().replace(field, wrong, 1)
        assert wrong.partition(":")[0] in server.kubectl(
            "apply", "--validate=strict", "--filename", "-", stdin=text, fails=True
        )
    short = (FOLDER / "kueue.yaml").read_text().replace("[wattlens.io/gpu-watts]", "[wattlens.io/gpu-watts, cpu]")
    assert "same number of resources" in server.kubectl("apply", "--filename", "-", stdin=short, fails=True)


def test_kedas_published_schema_accepts_the_scaled_object():
    (scaled,) = objects("keda.yaml")
    wrong = deepcopy(scaled)
    wrong["spec"]["advanced"]["scalingModifiers"]["target"] = 1
    command = [need_program("node"), ROOT / "tests/peers/keda_models.mjs", install_models("keda", "2.0.0")]
    text = json.dumps([scaled, wrong])
    lines = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "ok"
    assert "target must be string" in lines[1]


def test_quota_and_transformation_name_the_same_resource():
    (configuration,) = objects("kueue-configuration.yaml")
    (transformation,) = configuration["resources"]["transformations"]
    (queue,) = [o for o in objects("kueue.yaml") if o["kind"] == "ClusterQueue"]
    covered = [name for group in queue["spec"]["resourceGroups"] for name in group["coveredResources"]]
    assert covered == [transformation["input"], *transformation["outputs"]]
    flavors = {flavor["name"] for group in queue["spec"]["resourceGroups"] for flavor in group["flavors"]}
    assert flavors == {o["metadata"]["name"] for o in objects("kueue.yaml") if o["kind"] == "ResourceFlavor"}


def queries():
    (scaled,) = objects("keda.yaml")
    yield from (trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"])
    (cron,) = [o for o in objects("carbon-start.yaml") if o["kind"] == "CronJob"]
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    yield next(variable["value"] for variable in container["env"] if variable["name"] == "QUERY")
    yield from re.findall(r"```promql\n(.*?)```", (ROOT / "docs/recipes.md").read_text(), re.S)


def test_every_query_is_accepted_and_names_known_metrics(prometheus):
    metrics = {signal.metric for signal in CATALOGUE} | {rule.record for group in rules.groups() for rule in group.rules}
    assert load_dashboards()
    for expr in queries():
        assert set(re.findall(r"\b(?:[a-z_]+:)?wattlens_[a-z0-9_:]+\b", expr)) <= metrics
        assert query(prometheus, expr)["status"] == "success", expr


def test_a_budget_without_readings_limits_nothing(prometheus):
    (scaled,) = objects("keda.yaml")
    triggers = {trigger["name"]: trigger["metadata"] for trigger in scaled["spec"]["triggers"]}
    (budget,) = query(prometheus, triggers["budget"]["query"])["data"]["result"]
    assert float(budget["value"][1]) == scaled["spec"]["maxReplicaCount"]
    assert query(prometheus, triggers["queue"]["query"])["data"]["result"] == [], "which KEDA takes as an error, not as 0"
    assert triggers["queue"]["ignoreNullValues"] == "false"
    names = set(re.findall(r"[a-z]+", scaled["spec"]["advanced"]["scalingModifiers"]["formula"])) - {"min", "max"}
    assert names == triggers.keys()


def test_a_power_budget_limits_the_replicas_that_load_needs(prometheus):
    (scaled,) = objects("keda.yaml")
    values = {}
    for trigger in scaled["spec"]["triggers"]:
        (sample,) = query(prometheus, trigger["metadata"]["query"], time=NIGHT_S)["data"]["result"]
        values[trigger["name"]] = float(sample["value"][1])
    assert values == pytest.approx({"queue": (100 + 92) / 32, "latency": 2 * 1.1 / 0.5, "budget": 20_000 // 4100})
    formula = scaled["spec"]["advanced"]["scalingModifiers"]["formula"]
    assert formula == "min(max(queue, latency), budget)"
    assert min(max(values["queue"], values["latency"]), values["budget"]) == 4, "and not 6"


def start_jobs(server, folder, url, now):
    """Run the script of the CronJob at a time."""
    (cron,) = [o for o in objects("carbon-start.yaml") if o["kind"] == "CronJob"]
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    environ = {variable["name"]: variable["value"] for variable in container["env"]} | {"PROMETHEUS_URL": url}
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/date").write_text(f"#!/bin/sh\necho {now}\n")
    (folder / "bin/curl").write_text(f'#!/bin/sh\nexec {need_program("curl")} "$@" --data-urlencode time={now}\n')
    (folder / "bin/kubectl").unlink(missing_ok=True)
    (folder / "bin/kubectl").symlink_to(need_peer("kubectl"))
    for name in ("date", "curl"):
        (folder / "bin" / name).chmod(0o755)
    return server.run(
        "env", f"PATH={folder}/bin:/usr/bin:/bin", *(f"{name}={value}" for name, value in environ.items()),
        *container["command"], *container["args"],
    )  # fmt: skip


def suspended(server):
    jobs = json.loads(server.kubectl("--namespace", "research", "get", "jobs", "--output", "json"))["items"]
    return {job["metadata"]["name"] for job in jobs if job["spec"]["suspend"]}


def test_jobs_start_at_low_intensity_or_at_their_deadline(server, prometheus, tmp_path):
    (job,) = [o for o in objects("carbon-start.yaml") if o["kind"] == "Job"]

    def create(name, deadline, labels):
        metadata = {"name": name, "namespace": "research", "labels": labels}
        metadata |= {"annotations": {"wattlens.io/start-by": deadline}} if deadline else {}
        server.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump(job | {"metadata": metadata}))

    server.kubectl("--namespace", "research", "delete", "jobs", "--all")
    labels = job["metadata"]["labels"]
    create("due", "2026-06-01T17:45:00Z", labels)
    create("early", "2026-06-02T04:00:00Z", labels)
    create("without-deadline", "", labels)
    create("of-somebody-else", "2026-01-01T00:00:00Z", {})
    start_jobs(server, tmp_path, prometheus, NOW_HIGH)
    assert suspended(server) == {"early", "without-deadline", "of-somebody-else"}
    start_jobs(server, tmp_path, "http://127.0.0.1:9", NOW_LOW)
    assert "early" in suspended(server), "no answer starts nothing"
    start_jobs(server, tmp_path, prometheus, NOW_LOW)
    assert suspended(server) == {"of-somebody-else"}


def test_helms_record_of_a_release_with_dashboards_fits_a_secret(server):
    helm, _ = need_tools()
    values = "dashboards.enabled=true,grafanaAlerts.enabled=true,informer.enabled=true"
    command = ("install", "wattlens", ROOT / "deploy/helm/wattlens", "--namespace", "wattlens", "--create-namespace")
    server.run(helm, *command, "--set", values)
    server.run(helm, "upgrade", *command[1:3], "--namespace", "wattlens", "--set", values, "--set", "mode=shadow")
    (secret,) = json.loads(
        server.kubectl("--namespace", "wattlens", "get", "secrets", "--selector", "version=2", "--output", "json")
    )["items"]
    assert len(secret["data"]["release"]) < 700_000, "a Secret may have 1 MiB"
    names = server.kubectl(
        "--namespace", "wattlens", "get", "configmaps", "--selector", "grafana_dashboard=1", "--output", "name"
    )
    assert len(names.split()) == len(load_dashboards())
    # Without Helm: the annotation in which kubectl keeps each object has a limit of 256 KiB.
    rendered = manifests.template(helm, "--show-only", "templates/monitoring/dashboards.yaml", "--set", values)
    server.kubectl("apply", "--filename", "-", stdin=rendered)
