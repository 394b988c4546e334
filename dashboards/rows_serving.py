"""The row of serving: joules a token by boundary, by how many requests ran, and of prefill and decode."""

from dashboards.board import RATE, Panel, Query, Row, lights, recorded, series, third
from dashboards.rules import joules_per_token

_NAME = "{{workload}} {{model}}"
_GENERATED = 'phase="generation"'


def serving() -> Row:
    """The row."""
    return Row(
        "Serving",
        (
            third(
                "Joules a generated token by boundary",
                "Energy of the GPUs (gpu), of the node (node) and with the site's overhead (facility), idle included, by the "
                "tokens generated over five minutes. A boundary is there only where it is metered.",
                "suffix: J/token",
                (
                    Query(
                        recorded(joules_per_token("instance_workload_model"), 'energy="active_idle"', 'tokens="generation"'),
                        _NAME + ", {{boundary}}",
                    ),
                ),
                no_value="no tokens in the last five minutes, a GPU lost, or the recording rules not loaded",
            ),
            third(
                "Joules a generated token by batch",
                "Energy of the stretches in which so many requests ran, divided by their generated tokens "
                "(serving_energy_joules_total). Batch decides over it more than clock or board: compare within one.",
                "suffix: J/token",
                (
                    Query(
                        f"{_rate('serving_energy_joules_total')} / ({_rate('serving_tokens_total', _GENERATED)} > 0)",
                        _NAME + ", {{running}} running",
                    ),
                ),
                no_value="no engine tells its batch, or none ran",
            ),
            lights(
                "Steady load",
                "Whether power, answers and running requests varied by less than a tenth in the last minute (serving_steady). "
                "Only then is a figure to be compared with another.",
                "none",
                (Query(series("serving_steady", scope="workload"), _NAME),),
                states={"1": ("steady", "green"), "0": ("varying", "blue")},
                no_value="a minute has not been seen yet, or no engine is read",
            ),
            *(_part(part, what) for part, what in (("prefill", "a computed prompt token"), ("decode", "a generated token"))),
        ),
    )


def _rate(counter: str, *matchers: str) -> str:
    return f"sum by (workload, model, running) (rate({series(counter, *matchers, scope='workload')}[{RATE}]))"


def _part(part: str, what: str) -> Panel:
    family = f"{part}_joules_per_token"
    ends = (("", ""), ("_lower", ", at least"), ("_upper", ", at most"))
    return Panel(
        f"Joules of {part}, with its interval",
        f"Energy of {what}, estimated from how energy moved with prompts, answers, steps and idle time over the last hour "
        f"({family}); at least and at most are its 95 % interval.",
        "suffix: J/token",
        tuple(Query(series(family + end, scope="workload"), _NAME + text) for end, text in ends),
        minimum=0,
        no_value="not told apart: see wattlens_serving_split_absent_info for the reason",
    )
