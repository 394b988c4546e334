"""The row of workloads: their power, energy, tokens and joules per token with its band."""

from dashboards.board import RATE, Panel, Query, Row, increase, recorded, series
from dashboards.rules import TOKEN_RATE, joules_per_token


def workloads() -> Row:
    """The row."""
    chosen = ('boundary="gpu"', 'energy="active"', 'tokens="generation"')
    level = "instance_workload_model"
    name = "{{workload}} {{model}}"
    energy = increase("workload_energy_joules_total", scope="workload")
    bands = tuple(
        Query(recorded(joules_per_token(level, band), *chosen), name + text)
        for band, text in (("", ""), ("_low", ", at least"), ("_high", ", at most"))
    )
    return Row(
        "Workloads",
        (
            Panel(
                "Power of workloads",
                "Energy a second of each workload, while a kernel ran (active) and while it only held the GPU (idle) "
                "(workload_energy_joules_total).",
                "watt",
                (
                    Query(
                        f"sum by (workload, state) (rate({series('workload_energy_joules_total', scope='workload')}[{RATE}]))",
                        "{{workload}} {{state}}",
                    ),
                ),
                minimum=0,
                stacked=True,
            ),
            Panel(
                "Energy of workloads in the chosen time",
                "Energy of each workload on all its GPUs by state (workload_energy_joules_total).",
                "joule",
                (Query(f"sum by (workload, state) ({energy})", "energy"),),
                kind="table",
            ),
            Panel(
                "Joules a generated token, with its band",
                "Energy of the workload's GPUs while a kernel ran, divided by the tokens that it generated, over five "
                "minutes; at least and at most are the ends of the band from the sensors' systematic error. GPU boundary: no "
                "host, no cooling. Compare only at equal load. Empty without tokens or while one of its GPUs is lost.",
                "suffix: J/token",
                bands,
                minimum=0,
                no_value="not measurable: no tokens in the last five minutes, a GPU lost, or the recording rules not loaded",
            ),
            Panel(
                "Tokens a second",
                "Tokens that each workload generated, and generated and computed from prompts together (processed), over five "
                "minutes (tokens_total).",
                "suffix: tokens/s",
                (Query(recorded(TOKEN_RATE), name + " {{tokens}}"),),
                minimum=0,
                no_value="no workload reports tokens, or the recording rules are not loaded",
            ),
        ),
    )
