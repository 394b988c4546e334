"""A segment: one file of the ledger, whose bytes depend on nothing but its content.

Uncompressed it is ASCII JSON lines: the header, then the rows sorted as text. `gunzip -c FILE | sha256sum` is its hash, which
the next segment's header names as `previous`. Written to a temporary file, flushed, renamed, and the folder flushed, so that
a file with a segment's name is always whole.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from energy_agent.core.errors import ChainError, JournalError
from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger.rows.kinds import INT64_MAX, Row
from energy_agent.ledger.rows.text import canonical, from_json, to_json
from energy_agent.ledger.segments.files import SegmentFiles, read_bounded, read_start

SCHEMA: Final = 2
"""Of an unsigned segment."""
SIGNED_SCHEMA: Final = 3
"""Of a signed segment: `key` in the header, and a last line with the signature over the SHA-256 of all lines before it."""
FIRST_PREVIOUS: Final = "0" * 64
SUFFIX: Final = ".jsonl.gz"
_PEEK: Final = (2_048, 65_536)
FILE_MAX_B: Final = 32 << 20
_TEXT_MAX: Final = 32 << 20
"""Maximum of uncompressed bytes: 110,000 rows, of which a large node has 1,000 per hour. Reading takes 15 times as much."""
_RATIO_MAX: Final = 128
"""Maximum of uncompressed bytes per compressed byte. Segments have 15 to 20; gzip itself allows 1,032."""
_SLACK_B: Final = 64 << 10
SPAN_MAX_NS: Final = 366 * NS_PER_DAY
"""Maximum time from a segment's first row to its last: a clock that was years off gives more than one segment."""
_HEX: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Header:
    """First line of a segment. `previous` is the SHA-256 of the uncompressed segment before it, 64 zeros for the first."""

    schema: int
    cluster: str
    node: str
    boot_id: str
    sequence: int
    previous: str
    version: str
    simulated: bool
    from_ns: int
    to_ns: int
    rows: int
    key: str = ""  # public key of the signature, 32 bytes as hex; "" where it is unsigned


class Signer(Protocol):
    """Who signs a node's segments."""

    key: str  # the public key as hex

    def sign(self, digest: bytes) -> bytes:
        """The signature (64 bytes) over a SHA-256."""
        ...


_FIELDS: Final = {field.name: field.type for field in fields(Header)}
_UNSIGNED_FIELDS: Final = {name: kind for name, kind in _FIELDS.items() if name != "key"}
_SIGNATURE: Final = re.compile(r'\{"kind":"signature","signature":"([0-9a-f]{128})"\}')


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """A segment that was written."""

    path: Path
    sequence: int
    sha256: str
    previous: str
    from_ns: int
    to_ns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Content:
    """A segment that was read: `rows` in the order of the file, the first of them on line 2."""

    header: Header
    rows: tuple[Row, ...]
    sha256: str
    signature: str = ""  # as hex
    signed_sha256: bytes = b""  # what it is over


def file_name(cluster: str, node: str, sequence: int) -> str:
    """`<cluster>_<node>_<sequence>.jsonl.gz`; a name that had to be changed to fit gets a mark of what it was."""
    return f"{_safe(cluster)}_{_safe(node)}_{sequence:08d}{SUFFIX}"


@lru_cache(4_096)
def _safe(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9.-]", "-", name)[:80].lstrip(".-") or "x"
    return safe if safe == name else f"{safe}~{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def encode(header: Header, rows: Iterable[Row], signer: Signer | None = None) -> bytes:
    """The canonical bytes of a segment; with a signer its header gets the key, and the segment its signature."""
    if signer is not None:
        header = replace(header, schema=SIGNED_SCHEMA, key=signer.key)
    lines = sorted(canonical(to_json(row)) for row in rows)
    fields_of = asdict(header)
    if not header.key:
        del fields_of["key"]
    data = "\n".join([canonical({"kind": "segment"} | fields_of), *lines, ""]).encode("ascii")
    return data if signer is None else append_signature(data, signer)


def append_signature(data: bytes, signer: Signer) -> bytes:
    """Append a line with the signature over the SHA-256 of all lines; `split_signature` reads it."""
    signature = signer.sign(hashlib.sha256(data).digest()).hex()
    return data + canonical({"kind": "signature", "signature": signature}).encode("ascii") + b"\n"


def split_signature(data: bytes, line: str) -> tuple[str, bytes, str] | None:
    """(signature as hex, hash that it is over, hash of the segment); None where the last line `line` is no signature."""
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        return None
    digest = hashlib.sha256(memoryview(data)[: -len(line) - 1])
    signed = digest.digest()
    digest.update(data[-len(line) - 1 :])
    return match[1], signed, digest.hexdigest()


def sha256(data: bytes) -> str:
    """The hash of a segment's uncompressed bytes, as hex."""
    return hashlib.sha256(data).hexdigest()


def compress(data: bytes) -> bytes:
    """Gzip without a time stamp and without a name."""
    return gzip.compress(data, 6, mtime=0)


def expand(data: bytes, where: str) -> bytes:
    """The uncompressed bytes of one gzip member.

    Raises:
        ChainError: not gzip, cut off, followed by something else, or larger than any segment.
    """
    unpacker, limit_b = zlib.decompressobj(wbits=31), min(_TEXT_MAX, _SLACK_B + _RATIO_MAX * len(data))
    try:
        text = unpacker.decompress(data, limit_b)
    except zlib.error:
        raise ChainError(f"{where}: is corrupted (not gzip data)") from None
    if len(text) == limit_b:
        raise ChainError(f"{where}: {len(data)} bytes expand to more than {limit_b}, the maximum of a segment")
    if not unpacker.eof:
        raise ChainError(f"{where}: is corrupted (cut off)")
    if unpacker.unused_data:
        raise ChainError(f"{where}: is corrupted (extra data after its end)")
    return text


def load(path: Path) -> bytes:
    """Uncompressed bytes of a segment file. Raises ChainError with a line that names the file."""
    return expand(read_bounded(path, FILE_MAX_B), str(path))


def read(path: Path) -> Content:
    """Read and check a segment file; raises ChainError naming file and line."""
    return decode(load(path), str(path))


def decode(data: bytes, where: str) -> Content:
    """Read uncompressed bytes back.

    Raises:
        ChainError: not a canonical segment; the message starts with `where:line`.
    """
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ChainError(f"{where}: is corrupted (not ASCII)") from None
    if lines.pop() != "":
        raise ChainError(f"{where}:{len(lines) + 1}: is corrupted (the last line is cut off)")
    if not lines:
        raise ChainError(f"{where}: is empty")
    header = header_of(lines[0], where)
    signed = ("", b"", sha256(data)) if not header.key else split_signature(data, lines.pop())
    if signed is None:
        raise ChainError(f"{where}: is corrupted (its last line is not a signature)")
    rows, before = [], ""
    for number, line in enumerate(lines[1:], 2):
        try:
            row = from_json(json.loads(line))
        except (ValueError, RecursionError):
            raise ChainError(f"{where}:{number}: is corrupted (not JSON)") from None
        except ChainError as error:
            raise ChainError(f"{where}:{number}: invalid row: {error}") from None
        if line <= before or canonical(to_json(row)) != line:
            raise ChainError(f"{where}:{number}: is corrupted (not canonical: order, repetition or spelling)")
        before = line
        rows.append(row)
    if len(rows) != header.rows:
        raise ChainError(f"{where}: has {len(rows)} rows, but its header states {header.rows}")
    signature, signed_sha256, digest = signed
    return Content(header, tuple(rows), digest, signature, signed_sha256)


def header_of(line: str, where: str) -> Header:
    """The header of a segment's first line; raises ChainError naming `where`."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ChainError(f"{where}:1: is corrupted (not JSON)") from None
    if not isinstance(value, dict) or value.pop("kind", None) != "segment":
        raise ChainError(f"{where}:1: is not a segment header")
    schema = value.get("schema")
    if type(schema) is int and schema not in (SCHEMA, SIGNED_SCHEMA):
        raise ChainError(
            f"{where}:1: expected segment schema {SCHEMA} or {SIGNED_SCHEMA}, got {schema}; "
            "read it with the version that wrote it"
        )
    expected = _FIELDS if schema == SIGNED_SCHEMA else _UNSIGNED_FIELDS
    if value.keys() != expected.keys() or any(type(value[name]) is not kind for name, kind in expected.items()):
        raise ChainError(f"{where}:1: is corrupted (header: unknown or missing keys)")
    header = Header(**value)
    sane = 0 <= header.from_ns <= header.to_ns <= INT64_MAX
    sane = sane and 0 <= header.sequence <= INT64_MAX and 0 <= header.rows <= INT64_MAX
    sane = sane and (header.schema < SIGNED_SCHEMA or _HEX.fullmatch(header.key) is not None)
    if not sane or not _HEX.fullmatch(header.previous) or canonical({"kind": "segment"} | value) != line:
        raise ChainError(f"{where}:1: is corrupted (header: invalid values)")
    return header


def store(files: SegmentFiles, folder: Path, name: str, packed: bytes, digest: str) -> Path:
    """Put a segment file in its place; one that is already there with the same content is adopted.

    Raises:
        OSError: the file system failed; nothing with the segment's name is there, or it is whole.
        JournalError: the name is taken by something else.
    """
    path = folder / name
    if path.is_symlink() or path.exists():
        try:
            stored_digest = sha256(load(path))
        except ChainError:
            stored_digest = ""
        if stored_digest != digest:
            raise JournalError(f"{path}: already exists, with other content than in the journal; move it out of the folder")
    else:
        temporary = folder / f".{name}.tmp"
        files.write(temporary, packed)
        files.rename(temporary, path)
    files.sync_folder(folder)
    return path


def peek(path: Path) -> Header:
    """The header alone, without reading the rows. Raises ChainError naming the file."""
    packed = read_start(path, _PEEK[-1])
    try:
        for most in _PEEK:
            line, newline, _ = zlib.decompressobj(wbits=31).decompress(packed, most).partition(b"\n")
            if newline:
                break
    except zlib.error:
        raise ChainError(f"{path}: is corrupted (not gzip data)") from None
    if not newline or not line.isascii():
        raise ChainError(f"{path}:1: is corrupted (no header)")
    return header_of(line.decode("ascii"), str(path))


def list_files(folder: Path) -> list[Path]:
    """Segment files of a folder, sorted by name, which sorts by node and sequence."""
    return sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIX) and not p.name.startswith("."))
