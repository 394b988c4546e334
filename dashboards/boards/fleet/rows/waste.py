"""The rows of a fleet: power by use and waste, largest users, and unresponsive sources."""

from dashboards.dashboard import (
    RANGE,
    WH_PER_1000_TOKENS,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    banded,
    recorded,
    series,
)
from dashboards.promql.sums import GPUS, bucket, over_fleet
from dashboards.rules.alerts import JOB
from dashboards.rules.fleet import BUCKETS, FACT_POWER, FACT_POWER_ERROR, FACT_TOKENS, HOST, NODE_POWER, POWER, TOKEN_POWER
from dashboards.rules.model import bound, end_of

MOST = 10
_TEXTS = dict(
    zip((*BUCKETS, HOST), ("workloads, active", "workloads, idle", "unallocated", "unattributed",
                           "non-GPU, where metered"), strict=True)
)  # fmt: skip
_GPU = 'boundary="gpu"'
_NODE = Link("Node and GPUs", "wattlens-gpu", {"instance": "instance"})
_INFERENCE = Link("Inference", "wattlens-inference", {"model": "model"})
_NO_RULES = "no data: no workload is known, or the recording rules are not loaded"
_ABOUT = {"team": "teams", "namespace": "namespaces", "owner": "owners", "model": "models"}


def waste() -> PanelRow:
    """Where the power goes, and who wastes it."""
    nodes = "cluster, job, instance"
    either = 'bucket=~"unheld|idle"'
    unheld, held, wasted, whole = (
        f"sum by ({nodes}) ({over_fleet(NODE_POWER, of)})" for of in (bucket("unheld"), bucket("idle"), either, GPUS)
    )
    worst = f"topk({MOST}, {wasted} > 0)"
    idle, held_by = (_by("team, namespace", FACT_POWER, *of) for of in (('state="idle"',), ()))
    most_idle = f"topk({MOST}, {idle} > 0)"
    return PanelRow(
        "Breakdown and waste",
        (
            Panel(
                "Power breakdown",
                "Mean power over five minutes by use. The parts are disjoint: their sum is the metered power of the nodes "
                "(workload_energy_joules_total, gpu_unallocated_energy_joules_total, gpu_unattributed_energy_joules_total, "
                "node_nongpu_energy_joules_total).",
                "watt",
                tuple(
                    PanelQuery(f"sum({recorded(POWER, bucket(name), scope='fleet')})", text) for name, text in _TEXTS.items()
                ),
                width=24,
                minimum=0,
                stacked=True,
                no_value="no data: no agent is scraped, or the recording rules are not loaded",
            ),
            Panel(
                f"Top {MOST} nodes by idle energy",
                "Energy in the selected range of unallocated GPUs and of allocated GPUs without a running kernel, and its "
                "share of the node's GPU energy. The node's dashboard shows its error.",
                "joule",
                (
                    PanelQuery(f"{unheld} and on ({nodes}) {worst}", "unallocated"),
                    PanelQuery(f"{held} and on ({nodes}) {worst}", "allocated, idle"),
                    PanelQuery(f"{wasted} / ({whole} > 0) and on ({nodes}) {worst}", "share", "percentunit"),
                ),
                kind="table",
                no_value="no GPU was idle, or the recording rules are not loaded",
                links=(_NODE,),
            ),
            Panel(
                f"Top {MOST} teams and namespaces by idle energy",
                "Energy in the selected range of allocated GPUs without a running kernel, by the labels of their workloads "
                "(workload_info), and its share of the energy of these workloads.",
                "joule",
                (
                    PanelQuery(most_idle, "allocated, idle"),
                    PanelQuery(f"{idle} / ({held_by} > 0) and on (team, namespace) {most_idle}", "share", "percentunit"),
                ),
                kind="table",
                no_value="no workload had an idle GPU, or the recording rules are not loaded",
            ),
        ),
    )


def _by(labels: str, name: str, *matchers: str) -> str:
    """A sum over the selected time range by workload labels; a missing label gets a name, as an empty cell is ambiguous."""
    summed = f"sum by ({labels}) ({over_fleet(name, *matchers)})"
    for label in labels.split(", "):
        summed = f'label_replace({summed}, "{label}", "(none)", "{label}", "")'
    return summed


def tops() -> tuple[PanelRow, ...]:
    """Who uses most, by each fact that is known of workloads."""
    watts, tokens = (recorded(name, _GPU, scope="fleet") for name in (TOKEN_POWER, FACT_TOKENS))
    most = f"topk({MOST}, {_by_model(f'sum_over_time({watts}[{RANGE}] @ end())', f'sum_over_time({tokens}[{RANGE}] @ end())')})"
    over_time = Panel(
        f"Energy per 1,000 tokens over time, top {MOST} models",
        "GPU energy of the workloads that serve a model, idle included, divided by their generated tokens over five minutes, "
        "for everything selected above. GPUs only: no host, no cooling. The Inference dashboard shows bounds and other "
        "boundaries.",
        WH_PER_1000_TOKENS,
        (PanelQuery(f"{_by_model(watts, tokens)} and on (model) {most}", "{{model}}"),),
        width=24,
        minimum=0,
        no_value="not measurable: no tokens in the last five minutes, or the recording rules are not loaded",
        links=(_INFERENCE,),
    )
    by_energy = tuple(_most_energy(label, text) for label, text in _ABOUT.items())
    by_token = tuple(_most_per_token(label, text) for label, text in _ABOUT.items())
    return (PanelRow("Largest consumers of energy", by_energy), PanelRow("Energy per token", (*by_token, over_time)))


def _by_model(watts: str, tokens: str) -> str:
    """Ratio of two sums by model; a missing model name gets a name."""
    ratio = f"sum by (model) ({watts}) / (sum by (model) ({tokens}) > 0)"
    return f'label_replace({ratio}, "model", "(none)", "model", "")'


def _labels(label: str) -> str:
    return "namespace, owner" if label == "owner" else label


def _most_energy(label: str, text: str) -> Panel:
    by = _labels(label)
    energy, idle = (_by(by, FACT_POWER, *of) for of in ((), ('state="idle"',)))
    error = _by(by, FACT_POWER_ERROR)
    most = f"topk({MOST}, {energy} > 0)"
    return Panel(
        f"Top {MOST} {text} by energy",
        f"GPU energy of workloads of these {text} in the selected range (workload_energy_joules_total by workload_info), with "
        "bounds from the sensors' systematic error, and the share without a running kernel. Summed from the power of each "
        "minute; for accounting use the report.",
        "joule",
        (
            *banded(lambda band: bound(most, f"on ({by}) {error}", band), column="energy"),
            PanelQuery(f"{idle} / on ({by}) {most}", "idle share", "percentunit"),
        ),
        kind="table",
        no_value=_NO_RULES,
        links=(_INFERENCE,) if label == "model" else (),
    )


def _most_per_token(label: str, text: str) -> Panel:
    by = _labels(label)
    tokens = _by(by, FACT_TOKENS, _GPU)

    def ratio(band: str = "") -> str:
        return f"{_by(by, end_of(TOKEN_POWER, band), _GPU)} / on ({by}) ({tokens} > 0)"

    most = f"topk({MOST}, {ratio()})"
    return Panel(
        f"Top {MOST} {text} by energy per 1,000 generated tokens",
        f"GPU energy of workloads that generated tokens, idle included, divided by these tokens, for each of the {text}, over "
        "the selected range. GPUs only: no host, no cooling. Models and loads differ, so a high figure alone does not show "
        "waste.",
        WH_PER_1000_TOKENS,
        (
            *banded(lambda band: f"{ratio(band)} and on ({by}) {most}" if band else most, column="Wh"),
            PanelQuery(f"{tokens} and on ({by}) {most}", "tokens", "short"),
        ),
        kind="table",
        no_value="not measurable: no tokens were generated, or the recording rules are not loaded",
        links=(_INFERENCE,) if label == "model" else (),
    )


def missing() -> PanelRow:
    """Unresponsive sources and simulated nodes."""
    lost, gone = series("gpu_absent_info", 'field="device"', scope="fleet"), recorded("up", JOB, scope="fleet")
    simulated = series("node_info", 'simulated="true"', scope="fleet")
    return PanelRow(
        "Missing and simulated data",
        (
            Panel(
                f"Targets not scraped, first {MOST * 5}",
                "Targets of jobs named wattlens... that Prometheus cannot scrape (up). Meanwhile the figures above do not "
                "include them. The agent's ledger continues while the agent runs.",
                "none",
                (PanelQuery(f"topk({MOST * 5}, {gone} == 0)", "not scraped"),),
                kind="table",
                width=8,
                no_value="every target of jobs named wattlens... is scraped",
                links=(_NODE,),
            ),
            Panel(
                f"Unresponsive GPUs, first {MOST * 5}",
                "GPUs without any reading, with the driver's reason (gpu_absent_info). Their energy since then is a gap with "
                "an upper bound.",
                "none",
                (PanelQuery(f"topk({MOST * 5}, {lost})", "GPU lost"),),
                kind="table",
                width=8,
                no_value="every known GPU responds, or no agent is scraped",
                links=(Link("Node and GPUs", "wattlens-gpu", {"instance": "instance", "gpu": "gpu"}),),
            ),
            Panel(
                f"Simulated nodes, first {MOST * 5}",
                "Nodes on simulated hardware (node_info): their figures are not measurements.",
                "none",
                (PanelQuery(f"topk({MOST * 5}, sum by (cluster, job, instance) ({simulated}))", "simulated"),),
                kind="table",
                width=8,
                no_value="no node is simulated, or no agent is scraped",
                links=(_NODE,),
            ),
        ),
    )


SPEC = DashboardRows({40: waste, 50: tops, 60: missing})
