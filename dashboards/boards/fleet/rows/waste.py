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
    zip((*BUCKETS, HOST), ("workloads, a kernel ran", "workloads, no kernel ran", "nobody held the GPU", "holder not known",
                           "around the GPUs, where metered"), strict=True)
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
                "Mean power over five minutes by whose it was: disjoint, so that their sum is the power of the nodes as far "
                "as they are metered (workload_energy_joules_total, gpu_unallocated_energy_joules_total, "
                "gpu_unattributed_energy_joules_total, node_nongpu_energy_joules_total).",
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
                "Energy of the selected range that went into GPUs which nobody held, or which were held while no kernel ran, "
                "and its share of all that the node's GPUs took. The energy errs as its GPUs do: the node's dashboard has the "
                "band.",
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
                "Energy of the selected range of GPUs that were held while no kernel ran, by the facts of the workloads that "
                "held them (workload_info), and its share of all their energy.",
                "joule",
                (
                    PanelQuery(most_idle, "allocated, idle"),
                    PanelQuery(f"{idle} / ({held_by} > 0) and on (team, namespace) {most_idle}", "share", "percentunit"),
                ),
                kind="table",
                no_value="no workload held a GPU idle, or the recording rules are not loaded",
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
        "Energy of the GPUs of the workloads that serve a model, idle included, by the tokens that they generated over five "
        "minutes, over all that is chosen above. GPU boundary. The dashboard Inference has the bands and the other boundaries.",
        WH_PER_1000_TOKENS,
        (PanelQuery(f"{_by_model(watts, tokens)} and on (model) {most}", "{{model}}"),),
        width=24,
        minimum=0,
        no_value="not measurable: no tokens in the last five minutes, or the recording rules are not loaded",
        links=(_INFERENCE,),
    )
    by_energy = tuple(_most_energy(label, text) for label, text in _ABOUT.items())
    by_token = tuple(_most_per_token(label, text) for label, text in _ABOUT.items())
    return (PanelRow("Top users of energy", by_energy), PanelRow("Energy per token", (*by_token, over_time)))


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
        f"Energy of the GPUs that workloads of these {text} held over the selected range (workload_energy_joules_total by "
        "workload_info), with the band of the sensors' systematic error, and what of it went while no kernel ran. Added up "
        "from power of every minute; the report, by the cells of the ledger, is the book of record.",
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
        "Energy of the GPUs of workloads that generated tokens, idle included, over those tokens: one sum over the other, "
        f"for each of the {text}, over the selected range. GPU boundary. Models and loads differ: a high figure is a question, "
        "no verdict.",
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
                "Targets of jobs named wattlens... that Prometheus gets no page from (up): nothing of them is in the figures "
                "above from then on. The agent's ledger goes on as long as it runs.",
                "none",
                (PanelQuery(f"topk({MOST * 5}, {gone} == 0)", "not scraped"),),
                kind="table",
                width=8,
                no_value="every target of jobs named wattlens... is scraped",
                links=(_NODE,),
            ),
            Panel(
                f"Unresponsive GPUs, first {MOST * 5}",
                "GPUs of which no reading is to be had, with the driver's reason (gpu_absent_info). Their energy since is a "
                "gap with a bound.",
                "none",
                (PanelQuery(f"topk({MOST * 5}, {lost})", "GPU lost"),),
                kind="table",
                width=8,
                no_value="every GPU that the agents know answers, or no agent is scraped",
                links=(Link("Node and GPUs", "wattlens-gpu", {"instance": "instance", "gpu": "gpu"}),),
            ),
            Panel(
                f"Simulated nodes, first {MOST * 5}",
                "Nodes whose hardware is simulated (node_info): their figures are no measurements.",
                "none",
                (PanelQuery(f"topk({MOST * 5}, sum by (cluster, job, instance) ({simulated}))", "simulated"),),
                kind="table",
                width=8,
                no_value="no node is simulated, or none is scraped",
                links=(_NODE,),
            ),
        ),
    )


SPEC = DashboardRows({40: waste, 50: tops, 60: missing})
