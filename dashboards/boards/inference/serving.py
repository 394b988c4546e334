"""Rows of what serving costs: joules per token by model, boundary, state and batch, and of prefill and decode."""

from dashboards.panels import GrafanaPanel, GrafanaRow, band, graph, lights, link, row, stat, table, third, wide_table
from dashboards.promql.latency import attainment_of_all
from dashboards.promql.selectors import AT, MOST, of_node, recorded, series
from dashboards.rules.joules_per_token import KNOWN_TOKENS, TOKEN_POWER
from dashboards.rules.model import STEP, TOKEN_RATE, WORKLOAD_POWER, end_of
from dashboards.rules.serving import ITL, TTFT

NAME = "{{workload}} {{model}}"
TO_TRACE = link("Only this workload", "wattlens-inference", "workload", "instance")
_MODEL = 'model=~"$model"'
_GENERATED = 'phase="generation"'
NOT_WITHIN = "no requests now, no inference server reports its latencies, or no histogram has this edge: select another limit"
_ROWS = 20
_UNIT = "suffix:J/token"
_NOT_NOW = "not measurable now: no tokens in the last five minutes, a GPU is lost, or the recording rules are not loaded"


def of_tokens(by: str, band: str = "", boundary: str = "gpu", energy: str = "active_idle") -> str:
    """Joules per generated token over workloads: the sum of their joules by that of their tokens, of those that have both."""
    of = f'boundary=~"{boundary}"'
    joules = recorded(end_of(TOKEN_POWER, band), _MODEL, of, f'energy="{energy}"')
    tokens = recorded(KNOWN_TOKENS, _MODEL, of)
    group = f"sum by ({by})" if by else "sum"
    return f"{group} ({joules}) / {group} ({tokens})"


def now() -> GrafanaRow:
    """What stands now, of all that is chosen."""
    tokens = {which: recorded(TOKEN_RATE, _MODEL, f'tokens="{which}"') for which in ("generation", "processed")}
    serves = f"group by ({AT}, workload) ({tokens['generation']} > 0)"
    power = recorded(WORKLOAD_POWER, 'boundary="gpu",energy="active_idle"')
    waiting = series("requests_waiting", _MODEL, scope="workload")
    running = series("requests_running", _MODEL, scope="workload")
    return row(
        "Now",
        stat(
            "Energy per generated token",
            "GPU energy of all selected workloads, idle included, divided by their generated tokens, over five minutes. At "
            "least and at most: bounds from the sensors' systematic error. GPUs only: no host, no cooling. Compare only at "
            "equal load.",
            _UNIT,
            band(lambda end: of_tokens("", end)),
            width=8,
            decimals=3,
            no_value=_NOT_NOW,
        ),
        stat(
            "Tokens/s",
            "Tokens of all selected workloads over five minutes: generated ones, and processed ones, which are generated "
            "or computed from prompts (tokens_total). Both exclude cached prompt tokens.",
            "short",
            {which: f"sum({rate})" for which, rate in tokens.items()},
            no_value="no workload reports tokens, or the recording rules are not loaded",
        ),
        stat(
            "Requests",
            "Requests that the inference servers process, and requests that wait for them, at the last reading "
            "(requests_running, requests_waiting).",
            "none",
            {"running": f"sum({running})", "waiting": f"sum({waiting})"},
            no_value="no inference server reports its requests, or none responds",
        ),
        stat(
            "Within limits",
            "Share of times to first token and of inter-token latencies within the limits selected above, for the "
            "workloads whose histograms have these edges (time_to_first_token_seconds, inter_token_latency_seconds).",
            "percentunit",
            {"first token": attainment_of_all(TTFT), "between tokens": attainment_of_all(ITL)},
            decimals=1,
            no_value=NOT_WITHIN,
        ),
        stat(
            "Power",
            "Power of the GPUs of workloads that generated tokens in the last five minutes, idle included "
            "(workload_energy_joules_total).",
            "watt",
            {"power": f"sum({power} and on ({AT}, workload) ({serves}))"},
            no_value=_NOT_NOW,
        ),
    )


def tokens_energy() -> GrafanaRow:
    """Joules per token: whose, within which boundary, how wrong, busy or not, at which batch."""
    batch = ("workload", "model", "running")

    def by_batch(counter: str, *matchers: str) -> str:
        return (
            f"sum by ({', '.join(batch[1:])}) (rate({series(counter, _MODEL, *matchers, scope='workload')}[$__rate_interval]))"
        )

    joules, tokens = by_batch("serving_energy_joules_total"), by_batch("serving_tokens_total", _GENERATED)
    return row(
        "Energy per token",
        graph(
            "Energy per generated token by model, with bounds",
            "GPU energy of each model over all its selected workloads, idle included, divided by its generated tokens over "
            "five minutes. At least and at most: bounds from the sensors' systematic error, which adds up. Empty without "
            "tokens, when the ratio is undefined.",
            _UNIT,
            band(lambda end: of_tokens("model", end), "{{model}}"),
            no_value=_NOT_NOW,
            links=link("Only this model", "wattlens-inference", "model"),
        ),
        graph(
            "Energy per generated token by boundary",
            "The same by boundary: GPUs (gpu), node with the workload's share of non-GPU energy (node), and node times the "
            "site's PUE (facility). A boundary is shown only where it is metered, and covers only the workloads that have "
            "it.",
            _UNIT,
            {"{{model}}, {{boundary}}": of_tokens("model, boundary", boundary=".+")},
            no_value=_NOT_NOW,
        ),
        third(
            "Busy and total energy (J/token)",
            "GPU energy with a running kernel (active), and with allocated, idle time included (active_idle), divided by "
            "the tokens generated over five minutes. The difference is the energy spent on waiting.",
            "short",
            {
                "{{model}}, " + text: of_tokens("model", energy=energy)
                for energy, text in (("active", "busy"), ("active_idle", "idle included"))
            },
            no_value=_NOT_NOW,
        ),
        third(
            "Energy per token by batch size (J/token)",
            "Energy of the intervals with this number of running requests, divided by their generated tokens "
            "(serving_energy_joules_total, serving_tokens_total). Batch size has more effect than clock or GPU model: "
            "compare at equal batch size.",
            "short",
            {"{{model}}, {{running}} running": f"{joules} / ({tokens} > 0)"},
            no_value="not measurable now: no engine reports its batch size, or no request ran",
            step=STEP,
        ),
        lights(
            f"Steady load, {MOST} workloads",
            "Whether power, responses and running requests varied by less than a tenth in the last minute "
            "(serving_steady). Compare figures only at steady load. To see other workloads, select them above.",
            "none",
            {NAME: f"bottomk({MOST}, {series('serving_steady', _MODEL, scope='workload')})"},
            states={"1": ("steady", "green"), "0": ("varying", "blue")},
            no_value="the first minute is not over, or no engine is read",
        ),
        wide_table(
            "Current energy per token by model and boundary",
            "The figures of the graphs, with bounds. The bounds of boundary node include the error of the node meter; "
            "those of boundary facility also include the error of the PUE.",
            _UNIT,
            band(lambda end: of_tokens("model, boundary", end, ".+")),
            height=6,
            decimals=3,
            no_value=_NOT_NOW,
        ),
    )


def split() -> GrafanaRow:
    """Prefill and decode apart, or why not."""
    silent = of_node("source_down_info", 'source=~"tokens.*"')
    unsplit = series("serving_split_absent_info", _MODEL, scope="workload")
    return row(
        "Prefill and decode",
        *(_part(part, what) for part, what in (("prefill", "computed prompt token"), ("decode", "generated token"))),
        table(
            "Reasons for missing prefill and decode split",
            "Workloads without a figure for prefill or decode, with the reason (serving_split_absent_info): the engine "
            "does not count its steps, the first five minutes are not over, or the load varies too little.",
            "none",
            {"absent": f"topk({_ROWS}, max by ({AT}, workload, model, reason) ({unsplit}))"},
            width=14,
            height=6,
            no_value="prefill and decode are known for all workloads, or no engine is read",
        ),
        table(
            "Unresponsive inference servers",
            "Inference servers whose /metrics response could not be read at the last attempt, with the reason "
            "(source_down_info). Their activity since then is unknown, and their counters do not change until they "
            "respond.",
            "none",
            {"down": f"topk({_ROWS}, max by ({AT}, source, reason) ({silent}))"},
            width=10,
            height=6,
            no_value="every inference server responds, or no agent is scraped",
        ),
    )


def _part(part: str, what: str) -> GrafanaPanel:
    family = f"{part}_joules_per_token"
    of_all = series(family, _MODEL, scope="workload")
    most = f"and on ({AT}, workload, model) topk({MOST}, {of_all})"
    return graph(
        f"Energy per {part} token, top {MOST}",
        f"Energy per {what}, estimated from the changes of energy with prompts, responses, steps and idle time over the last "
        f"hour ({family}). At least and at most: its 95 % interval.",
        _UNIT,
        band(lambda end: f"{series(family + end, _MODEL, scope='workload')} {most}", NAME),
        no_value="no split: the table below has the reason; or no engine is read",
    )


SPEC = {10: now, 20: tokens_energy, 30: split}
