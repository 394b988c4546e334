"""The doctor's page: one finding a block, its status as a word, what it means, and what to do. Pure."""

import textwrap
from collections.abc import Iterator

from wattlens.doctor.examine import Examination
from wattlens.doctor.finding import GROUPS, DoctorFinding, FindingLevel, gpus

_TITLES = {
    "software": "Software",
    "driver": "Driver",
    "gpus": "GPUs",
    "holders": "Processes on GPUs",
    "node": "Node",
    "agent": "Agent",
    "actuator": "Steering",
}
_STATUS_W, _SUBJECT_W = 7, 16
MIN_WIDTH, MAX_WIDTH = 60, 120


def page(examination: Examination, width: int) -> str:
    """The page at `width` columns (60 to 120 are used)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    what = "simulated, " if examination.simulated else ""
    driver = f", driver {examination.driver}" if examination.driver else ""
    count = f"{examination.gpu_count} GPU{'' if examination.gpu_count == 1 else 's'}"
    if not examination.driver:
        count = "GPUs unknown"
    lines = textwrap.wrap(f"Wattlens doctor: node {examination.node} ({what}{count}{driver})", width)
    for group in GROUPS:
        findings = [f for _, g, f in examination.findings if g == group]
        if findings:
            lines += ["", _TITLES[group]]
            for finding in findings:
                lines += _block(finding, width)
    return "\n".join([*lines, "", *_verdict(examination, width)])


def _block(finding: DoctorFinding, width: int) -> Iterator[str]:
    margin = " " * (_STATUS_W + _SUBJECT_W)
    head = f"{finding.status.value:<{_STATUS_W}}{finding.subject:<{_SUBJECT_W - 1}} "
    where = f"{gpus(finding.devices)}: " if finding.devices else ""
    yield from _wrapped(where + finding.means, head, margin, width)
    if finding.fix:
        yield from _wrapped(finding.fix, margin + "-> ", margin + "   ", width)


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=True
    )


def _verdict(examination: Examination, width: int) -> list[str]:
    counts = examination.counts()
    tally = ", ".join(f"{counts[s]} {s.value}" for s in FindingLevel if counts[s])
    stops = [f.subject for _, _, f in examination.findings if f.stops and f.status is FindingLevel.FAIL]
    if stops:
        text = f"The agent cannot run here ({', '.join(dict.fromkeys(stops))}): {tally}."
    elif counts[FindingLevel.FAIL]:
        text = f"The agent can run here, but some checks failed: {tally}."
    else:
        text = f"The agent can run here: {tally}."
    lines = textwrap.wrap(text, width)
    for status in (FindingLevel.FAIL, FindingLevel.WARN):  # again at the end, where a small terminal shows it
        named = [
            f"{f.subject}{f' ({gpus(f.devices)})' if f.devices else ''}"
            for _, _, f in examination.findings
            if f.status is status
        ]
        if named:
            lines += textwrap.wrap(f"{status.value}: {', '.join(named)}", width, subsequent_indent="      ")
    return lines
