"""The result file of `wattlens doctor --acceptance`: signature and validation.

Two ASCII lines in the spelling of a ledger segment: the result as canonical JSON and, if it is signed, the signature of the
node's key over the SHA-256 of the first line.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.ledger.rows.text import canonical
from energy_agent.ledger.segments.segment import Signer, append_signature, split_signature
from energy_agent.ledger.signing import available, fits
from wattlens.doctor.acceptance.criteria import judge
from wattlens.doctor.acceptance.result import AcceptanceResult, Criterion

MAX_B: Final = 512 << 10
"""Maximum size of a file: twice that of 64 GPUs."""
_RESULT: Final[TypeAdapter[AcceptanceResult]] = TypeAdapter(AcceptanceResult)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result that was read and checked. `is_signed` only if the signature is valid."""

    result: AcceptanceResult
    is_signed: bool


def encode(result: AcceptanceResult, signer: Signer | None) -> bytes:
    """The bytes of a result file."""
    result = replace(result, key=signer.key if signer is not None else "")
    data = canonical(asdict(result)).encode("ascii") + b"\n"
    return data if signer is None else append_signature(data, signer)


def read(path: Path) -> ResultFile:
    """Read a result file. Raises UsageError as `decode` does, or if the file cannot be read."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: expected a regular file")
        with path.open("rb") as file:
            data = file.read(MAX_B + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
    return decode(data, str(path))


def decode(data: bytes, where: str) -> ResultFile:
    """Check the bytes of a result file: size, fields, spelling, signature and verdict.

    Raises:
        UsageError: the file is not a result, was changed after it was written, or its signature cannot be checked here.
    """
    if len(data) > MAX_B:
        raise UsageError(f"{where}: larger than {MAX_B} bytes")
    try:
        lines = data.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise UsageError(f"{where}: expected ASCII JSON lines") from None
    if lines.pop() != "" or not 1 <= len(lines) <= 2:
        raise UsageError(f"{where}: expected one line with the result and at most one with its signature")
    try:
        result = _RESULT.validate_json(lines[0])
        is_canonical = canonical(json.loads(lines[0])) == lines[0] == canonical(asdict(result))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{where}: is not JSON") from None
    if not is_canonical:
        raise UsageError(f"{where}: was changed: the result is not canonical JSON")
    if (bool(result.key)) != (len(lines) == 2):
        raise UsageError(f"{where}: was changed: expected a signature if the result names a key, and no signature otherwise")
    if result.key:
        _check_signature(data, lines[1], result.key, where)
    criteria = judge(result)
    if criteria != result.criteria or result.accepted != is_accepted(criteria):
        raise UsageError(f"{where}: was changed: its criteria do not follow from its figures")
    if len({gpu.index for gpu in result.gpus}) != len(result.gpus):
        raise UsageError(f"{where}: duplicate GPU")
    return ResultFile(result, bool(result.key))


def _check_signature(data: bytes, line: str, key: str, where: str) -> None:
    signature = split_signature(data, line)
    if signature is None:
        raise UsageError(f"{where}: its last line is not a signature")
    if not available():
        raise UsageError(f"{where}: the signature cannot be checked: {install_hint('signing')}")
    if not fits(bytes.fromhex(key), bytes.fromhex(signature[0]), signature[1]):
        raise UsageError(f"{where}: was changed: the signature does not fit the result")


def is_accepted(criteria: tuple[Criterion, ...]) -> bool:
    """Whether no criterion failed."""
    return all(criterion.passed is not False for criterion in criteria)


def with_criteria(result: AcceptanceResult) -> AcceptanceResult:
    """The result with its criteria and its verdict."""
    criteria = judge(result)
    return replace(result, criteria=criteria, accepted=is_accepted(criteria))
