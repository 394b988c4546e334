"""The state folder: writable, with room for the journal's budget, and held by no other agent."""

import os
import tempfile
from pathlib import Path

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, fail, ok, warn

_FIX = "create it and give it to the agent's user, or choose another with --state"


def _look(facts: CheckContext) -> Findings:
    state = facts.state
    existing_path = next(p for p in (state, *state.absolute().parents) if p.exists())
    if not existing_path.is_dir():
        yield fail("state folder", f"{existing_path} is not a folder", _FIX, stops=True)
        return
    problem = _not_writable(existing_path)
    if problem:
        where = (
            f"{state}: {problem}"
            if existing_path == state
            else f"{state} does not exist and cannot be created in {existing_path}: {problem}"
        )
        yield fail("state folder", where, _FIX, stops=True)
        return
    disk = os.statvfs(existing_path)
    free_mib, budget_mib = disk.f_bavail * disk.f_frsize >> 20, facts.config.ledger.disk_budget_mib
    used_mib = sum(p.stat().st_size for p in state.glob("journal.db*")) >> 20 if existing_path == state else 0
    means = f"{state}{'' if existing_path == state else ' (will be created)'}, {free_mib} MiB free, budget {budget_mib} MiB"
    if free_mib + used_mib < budget_mib:
        yield warn(
            "state folder",
            f"{means}: the budget is larger than the free space",
            "free some space, or lower ledger.disk_budget_mib",
        )
    else:
        yield ok("state folder", means)


def _not_writable(folder: Path) -> str:
    """Tried with a file that has no name, so that nothing is left whatever happens."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"wattlens")
    except OSError as error:
        return error.strerror or str(error)
    return ""


SPEC = DoctorCheck("the state folder", "agent", _look)
