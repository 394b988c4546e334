"""Copy segments to an fsspec URL, each once and whole, never over an existing file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energy_agent.core.errors import ChainError, WattlensError
from energy_agent.ledger.chain import Progress
from energy_agent.ledger.fleet.remote import open_url
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import read_bounded


@dataclass(frozen=True, slots=True)
class Shipment:
    """What `ship` did."""

    copied: int
    there: int  # were there already, with the same content
    refused: tuple[str, ...] = ()  # a line for each that is damaged here, or has other content there


def ship(files: Sequence[Path], url: str, progress: Progress | None = None) -> Shipment:
    """Copy segments to `url`; a file that is there already is compared, not copied.

    A copy gets a temporary name, is read back and compared by its hash, and is then renamed, so that no reader ever sees half a
    segment under its name. Done again after any failure, it goes on where it stopped. A segment that is damaged here, or whose
    name is taken there, does not keep the others from being copied.

    Raises:
        UsageError: no such protocol, or its package is not installed.
        WattlensError: the copy failed.
    """
    system, root = open_url(url)
    copied = there = 0
    refused: list[str] = []
    try:
        system.makedirs(root, exist_ok=True)
        for number, path in enumerate(files):
            if progress is not None:
                progress(number, len(files))
            try:
                if _ship_one(system, f"{root.rstrip('/')}/{path.name}", path):
                    copied += 1
                else:
                    there += 1
            except ChainError as error:
                refused.append(str(error))
    except WattlensError:
        raise
    except Exception as error:  # fsspec's file systems raise whatever their libraries raise
        raise WattlensError(
            f"{url}: shipping failed after {copied} segments: {error}; run the command again to continue"
        ) from error
    return Shipment(copied, there, tuple(refused))


def _ship_one(system: Any, target: str, path: Path) -> bool:
    """Whether it was copied; False if it was there."""
    data = read_bounded(path, segment.FILE_MAX_B)
    digest = segment.sha256(segment.expand(data, str(path)))
    if system.exists(target):
        if _digest(system, target) == digest:
            return False
        raise ChainError(
            f"{target}: already exists, with other content than {path}; two nodes have the same name, or a copy is damaged"
        )
    temporary = f"{target}.tmp"
    system.pipe_file(temporary, data)
    if _digest(system, temporary) != digest:
        raise WattlensError(f"{temporary}: the copy of {path} differs when it is read back; the storage is damaged")
    system.mv(temporary, target)
    return True


def _digest(system: Any, target: str) -> str:
    try:
        return segment.sha256(segment.expand(system.cat_file(target, end=segment.FILE_MAX_B + 1), target))
    except ChainError:
        return ""
