"""Energy as pandas DataFrames: the rows of `wattlens usage` and `wattlens job`, from the same sources by the same SQL."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_DAY, NS_PER_S
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.sdk.frame import to_frame
from reports.period import utc_text
from wattlens import __version__
from wattlens.job.output import job_values
from wattlens.job.statement import report_of
from wattlens.prometheus.access import PrometheusAccess
from wattlens.usage.job_address import parse_address
from wattlens.usage.output import COLUMNS, row_values, summary_values
from wattlens.usage.period import DEFAULT_SINCE, parse_duration, read_period
from wattlens.usage.rates import parse_carbon, parse_price, with_carbon, with_price
from wattlens.usage.source import EnergySource, local_ledger
from wattlens.usage.statement import TOTAL, GroupBy, Usage, joined
from wattlens.usage.sums import NoEnergyError

if TYPE_CHECKING:
    import pandas

INTERVALS_MAX: Final = 10_000
_ROWS: Final = (*COLUMNS[:-1], "energy_uj_lower", "energy_uj_upper", "coverage_ratio", "boundary", "absent")
_JOBS: Final = (
    "job", "duration_s", "energy_uj", "active_uj", "idle_uj", "gpu_uj", "energy_kwh", "energy_kwh_lower", "energy_kwh_upper",
    "gpu_hours_active", "gpu_hours_idle", "gpus", "nodes", "workloads", "steps", "joules_per_step", "joules_per_step_lower",
    "joules_per_step_upper", "tokens", "joules_per_token", "joules_per_token_lower", "joules_per_token_upper", "boundary",
    "simulated", "absent",
)  # fmt: skip


class SourceOptions(TypedDict, total=False):
    """A Prometheus, labels that its series must have, and files with its credentials."""

    prometheus: str
    match: Mapping[str, str]
    token_file: str | Path
    user_file: str | Path
    ca_file: str | Path


def energy(
    source: str | Path | None = None,
    *,
    by: str = "workload",
    since: str | date = DEFAULT_SINCE,
    to: str | date | None = None,
    every: str | None = None,
    org: str | Path | None = None,
    price: str | None = None,
    carbon: str | float | None = None,
    **options: Unpack[SourceOptions],
) -> "pandas.DataFrame":
    """Energy, tokens, cost and CO2e by workload, owner, namespace, user, team, model, gpu or node (docs/data-frames.md).

    One row per group, or per interval and group with `every`; the index is the UTC start. Every joule of the period is in one
    row: the exact `energy_uj` sums to `attrs["total"]["energy_uj"]`. A missing value is `<NA>`, and `absent` has the reason.

    Args:
        source: an agent's state folder, a folder of segments, or compacted days (a folder or URL); default: this machine's.
        by: what the rows are.
        since: a time, or how long ago: 24h, 7d, yesterday, monday or 2026-01-31. UTC, in quarters of an hour.
        to: the end, not included; default: now.
        every: the length of intervals, such as 15m, 1h or 1d; default: one interval.
        org: org.xlsx or org.yaml of `wattlens report`: tariffs, grid factors, teams.
        price: such as 0.18EUR/kWh.
        carbon: grid carbon intensity in g CO2e per kWh.
        options: `prometheus`, the URL of one to read instead, with `match`, `token_file`, `user_file` and `ca_file`.

    Raises:
        WattlensError: an argument is wrong, the source cannot be read, or has no energy in the period.
        ValueError: `price` or `carbon` is wrong.
        ImportError: the extra `query` is not installed.

    >>> energy("/srv/wattlens/days", by="team", since="2026-04-01", every="1d")["energy_uj"].sum()  # doctest: +SKIP
    Decimal('161286364103')
    """
    if by not in list(GroupBy):
        raise UsageError(f"by: expected one of {', '.join(GroupBy)}, got {by!r}")
    now_ns = time.time_ns()
    tariff, grams = price and parse_price(price), None if carbon is None else parse_carbon(str(carbon))
    start_ns, end_ns = read_period(("since", str(since)), None if to is None else str(to), now_ns, "to")
    opened, organisation = _source(source, **options), None
    if org is not None:
        from wattlens.report.inputs.org import load_organisation

        organisation = load_organisation(Path(org), start_ns - NS_PER_DAY, end_ns + NS_PER_DAY, now_ns)
    width_ns = end_ns - start_ns if every is None else parse_duration(every)
    if not width_ns or width_ns % CELL_NS or end_ns - start_ns > width_ns * INTERVALS_MAX:
        raise UsageError(f"every: expected quarters of an hour such as 15m, 1h or 1d, at most {INTERVALS_MAX:,}, got {every!r}")
    usages, absent = list[Usage](), dict[str, str]()
    for at_ns in range(start_ns, end_ns, width_ns):
        try:
            usage = opened.usage(GroupBy(by), at_ns, min(at_ns + width_ns, end_ns), organisation=organisation)
        except NoEnergyError as error:
            absent[utc_text(at_ns)] = str(error)
            continue
        usage = with_price(usage, tariff) if tariff else usage
        usages.append(usage if grams is None else with_carbon(usage, grams))
    if not usages:
        raise NoEnergyError(absent.popitem()[1])
    rows = list[dict[str, Any]]()
    for usage in usages:
        head = summary_values(usage)
        for row in usage.rows:
            bounds = {"energy_uj_lower": row.energy.low_uj, "energy_uj_upper": row.energy.high_uj}
            rows.append(head | row_values(usage, row) | bounds)
    starts_ns = [usage.scope.start_ns for usage in usages for _ in usage.rows]
    return to_frame(rows, _ROWS, starts_ns, {"wattlens": __version__, **summary_values(_whole(usages)), "absent": absent})


def _whole(usages: list[Usage]) -> Usage:
    """The intervals as one statement that has only a total; their errors add up."""
    scopes, total = [usage.scope for usage in usages], joined(TOTAL, (usage.total for usage in usages))
    scope = replace(
        scopes[0],
        end_ns=scopes[-1].end_ns,
        last_ns=scopes[-1].last_ns,
        gpus=max(scope.gpus for scope in scopes),
        nodes=max(scope.nodes for scope in scopes),
        metered_ns=sum(scope.metered_ns for scope in scopes),
    )
    return replace(usages[0], scope=scope, rows=(total,), total=total)


def job_energy(
    jobs: str | Iterable[str],
    source: str | Path | None = None,
    *,
    since: str | date | None = None,
    to: str | date | None = None,
    **options: Unpack[SourceOptions],
) -> "pandas.DataFrame":
    """Energy, J/step and J/token of jobs over all their nodes, one row each; the index is the first reading (UTC).

    Args:
        jobs: one or several of k8s/NAMESPACE/NAME, k8s/NAMESPACE/KIND/NAME or slurm/JOB.
        source: as in `energy`.
        since: ignore earlier energy; default: all of a ledger, 7d of Prometheus.
        to: the end, not included; default: now.
        options: as in `energy`.

    Raises:
        WattlensError: an argument is wrong, or the source cannot be read or has nothing of a job.
        ImportError: the extra `query` is not installed.

    >>> job_energy(["slurm/4711", "slurm/4712"], "/srv/wattlens/days")["joules_per_token"]  # doctest: +SKIP
    start
    2026-04-01 10:00:00+00:00    0.314
    2026-04-02 08:30:00+00:00    0.298
    Name: joules_per_token, dtype: Float64
    """
    start = since or (DEFAULT_SINCE if "prometheus" in options else "1970-01-01")
    start_ns, end_ns = read_period(("since", str(start)), None if to is None else str(to), time.time_ns(), "to")
    opened, reports = _source(source, **options), []
    for address in map(parse_address, [jobs] if isinstance(jobs, str) else jobs):
        with opened.open(start_ns, end_ns, address=address) as ledger:
            reports.append(report_of(ledger, address))
    rows = [
        job_values(report)
        | {"duration_s": (report.last_ns - report.first_ns) / NS_PER_S, "nodes": len(report.nodes)}
        | {"steps": report.step_count or None, "tokens": report.token_count[0] or None}
        for report in reports
    ]
    attrs = {"wattlens": __version__, "from": utc_text(start_ns), "to": utc_text(end_ns)}
    attrs["source"] = ", ".join({report.source for report in reports})
    return to_frame(rows, _JOBS, [report.first_ns for report in reports], attrs)


def _source(source: str | Path | None, **options: Any) -> EnergySource:
    prometheus, match = options.pop("prometheus", None), options.pop("match", {})
    if prometheus is None:
        if match or options:
            raise UsageError("match and credentials: expected together with prometheus")
        return EnergySource(local_ledger(None if source is None else str(source)))
    if source is not None:
        raise UsageError(f"prometheus: cannot be combined with a source ({source})")
    files: dict[str, Any] = {name: Path(path) for name, path in options.items()}
    return EnergySource(PrometheusAccess(prometheus, **files), match)
