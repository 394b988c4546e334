"""A statement from the counters of agents in a Prometheus: they are imported into a scratch folder and read as a ledger."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from wattlens.history_import.request import ImportRequest
from wattlens.history_import.run import Progress, run
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import PrometheusHistory
from wattlens.usage.ledger_rows import read_usage
from wattlens.usage.statement import GroupBy, Usage


def read_prometheus(
    access: PrometheusAccess,
    by: GroupBy,
    start_ns: int,
    end_ns: int,
    now_ns: int,
    match: Mapping[str, str],
    report: Callable[[str], None],
    progress: Progress | None = None,
) -> Usage:
    """The statement of a period; `match` are labels that every series must have, `report` is given what the import noted.

    Raises:
        WattlensError: no series, or no answer that can be used.
    """
    request = ImportRequest("wattlens", start_ns, end_ns, now_ns, match=match)
    with tempfile.TemporaryDirectory(prefix="wattlens-usage-") as scratch:
        folder = Path(scratch) / "imported"
        for note in run(request, PrometheusHistory(access), folder, progress=progress).notes:
            report(note)
        usage = read_usage(folder, by, start_ns, end_ns)
    return replace(usage, scope=replace(usage.scope, source=f"Prometheus {access.url}"))
