"""The DVFS dashboard: permissions, requests, actions and effects of steering; its savings and their cost."""

from dashboards.boards.dvfs import rows
from dashboards.dashboard import (
    BLUE,
    RATE,
    Annotation,
    Dashboard,
    Variable,
    build_rows,
    gpu_choices,
    node_choices,
    recorded,
    series,
)
from dashboards.rules.steering import DECISIONS

_MARKS = 5


def board() -> Dashboard:
    """The dashboard."""
    changes = recorded(DECISIONS, 'action!="hold"', scope="node")
    made, made_before = (f"max_over_time({changes}[{RATE}]{offset})" for offset in ("", f" offset {RATE}"))
    return Dashboard(
        uid="wattlens-dvfs",
        title="Wattlens / DVFS",
        description="Steering of clocks and power limits by group: modes, requested, applied and actual settings, reasons for "
        "changes, savings and their cost.",
        variables=(
            *node_choices("dvfs_lease_active"),
            *gpu_choices(),
            Variable("group", "Group", series("dvfs_group_info")),
        ),
        rows=build_rows(rows),
        annotations=(
            Annotation(
                "Changes by steering",  # starts only: reasons that recur every round would shade the whole graph
                f"topk({_MARKS}, {made} > 0 unless {made_before} > 0)",
                "{{policy}}: {{action}}",
                "{{reason}}, on {{instance}}",
            ),
            Annotation("Written by wattlens dashboards annotate", tags=("wattlens", "dvfs"), colour=BLUE),
        ),
    )
