"""Signed heads: the last segment of each node's chain that a compacted day was made of, signed by the site.

Like the signed tree head of a transparency log: a kept file shows whether a chain still contains that segment, and so all
before it, even if somebody with the node's key rewrote the chain.

`heads.jsonl` lies next to a statement's manifest. It is ASCII JSON lines in the spelling of a segment: a header with the site's
public key, a line for each node sorted as text, and a last line with the signature over the SHA-256 of all lines before it.
"""

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError
from energy_agent.ledger.chain import Chain, ChainFault, VerificationReport, prefix_of, split_name
from energy_agent.ledger.rows.text import canonical
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.files import RealFiles, read_bounded
from energy_agent.ledger.segments.segment import Signer
from energy_agent.ledger.signing import fits

NAME: Final = "heads.jsonl"
SCHEMA: Final = 1
_MAX_B: Final = 64 << 20
"""Maximum size of a file: 200 bytes for each node."""
_HEX: Final = re.compile("[0-9a-f]{64}")
_HEADER: Final = {"day": str, "heads": int, "key": str, "kind": str, "schema": int, "site": str, "statement": int}
_HEAD: Final = {"cluster": str, "kind": str, "node": str, "sequence": int, "sha256": str}


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last segment of a node's chain, and so all segments before it."""

    cluster: str
    node: str
    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SignedHeads:
    """A file of heads as read. `key` is the public key that it names, as hex; the signature is over `signed_sha256`."""

    path: Path
    site: str
    day: date
    key: str
    heads: tuple[ChainHead, ...]
    signature: bytes
    signed_sha256: bytes

    def is_signed_by(self, key: str) -> bool:
        """Whether the signature is by this key. Raises ImportError: the library is missing."""
        return key == self.key and fits(bytes.fromhex(key), self.signature, self.signed_sha256)


def encode(site: str, day: date, statement: int, heads: Iterable[ChainHead], signer: Signer) -> bytes:
    """The bytes of a file of heads: the same for the same heads and key."""
    lines = sorted(canonical({"kind": "head"} | asdict(head)) for head in heads)
    header = {
        "kind": "heads",
        "schema": SCHEMA,
        "site": site,
        "day": day.isoformat(),
        "statement": statement,
        "heads": len(lines),
        "key": signer.key,
    }
    return segment.append_signature("\n".join([canonical(header), *lines, ""]).encode("ascii"), signer)


def write(folder: Path, data: bytes) -> str:
    """Put a file of heads next to a statement's manifest, never over another.

    Returns what is wrong with one that is there, "" if nothing. One that was signed with an earlier key stays.

    Raises:
        OSError: the folder cannot be written.
    """
    path, files = folder / NAME, RealFiles()
    if not path.exists() and not path.is_symlink():
        temporary = folder / f".{NAME}.{secrets.token_hex(8)}.tmp"
        files.write(temporary, data)
        files.rename(temporary, path)
        files.sync_folder(folder)
        return ""
    try:
        existing = read(path)
    except ChainError as error:
        return str(error)
    if existing.heads != decode(data, path).heads or not existing.is_signed_by(existing.key):
        return f"{path}: does not belong to this statement; move it out of the folder and compact again"
    return ""


def contradiction(folder: Path, inputs: Mapping[str, str]) -> str:
    """Name the signed head of an earlier statement of the day that this statement contradicts, "" for none.

    A site signs no two heads that contradict each other.

    Args:
        folder: of the statement.
        inputs: hashes of the segments that it was made of, by their file names.
    """
    for path in sorted(folder.parent.glob(f"r[0-9]*/{NAME}")):
        try:
            earlier = read(path).heads if path.parent != folder else ()
        except ChainError as error:
            return str(error)
        for head in earlier:
            digest = inputs.get(segment.file_name(head.cluster, head.node, head.sequence), head.sha256)
            if digest != head.sha256:
                who = f"segment {head.sequence} of {head.cluster}/{head.node}"
                return f"{path}: {who} is now {digest[:12]}, but {head.sha256[:12]} was signed; {folder.name} is not signed"
    return ""


def find(paths: Iterable[Path]) -> list[SignedHeads]:
    """Every file of heads in `paths`: files, or folders that are searched to the bottom.

    Raises:
        UsageError: a path that is not there, or a folder without any.
        ChainError: a file is damaged.
    """
    head_files: list[Path] = []
    for path in paths:
        files = sorted(path.rglob(NAME)) if path.is_dir() else [path]
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        if not files:
            raise UsageError(f"{path}: has no {NAME}; create it with `wattlens ledger compact --sign-heads`")
        head_files += files
    return [read(path) for path in dict.fromkeys(head_files)]


def read(path: Path) -> SignedHeads:
    """Read a file of heads; its signature is not checked yet. Raises ChainError naming file and line."""
    return decode(read_bounded(path, _MAX_B), path)


def decode(data: bytes, path: Path) -> SignedHeads:
    """Read the bytes of a file of heads. Raises ChainError naming file and line."""
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ChainError(f"{path}: is not a file of signed heads") from None
    header = _object(lines[0], "heads", _HEADER, f"{path}:1")
    try:
        day = date.fromisoformat(header["day"])
    except ValueError:
        raise ChainError(f"{path}:1: is corrupted (header: invalid day)") from None
    signature = segment.split_signature(data, lines[-2]) if len(lines) > 2 and not lines[-1] else None
    if header["schema"] != SCHEMA or not _HEX.fullmatch(header["key"]) or signature is None:
        raise ChainError(f"{path}: is not a complete file of signed heads of schema {SCHEMA}")
    values = [_object(line, "head", _HEAD, f"{path}:{number}") for number, line in enumerate(lines[1:-2], 2)]
    heads = tuple(ChainHead(**{name: value[name] for name in _HEAD if name != "kind"}) for value in values)
    if len({(head.cluster, head.node) for head in heads}) != len(heads) or len(heads) != header["heads"]:
        raise ChainError(f"{path}: is corrupted (expected {header['heads']} heads of different nodes, as its header states)")
    return SignedHeads(path, header["site"], day, header["key"], heads, bytes.fromhex(signature[0]), signature[1])


def _object(line: str, kind: str, fields: Mapping[str, type], where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ChainError(f"{where}: is not a line of a signed heads file") from None
    sound = isinstance(value, dict) and value.keys() == fields.keys() and value["kind"] == kind
    if not sound or any(type(value[name]) is not form for name, form in fields.items()) or canonical(value) != line:
        raise ChainError(f"{where}: is not a line of a signed heads file")
    return dict(value)


def check(
    report: VerificationReport, files: Sequence[SignedHeads], key: str = "", only: tuple[str, str] | None = None
) -> VerificationReport:
    """The report with what signed heads show: each chain that they are of gets what it contains, or a fault.

    Args:
        report: of the chains, whose links are verified: a chain that contains a segment contains all before it as they were.
        files: the heads; those of a file with a wrong signature show nothing.
        key: public key of the site as hex; "": the one that each file names.
        only: (cluster, node) of the one node whose chain was verified; None: every node's should be there.

    Raises:
        ImportError: the library for signatures is missing.
    """
    chains = {split_name(c.file)[0] if c.file else prefix_of(c.cluster, c.node): c for c in report.chains}
    faults = []
    for signed in files:
        if not signed.is_signed_by(key or signed.key):
            is_other = key not in ("", signed.key)
            why = f"is signed by {signed.key[:16]}, not by {key[:16]}" if is_other else "has an invalid signature"
            faults.append(ChainFault("head", f"{signed.path}: {why}"))
            continue
        for head in signed.heads:
            if only is None or only == (head.cluster, head.node):
                prefix = prefix_of(head.cluster, head.node)
                _check(chains.setdefault(prefix, Chain(head.cluster, head.node)), head, signed)
    return replace(report, chains=tuple(chains.values()), further=(*report.further, *faults))


def _check(chain: Chain, head: ChainHead, signed: SignedHeads) -> None:
    digest = chain.digests.get(head.sequence)
    if digest == head.sha256:
        chain.heads.append((signed.day, head.sequence))
        return
    if digest:
        what = f"is now {digest[:12]}, but {head.sha256[:12]} was signed: the chain was rewritten"
    elif digest is not None:
        what = "cannot be read"
    elif chain.last is None:
        what = "is missing, like every other segment of the node"
    elif head.sequence > chain.last:
        what = f"is missing: the chain ends at {chain.last}"
    else:
        what = f"is missing: the chain has {chain.first} to {chain.last}"
    where = f"{head.cluster}/{head.node}: segment {head.sequence}, the head of {signed.day} signed in {signed.path}"
    chain.faults.append(ChainFault("head", f"{where}, {what}"))
