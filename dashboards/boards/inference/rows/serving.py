"""Rows of what serving costs: joules per token by model, boundary, state and batch, and of prefill and decode."""

from dashboards.dashboard import (
    RATE,
    DashboardRows,
    Link,
    Panel,
    PanelQuery,
    PanelRow,
    banded,
    figure,
    lights,
    recorded,
    series,
    third,
)
from dashboards.promql.joins import AT, MOST
from dashboards.promql.latency import attainment_of_all
from dashboards.rules.joules_per_token import KNOWN_TOKENS, TOKEN_POWER
from dashboards.rules.latency import ITL, TTFT
from dashboards.rules.model import STEP, TOKEN_RATE, WORKLOAD_POWER, end_of

NAME = "{{workload}} {{model}}"
TO_TRACE = (Link("This workload alone", "wattlens-inference", {"workload": "workload", "instance": "instance"}),)
_MODEL = 'model=~"$model"'
_GENERATED = 'phase="generation"'
NOT_WITHIN = "no answers now, no inference server reports latencies, or no histogram has this edge: choose another limit"
_ROWS = 20
_UNIT = "suffix:J/token"
_NOT_NOW = "not measurable now: no tokens in the last five minutes, a GPU lost, or the recording rules not loaded"


def of_tokens(by: str, band: str = "", boundary: str = "gpu", energy: str = "active_idle") -> str:
    """Joules per generated token over workloads: the sum of their joules by that of their tokens, of those that have both."""
    of = f'boundary=~"{boundary}"'
    joules = recorded(end_of(TOKEN_POWER, band), _MODEL, of, f'energy="{energy}"')
    known = recorded(KNOWN_TOKENS, _MODEL, of)
    group = f"sum by ({by})" if by else "sum"
    return f"{group} ({joules}) / {group} ({known})"


def now() -> PanelRow:
    """What stands now, of all that is chosen."""
    tokens = {which: recorded(TOKEN_RATE, _MODEL, f'tokens="{which}"') for which in ("generation", "processed")}
    serves = f"group by ({AT}, workload) ({tokens['generation']} > 0)"
    power = recorded(WORKLOAD_POWER, 'boundary="gpu",energy="active_idle"')
    waiting = series("requests_waiting", _MODEL, scope="workload")
    running = series("requests_running", _MODEL, scope="workload")
    return PanelRow(
        "Now",
        (
            figure(
                "Energy per generated token",
                "Energy of the GPUs of all chosen workloads, idle included, by the tokens that they generated, over five "
                "minutes; at least and at most are the ends of the band from the sensors' systematic error. GPUs alone: no "
                "host, no cooling. Compare only at equal load.",
                _UNIT,
                banded(lambda band: of_tokens("", band)),
                width=8,
                decimals=3,
                no_value=_NOT_NOW,
            ),
            figure(
                "Tokens/s",
                "Tokens that all chosen workloads generated, and generated and computed from prompts together (processed), "
                "over five minutes (tokens_total). Cached prompt tokens are in neither.",
                "short",
                tuple(PanelQuery(f"sum({rate})", which) for which, rate in tokens.items()),
                no_value="no workload reports tokens, or the recording rules are not loaded",
            ),
            figure(
                "Requests",
                "Requests that the token servers work on, and that wait for them, at their last readings (requests_running, "
                "requests_waiting).",
                "none",
                (PanelQuery(f"sum({running})", "running"), PanelQuery(f"sum({waiting})", "waiting")),
                no_value="no token server tells its requests, or none answers",
            ),
            figure(
                "Within limits",
                "Share of first tokens, and of times between tokens, within the limits chosen above, over the workloads whose "
                "histograms have these edges (time_to_first_token_seconds, inter_token_latency_seconds).",
                "percentunit",
                (PanelQuery(attainment_of_all(TTFT), "first token"), PanelQuery(attainment_of_all(ITL), "between tokens")),
                maximum=1,
                decimals=1,
                no_value=NOT_WITHIN,
            ),
            figure(
                "Power",
                "Power of the GPUs of workloads that generated tokens in the last five minutes, idle included "
                "(workload_energy_joules_total).",
                "watt",
                (PanelQuery(f"sum({power} and on ({AT}, workload) ({serves}))", "power"),),
                no_value=_NOT_NOW,
            ),
        ),
    )


def tokens_energy() -> PanelRow:
    """Joules per token: whose, within which boundary, how wrong, busy or not, at which batch."""
    batch = ("workload", "model", "running")

    def by_batch(counter: str, *matchers: str) -> str:
        return f"sum by ({', '.join(batch[1:])}) (rate({series(counter, _MODEL, *matchers, scope='workload')}[{RATE}]))"

    return PanelRow(
        "Energy per token",
        (
            Panel(
                "Energy per generated token by model, with bounds",
                "Energy of the GPUs, idle included, by the tokens generated over five minutes, for each model over all its "
                "chosen workloads; at least and at most are the ends of the band from the sensors' systematic error, which "
                "adds up. Empty without tokens: there is no ratio then, neither 0 nor infinity.",
                _UNIT,
                banded(lambda band: of_tokens("model", band), "{{model}}"),
                minimum=0,
                no_value=_NOT_NOW,
                links=(Link("This model alone", "wattlens-inference", {"model": "model"}),),
            ),
            Panel(
                "Energy per generated token by boundary",
                "The same for what is inside: the GPUs (gpu), the node with the workload's share of what is around them "
                "(node), and that times the site's PUE (facility). A boundary is there only where it is metered, and its "
                "figure is of the workloads that have it.",
                _UNIT,
                (PanelQuery(of_tokens("model, boundary", boundary=".+"), "{{model}}, {{boundary}}"),),
                minimum=0,
                no_value=_NOT_NOW,
            ),
            third(
                "Busy and total energy (J/token)",
                "Energy of the GPUs while a kernel ran (active), and with what the workloads held idle (active_idle), by the "
                "tokens generated over five minutes. What lies between the two is paid for waiting.",
                "short",
                tuple(
                    PanelQuery(of_tokens("model", energy=energy), "{{model}}, " + text)
                    for energy, text in (("active", "busy"), ("active_idle", "idle included"))
                ),
                no_value=_NOT_NOW,
            ),
            third(
                "Energy per token by batch size (J/token)",
                "Energy of the stretches in which so many requests ran, divided by their generated tokens "
                "(serving_energy_joules_total, serving_tokens_total). Batch decides over it more than clock or board: compare "
                "within one.",
                "short",
                (
                    PanelQuery(
                        f"{by_batch('serving_energy_joules_total')} / ({by_batch('serving_tokens_total', _GENERATED)} > 0)",
                        "{{model}}, {{running}} running",
                    ),
                ),
                no_value="not measurable now: no engine tells its batch, or none ran",
                step=STEP,
            ),
            lights(
                f"Steady load, {MOST} workloads",
                "Whether power, answers and running requests varied by less than a tenth in the last minute (serving_steady). "
                "Only then is a figure to be compared with another. Of more workloads, choose above.",
                "none",
                (PanelQuery(f"bottomk({MOST}, {series('serving_steady', _MODEL, scope='workload')})", NAME),),
                states={"1": ("steady", "green"), "0": ("varying", "blue")},
                no_value="a minute has not been seen yet, or no engine is read",
            ),
            Panel(
                "Current energy per token by model and boundary",
                "As in the graphs, with the ends of its band: at the boundary node the meter's own error is in it, at facility "
                "that of the PUE too.",
                _UNIT,
                banded(lambda band: of_tokens("model, boundary", band, ".+")),
                kind="table",
                width=24,
                height=6,
                decimals=3,
                no_value=_NOT_NOW,
            ),
        ),
    )


def split() -> PanelRow:
    """Prefill and decode apart, or why not."""
    silent = series("source_down_info", 'source=~"tokens.*"', scope="node")
    unsplit = series("serving_split_absent_info", _MODEL, scope="workload")
    return PanelRow(
        "Prefill and decode",
        (
            *(_part(part, what) for part, what in (("prefill", "a computed prompt token"), ("decode", "a generated token"))),
            Panel(
                "Reasons for no prefill and decode split",
                "Workloads of which prefill or decode is absent, with the reason (serving_split_absent_info): the engine does "
                "not count its steps, the first five minutes are not over, or the load varies too little.",
                "none",
                (PanelQuery(f"topk({_ROWS}, max by ({AT}, workload, model, reason) ({unsplit}))", "absent"),),
                kind="table",
                width=14,
                height=6,
                no_value="all that is served is told apart, or no engine is read",
            ),
            Panel(
                "Unresponsive inference servers",
                "Token servers whose page could not be read at the last try, with the reason (source_down_info): what they "
                "did since is not known, and their counters stand still until they answer.",
                "none",
                (PanelQuery(f"topk({_ROWS}, max by ({AT}, source, reason) ({silent}))", "down"),),
                kind="table",
                width=10,
                height=6,
                no_value="every token server answers, or no agent is scraped",
            ),
        ),
    )


def _part(part: str, what: str) -> Panel:
    family = f"{part}_joules_per_token"
    of_all = series(family, _MODEL, scope="workload")
    most = f"and on ({AT}, workload, model) topk({MOST}, {of_all})"
    return Panel(
        f"Energy per {part} token, top {MOST}",
        f"Energy of {what}, estimated from how energy moved with prompts, answers, steps and idle time over the last hour "
        f"({family}); at least and at most are its 95 % interval.",
        _UNIT,
        banded(lambda end: f"{series(family + end, _MODEL, scope='workload')} {most}", NAME),
        minimum=0,
        no_value="not told apart: the table below has the reason, or no engine is read",
    )


SPEC = DashboardRows({10: now, 20: tokens_energy, 30: split})
