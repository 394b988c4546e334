"""The rows of a job from a fleet's compacted days, by DuckDB: only those of the job's workloads leave the database."""

import json
from typing import Any, Final

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.errors import WattlensError
from energy_agent.ledger.chain import Progress
from energy_agent.ledger.fleet.sites import Sites
from reports.ledger.days import find_days, overlapping, verify_files
from reports.ledger.scratch import SITE, compacted
from reports.ledger.store import DayDatabase, kind_file, open_store
from reports.ledger.sums import SiteWindow
from wattlens.job.address import JobAddress
from wattlens.job.record import JobRecord

_READ: Final = ("holder_day", "span_day", "workload_cell", "tokens", "steps", "phase", "gap", "workload", "device")
_ROWS: Final = ("cell", "time", "span")
_NAMES: Final = {"cluster": "VARCHAR", "node": "VARCHAR", "workload": "VARCHAR"}
_CANDIDATES: Final = """
SELECT DISTINCT p.cluster, p.node, p.workload, p.workload_kind, p.labels, p.since_ns, max(p.sequence) AS sequence
FROM all_workload AS p JOIN file AS f ON f.path = p.filename
WHERE p.workload_kind = ? AND contains(p.labels, ?) AND contains(p.labels, ?)
GROUP BY p.cluster, p.node, p.workload, p.workload_kind, p.labels, p.since_ns ORDER BY p.since_ns, sequence
"""
_ENERGY: Final = """
SELECT cluster, node, workload, device, state, sum(energy_uj), sum(gpu_ns)
FROM holder_piece JOIN member USING (cluster, node, workload) GROUP BY ALL ORDER BY ALL
"""
_SPANS: Final = """
SELECT cluster, node, workload, device, gap_bound_uj, start_ns, end_ns, edge_first_uj, edge_inner_uj, edge_last_uj
FROM span_piece JOIN member USING (cluster, node, workload) ORDER BY start_ns, end_ns, edge_first_uj, edge_inner_uj
"""
_METERED: Final = """
SELECT cluster, node, device, sum(metered_ns), sum(gap_ns)
FROM (SELECT * FROM span_piece WHERE workload = '') AS whole
JOIN (SELECT DISTINCT day_ns, cluster, node FROM holder_piece JOIN member USING (cluster, node, workload)) AS used
USING (day_ns, cluster, node) GROUP BY ALL ORDER BY ALL
"""
_WHOLE: Final = """
SELECT DISTINCT device, start_ns, end_ns, cluster, node FROM span_piece JOIN job_device USING (device)
WHERE workload = '' AND start_ns > 0 ORDER BY ALL
"""
_CELLS: Final = """
SELECT cell_start_ns, sum(gpu_ns) FROM cell_in JOIN member USING (cluster, node, workload) GROUP BY ALL ORDER BY ALL
"""
_TOKENS: Final = """
SELECT phase, model, sum(tokens) FROM tokens_in JOIN member USING (cluster, node, workload) GROUP BY ALL ORDER BY ALL
"""
_STEPS: Final = """
SELECT cluster, node, workload, phase, start_ns, end_ns, steps FROM all_steps JOIN member USING (cluster, node, workload)
JOIN file ON file.path = filename WHERE cell_start_ns >= file.from_ns AND cell_start_ns < file.to_ns ORDER BY ALL
"""
_PHASES: Final = """
SELECT phase, sum(energy_uj), sum(gpu_ns) FROM all_phase JOIN member USING (cluster, node, workload)
JOIN file ON file.path = filename WHERE cell_start_ns >= file.from_ns AND cell_start_ns < file.to_ns GROUP BY ALL ORDER BY ALL
"""
_GAINS: Final = "SELECT device, max(gain_ppm) FROM all_device JOIN job_device USING (device) GROUP BY ALL"
_OPEN: Final = "SELECT DISTINCT cluster, node, device FROM gap_in WHERE starts_with(reason, ?)"


def read_record(ledger: str, address: JobAddress, start_ns: int, end_ns: int, progress: Progress | None = None) -> JobRecord:
    """What a fleet's days hold of a job within [start_ns, end_ns); without workloads where they hold nothing.

    Raises:
        UsageError: nothing there that is a ledger.
        ChainError: a file is not what its day's manifest says.
        WattlensError: no day of the period.
    """
    with compacted(ledger, Sites({}, SITE), progress) as system:
        days = overlapping(find_days(system), start_ns, end_ns)
        if not days:
            raise WattlensError(f"{ledger}: no day of the period found")
        windows = {day.site: SiteWindow(start_ns, end_ns) for day in days}
        verify_files(system, days, [kind_file(kind) for kind in _READ])
        cut = [day for day in days if day.start_ns < start_ns or day.end_ns > end_ns]
        verify_files(system, cut, [kind_file(kind) for kind in _ROWS])
        with open_store(system, days, windows) as store:
            record = JobRecord(f"days {ledger}", start_ns, end_ns, simulated=any(day.simulated for day in days))
            _find_members(store, record, address)
            if record.workloads:
                _fill(store, record)
            return record


def _find_members(store: DayDatabase, record: JobRecord, address: JobAddress) -> None:
    """Find the workloads of the job by their labels, and make the table `member`."""
    if address.scheduler == "slurm":
        terms = ("slurm", f'{address.name}"', "")
    else:
        terms = ("pod", f'"namespace":"{address.namespace}"', f'{address.name}"')
    for cluster, node, workload, kind, labels, _, _ in store.rows(_CANDIDATES, terms):
        parsed = json.loads(labels)
        if address.matches(workload, kind, parsed):
            record.workloads[cluster, node, workload] = kind, parsed
    owners = list(record.workloads)
    store.table("member", _NAMES, {name: [owner[at] for owner in owners] for at, name in enumerate(_NAMES)})


def _fill(store: DayDatabase, record: JobRecord) -> None:
    for cluster, node, workload, device, state, energy_uj, gpu_ns in store.rows(_ENERGY):
        record.add_energy((cluster, node, workload), device, state, int(energy_uj), int(gpu_ns))
    for cluster, node, workload, device, gap_uj, *run in store.rows(_SPANS):
        record.add_span((cluster, node, workload), device, run, int(gap_uj))
    devices: dict[str, list[Any]] = {"device": sorted(record.device_uj)}
    store.table("job_device", {"device": "VARCHAR"}, devices)
    for cluster, node, device, metered_ns, gap_ns in store.rows(_METERED):
        record.add_metered((cluster, node, device), int(metered_ns), int(gap_ns))
    for device, start_ns, end_ns, cluster, node in store.rows(_WHOLE):
        record.metered_at.setdefault(device, []).append((start_ns, end_ns, cluster, node))
    for cell_start_ns, gpu_ns in store.rows(_CELLS):
        record.add_cell(cell_start_ns, int(gpu_ns))
    for phase, model, tokens in store.rows(_TOKENS):
        record.add_tokens(phase, model, int(tokens))
    for cluster, node, workload, phase, start_ns, end_ns, steps in store.rows(_STEPS):
        record.add_steps((cluster, node, workload), phase, start_ns, end_ns, steps)
    for phase, energy_uj, gpu_ns in store.rows(_PHASES):
        record.add_phase(phase, int(energy_uj), int(gpu_ns))
    record.gain_ppm |= {device: int(ppm) for device, ppm in store.rows(_GAINS)}
    record.open_places |= {(cluster, node, device) for cluster, node, device in store.rows(_OPEN, (UNBOUNDED,))}
