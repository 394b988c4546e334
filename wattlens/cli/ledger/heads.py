"""Signed heads on the command line: `compact --sign-heads` writes them, `verify --heads` checks chains against them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from wattlens.cli._command import CommandOptions
from wattlens.cli.ledger.signer import NEED_SIGNING

if TYPE_CHECKING:
    from energy_agent.ledger.fleet.heads import SignedHeads
    from energy_agent.ledger.fleet.statement import SiteDay
    from energy_agent.ledger.segments.segment import Signer


def configure_verify(add: CommandOptions) -> None:
    """Options of `wattlens ledger verify`."""
    add(
        "--heads PATH",
        "signed heads that the chains must contain: a heads.jsonl, or a folder of compacted days; may be repeated",
        action="append",
        default=[],
    )
    add("--heads-key HEX", "expected public key of the heads' signer, 64 hexadecimal digits")


def configure_compact(add: CommandOptions) -> None:
    """Options of `wattlens ledger compact`."""
    add(
        "--sign-heads KEYFILE",
        "sign the last segment of each node's chain with this Ed25519 key (PEM); writes heads.jsonl next to each manifest",
    )


def read(paths: Sequence[Path], key: str | None) -> list["SignedHeads"]:
    """Read the files of `--heads`, before the chains, which take long to verify."""
    from energy_agent.ledger.fleet import heads
    from energy_agent.ledger.signing import available

    if key is not None and not paths:
        raise UsageError("--heads-key: expected together with --heads")
    if key is not None and not re.fullmatch("[0-9a-f]{64}", key):
        raise UsageError("--heads-key: expected 64 digits 0-9a-f, as `wattlens ledger compact --sign-heads` prints them")
    if paths and not available():
        raise UsageError(f"--heads: {NEED_SIGNING}")
    return heads.find(paths)


def sign(statement: "SiteDay", signer: "Signer") -> str:
    """Sign the heads of a statement; return the fault of the existing signed heads, "" without one."""
    from energy_agent.ledger.fleet import heads
    from energy_agent.ledger.fleet.statement import MANIFEST, read_manifest

    if not statement.heads:
        return ""
    wrong = heads.contradiction(statement.folder, dict(read_manifest(statement.folder / MANIFEST)["inputs"]))
    if wrong:
        return wrong
    try:
        data = heads.encode(statement.site, statement.day, statement.number, statement.heads, signer)
        return heads.write(statement.folder, data)
    except OSError as error:
        raise UsageError(f"cannot write {statement.folder}: {error.strerror}") from None
