"""Read a source of energy for `usage`, `job` and data frames: an agent's ledger, segments, compacted days or a Prometheus."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.ledger.chain import Progress
from reports.inputs.organisation import Organisation
from reports.ledger.scratch import is_compacted
from wattlens.prometheus.access import PrometheusAccess
from wattlens.prometheus.history import PrometheusHistory
from wattlens.usage.job_address import JobAddress
from wattlens.usage.ledger_rows import read_ledger
from wattlens.usage.opened import OpenLedger, open_days, open_record
from wattlens.usage.prometheus import read_counters, read_job_counters
from wattlens.usage.statement import GroupBy, Usage
from wattlens.usage.sums import statement_of


def local_ledger(source: str | None) -> str:
    """The path or URL of a ledger, or this machine's agent if `source` is None.

    Raises:
        UsageError: not found.
    """
    if source is None:
        from wattlens.state_folder import default_state_dir

        state = default_state_dir()
        if not (state / "journal.db").exists():
            raise UsageError(f"{state}: no agent's ledger found; give a SOURCE or --prometheus URL")
        return str(state)
    if "://" not in source and not Path(source).exists():
        raise UsageError(f"{source}: no such file or folder")
    return source


@dataclass(frozen=True, slots=True)
class EnergySource:
    """A path or URL of a ledger, or a Prometheus; `match` are labels that its series must have."""

    place: str | PrometheusAccess
    match: Mapping[str, str] = field(default_factory=dict)

    def open(
        self,
        start_ns: int,
        end_ns: int,
        *,
        address: JobAddress | None = None,
        organisation: Organisation | None = None,
        progress: Progress | None = None,
    ) -> AbstractContextManager[OpenLedger]:
        """Tables of a period [start_ns, end_ns), edges of cells.

        Args:
            start_ns: the start.
            end_ns: the end.
            address: read only what a statement of this job needs.
            organisation: whose inventory gives the site of each device.
            progress: called with the numbers of (completed, all) nodes or files.

        Raises:
            WattlensError: the source cannot be read, or is damaged.
        """
        if isinstance(self.place, PrometheusAccess):
            history = PrometheusHistory(self.place)
            if address is not None:
                return open_record(read_job_counters(history, start_ns, end_ns, address, self.match))
            return open_record(read_counters(history, start_ns, min(end_ns, time.time_ns()), self.match, progress))
        path = Path(self.place)
        is_days = "://" in self.place or (not (path / "journal.db").exists() and is_compacted(path))
        if organisation is not None or is_days:
            return open_days(self.place, start_ns, end_ns, organisation, progress)
        return open_record(read_ledger(path, start_ns, end_ns, address))

    def usage(
        self,
        by: GroupBy,
        start_ns: int,
        end_ns: int,
        *,
        organisation: Organisation | None = None,
        progress: Progress | None = None,
    ) -> Usage:
        """The statement of a period. Time that is still to come does not count as missing.

        Raises:
            WattlensError: the source cannot be read, or has no energy in the period.
        """
        with self.open(start_ns, end_ns, organisation=organisation, progress=progress) as ledger:
            usage = statement_of(ledger, by, organisation)
        return replace(usage, scope=replace(usage.scope, end_ns=min(usage.scope.end_ns, time.time_ns())))
