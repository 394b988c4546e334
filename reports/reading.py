"""Reads a ledger folder into sums: bytes and chains of all segments are verified before a figure is made of them.

A report needs a ledger, not an agent: figures come from sealed segments only, so that they can be rebuilt from files. Where the
agent's journal lies beside them, the segments must also agree with it.
"""

from pathlib import Path

from energy_agent.core.errors import ChainError, WattlensError
from energy_agent.ledger import chain, segments
from energy_agent.ledger.reading import JOURNAL_NAME
from energy_agent.ledger.view import read_journal
from reports.period import Period, utc_text
from reports.sums import Chain, Sums


def read_ledger(folder: Path, period: Period) -> Sums:
    """The sums of every segment in `folder` and below it.

    Raises:
        UsageError: the folder is not there.
        WattlensError: it has no segments, or none with energy in the period.
        ChainError: a segment is damaged, missing or there twice; the line names it.
        JournalError: the journal beside the segments cannot be read.
    """
    journal = read_journal(folder / JOURNAL_NAME) if (folder / JOURNAL_NAME).exists() else None
    paths = chain.find([folder])
    if not paths:
        raise WattlensError(f"{folder}: no segments in this ledger; an agent writes one each hour and when it stops")
    report = chain.verify([folder], journal)
    if report.faults:
        more = f" ({len(report.faults) - 1} more; see `wattlens ledger verify`)" if report.faults[1:] else ""
        raise ChainError(f"{report.faults[0].line}{more}")
    sums = Sums(period, simulated=any(c.simulated for c in report.chains))
    verified = {(c.cluster, c.node, n): digest for c in report.chains for n, digest in c.seen.items()}
    versions: dict[tuple[str, str], str] = {}
    first_ns, last_ns = [], []
    for path in paths:
        content = segments.read(path)
        header = content.header
        if verified.get((header.cluster, header.node, header.sequence)) != content.sha256:
            raise ChainError(f"{path}: changed while it was read; run the report again")
        versions[header.cluster, header.node] = header.version
        first_ns.append(header.from_ns)
        last_ns.append(header.to_ns)
        for row in content.rows:
            sums.add(row, header.node)
    sums.close()
    sums.chains = [
        Chain(c.cluster, c.node, c.first, c.last, c.head, versions[c.cluster, c.node])
        for c in report.chains
        if c.first is not None and c.last is not None
    ]
    if not sums.device_uj:
        held = f"the ledger holds {utc_text(min(first_ns))} to {utc_text(max(last_ns))}"
        raise WattlensError(f"{folder}: no energy in the period; {held}")
    return sums
