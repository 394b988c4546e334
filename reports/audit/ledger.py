"""Check that the ledger still has every file of the days that a report uses, byte for byte.

Figures use only some files of a day, so the facts can be reproduced from a ledger whose other files have changed.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from energy_agent.core.errors import ChainError
from reports.audit.inputs import LedgerDay
from reports.ledger.days import DayStorage

_READERS = 4


def changed_files(days: Sequence[LedgerDay], ledger: str) -> list[str] | None:
    """What is not as it was, a text for each file or day; None: there are no compacted days, but what they are made of.

    Args:
        days: as the report's manifest has them, each with the statement and the hashes that it was made of.
        ledger: folder or fsspec URL.

    Raises:
        UsageError: there is no such folder.
    """
    system = DayStorage(ledger)
    folders = {key: path.removesuffix("/manifest.json") for key, path in system.manifests().items()}
    if not folders:
        return None
    wrong, wanted = [], []
    for each in days:
        folder = folders.get((each.site, each.day, each.statement))
        if folder is None:
            wrong.append(f"{each.site}/{each.day}: statement {each.statement} is missing")
        else:
            wanted += [(each, folder, name) for name in sorted(each.files)]
    with ThreadPoolExecutor(_READERS) as pool:
        wrong += [text for text in pool.map(lambda one: _differs(system, *one), wanted) if text]
    return sorted(wrong)


def _differs(system: DayStorage, day: LedgerDay, folder: str, name: str) -> str:
    """What is wrong with a file; "": nothing."""
    label = f"{day.site}/{day.day}/{folder.rpartition('/')[2]}/{name}"
    if "/" in name:
        return f"{label}: not a valid name of a daily file"
    try:
        return "" if system.sha256(f"{folder}/{name}") == day.files[name] else f"{label}: was changed"
    except ChainError:
        return f"{label}: cannot be read"
