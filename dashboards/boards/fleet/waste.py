"""The rows of a fleet: power by use and waste, largest users and jobs, and unresponsive sources."""

from dashboards.panels import WH_PER_1000_TOKENS, GrafanaPanel, GrafanaRow, Query, band, graph, link, row, table, wide_table
from dashboards.promql.selectors import GPUS, bucket, over_fleet, recorded, series
from dashboards.rules.alerts import JOB
from dashboards.rules.fleet import BUCKETS, FACT_POWER, FACT_POWER_ERROR, FACT_TOKENS, HOST, NODE_POWER, POWER, TOKEN_POWER
from dashboards.rules.model import bound, end_of

MOST = 10
_TEXTS = dict(
    zip((*BUCKETS, HOST), ("workloads, active", "workloads, idle", "unallocated", "unattributed",
                           "non-GPU, where metered"), strict=True)
)  # fmt: skip
_GPU = 'boundary="gpu"'
_NODE = link("Node and GPUs", "wattlens-gpu", "instance")
_INFERENCE = link("Inference", "wattlens-inference", "model")
_NO_RULES = "no data: no workload is known, or the recording rules are not loaded"
_ABOUT = {"team": "teams", "namespace": "namespaces", "owner": "owners", "model": "models"}


def waste() -> GrafanaRow:
    """Where the power goes, and who wastes it."""
    nodes = "cluster, job, instance"
    either = 'bucket=~"unheld|idle"'
    unheld, allocated_idle, wasted, whole = (
        f"sum by ({nodes}) ({over_fleet(NODE_POWER, of)})" for of in (bucket("unheld"), bucket("idle"), either, GPUS)
    )
    worst = f"topk({MOST}, {wasted} > 0)"
    idle, held_by = (_by("team, namespace", FACT_POWER, *of) for of in (('state="idle"',), ()))
    most_idle = f"topk({MOST}, {idle} > 0)"
    return row(
        "Breakdown and waste",
        graph(
            "Power breakdown",
            "Mean power over five minutes by use. The parts are disjoint: their sum is the metered power of the nodes "
            "(workload_energy_joules_total, gpu_unallocated_energy_joules_total, gpu_unattributed_energy_joules_total, "
            "node_nongpu_energy_joules_total).",
            "watt",
            {text: f"sum({recorded(POWER, bucket(name), scope='fleet')})" for name, text in _TEXTS.items()},
            width=24,
            stacked=True,
            no_value="no data: no agent is scraped, or the recording rules are not loaded",
        ),
        table(
            f"Top {MOST} nodes by idle energy",
            "Energy in the selected range of unallocated GPUs and of allocated GPUs without a running kernel, and its "
            "share of the node's GPU energy. The node's dashboard shows its error.",
            "joule",
            {
                "unallocated": f"{unheld} and on ({nodes}) {worst}",
                "allocated, idle": f"{allocated_idle} and on ({nodes}) {worst}",
                "share": Query(f"{wasted} / ({whole} > 0) and on ({nodes}) {worst}", "percentunit"),
            },
            no_value="no GPU was idle, or the recording rules are not loaded",
            links=_NODE,
        ),
        table(
            f"Top {MOST} teams and namespaces by idle energy",
            "Energy in the selected range of allocated GPUs without a running kernel, by the labels of their workloads "
            "(workload_info), and its share of the energy of these workloads.",
            "joule",
            {
                "allocated, idle": most_idle,
                "share": Query(f"{idle} / ({held_by} > 0) and on (team, namespace) {most_idle}", "percentunit"),
            },
            no_value="no workload had an idle GPU, or the recording rules are not loaded",
        ),
    )


def _by(labels: str, name: str, *matchers: str) -> str:
    """A sum over the selected time range by workload labels; a missing label gets a name, as an empty cell is ambiguous."""
    summed = f"sum by ({labels}) ({over_fleet(name, *matchers)})"
    for label in labels.split(", "):
        summed = f'label_replace({summed}, "{label}", "(none)", "{label}", "")'
    return summed


def by_energy() -> GrafanaRow:
    """Largest consumers, by each label of workloads."""
    return row("Largest consumers of energy", *(_most_energy(label, text) for label, text in _ABOUT.items()))


def by_token() -> GrafanaRow:
    """The same per token."""
    watts, tokens = (recorded(name, _GPU, scope="fleet") for name in (TOKEN_POWER, FACT_TOKENS))
    totals = (f"sum_over_time({selector}[$__range] @ end())" for selector in (watts, tokens))
    most = f"topk({MOST}, {_by_model(*totals)})"
    return row(
        "Energy per token",
        *(_most_per_token(label, text) for label, text in _ABOUT.items()),
        graph(
            f"Energy per 1,000 tokens over time, top {MOST} models",
            "GPU energy of the workloads that serve a model, idle included, divided by their generated tokens over five "
            "minutes, for everything selected above. GPUs only: no host, no cooling. The Inference dashboard shows bounds and "
            "other boundaries.",
            WH_PER_1000_TOKENS,
            {"{{model}}": f"{_by_model(watts, tokens)} and on (model) {most}"},
            width=24,
            no_value="not measurable: no tokens in the last five minutes, or the recording rules are not loaded",
            links=_INFERENCE,
        ),
    )


def _by_model(watts: str, tokens: str) -> str:
    """Ratio of two sums by model; a missing model name gets a name."""
    ratio = f"sum by (model) ({watts}) / (sum by (model) ({tokens}) > 0)"
    return f'label_replace({ratio}, "model", "(none)", "model", "")'


def _labels(label: str) -> str:
    return "namespace, owner" if label == "owner" else label


def _most_energy(label: str, text: str) -> GrafanaPanel:
    by = _labels(label)
    energy, idle = (_by(by, FACT_POWER, *of) for of in ((), ('state="idle"',)))
    error = _by(by, FACT_POWER_ERROR)
    most = f"topk({MOST}, {energy} > 0)"
    return table(
        f"Top {MOST} {text} by energy",
        f"GPU energy of workloads of these {text} in the selected range (workload_energy_joules_total by workload_info), with "
        "bounds from the sensors' systematic error, and the share without a running kernel. Summed from the power of each "
        "minute; for accounting use the report.",
        "joule",
        {
            **band(lambda end: bound(most, f"on ({by}) {error}", end), column="energy"),
            "idle share": Query(f"{idle} / on ({by}) {most}", "percentunit"),
        },
        no_value=_NO_RULES,
        links=_INFERENCE if label == "model" else (),
    )


def _most_per_token(label: str, text: str) -> GrafanaPanel:
    by = _labels(label)
    tokens = _by(by, FACT_TOKENS, _GPU)

    def ratio(band: str = "") -> str:
        return f"{_by(by, end_of(TOKEN_POWER, band), _GPU)} / on ({by}) ({tokens} > 0)"

    most = f"topk({MOST}, {ratio()})"
    return table(
        f"Top {MOST} {text} by energy per 1,000 generated tokens",
        f"GPU energy of workloads that generated tokens, idle included, divided by these tokens, for each of the {text}, over "
        "the selected range. GPUs only: no host, no cooling. Models and loads differ, so a high figure alone does not show "
        "waste.",
        WH_PER_1000_TOKENS,
        {
            **band(lambda end: f"{ratio(end)} and on ({by}) {most}" if end else most, column="Wh"),
            "tokens": Query(f"{tokens} and on ({by}) {most}", "short"),
        },
        no_value="not measurable: no tokens were generated, or the recording rules are not loaded",
        links=_INFERENCE if label == "model" else (),
    )


def missing() -> GrafanaRow:
    """Unresponsive sources and simulated nodes."""
    lost, gone = series("gpu_absent_info", 'field="device"', scope="fleet"), recorded("up", JOB, scope="fleet")
    simulated = series("node_info", 'simulated="true"', scope="fleet")
    return row(
        "Missing and simulated data",
        table(
            f"Targets not scraped, first {MOST * 5}",
            "Targets of jobs named wattlens... that Prometheus cannot scrape (up). Meanwhile the figures above do not "
            "include them. The agent's ledger continues while the agent runs.",
            "none",
            {"not scraped": f"topk({MOST * 5}, {gone} == 0)"},
            width=8,
            no_value="every target of jobs named wattlens... is scraped",
            links=_NODE,
        ),
        table(
            f"Unresponsive GPUs, first {MOST * 5}",
            "GPUs without any reading, with the driver's reason (gpu_absent_info). Their energy since then is a gap with "
            "an upper bound.",
            "none",
            {"GPU lost": f"topk({MOST * 5}, {lost})"},
            width=8,
            no_value="every known GPU responds, or no agent is scraped",
            links=link("Node and GPUs", "wattlens-gpu", "instance", "gpu"),
        ),
        table(
            f"Simulated nodes, first {MOST * 5}",
            "Nodes on simulated hardware (node_info): their figures are not measurements.",
            "none",
            {"simulated": f"topk({MOST * 5}, sum by (cluster, job, instance) ({simulated}))"},
            width=8,
            no_value="no node is simulated, or no agent is scraped",
            links=_NODE,
        ),
    )


JOBS = 'owner=~".*Job/.+|JobSet/.+|RayCluster/.+|PodGroup/.+"'
"""Owners that are jobs: Job, TrainJob, PyTorchJob, RayJob and others, Volcano's and Slurm's jobs; no services."""
_JOB = "cluster, namespace, owner"


def jobs() -> GrafanaRow:
    """The largest batch jobs over all their nodes, Slurm jobs included."""
    energy, idle = (f"sum by ({_JOB}) ({over_fleet(FACT_POWER, JOBS, *of)})" for of in ((), ('state="idle"',)))
    error = f"sum by ({_JOB}) ({over_fleet(FACT_POWER_ERROR, JOBS)})"
    most = f"topk({MOST}, {energy} > 0)"
    return row(
        "Jobs",
        wide_table(
            f"Top {MOST} jobs by energy",
            "GPU energy of a job over all its nodes and pods in the selected range, replaced ones included "
            "(workload_energy_joules_total by workload_info), with bounds from the sensors' systematic error, and its part "
            "while GPUs were allocated and no kernel ran. `wattlens job` prints J/step, J/token and nodes.",
            "joule",
            {
                **band(lambda end: bound(most, f"on ({_JOB}) {error}", end), column="energy"),
                "idle": f"{idle} and on ({_JOB}) {most}",
                "idle share": Query(f"{idle} / on ({_JOB}) {most}", "percentunit"),
            },
            no_value="no job is known, or the recording rules are not loaded",
        ),
    )


SPEC = {40: waste, 50: by_energy, 52: by_token, 60: missing, 55: jobs}
