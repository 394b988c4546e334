"""A node's key, and which key signs its segments: Ed25519 of the library `cryptography` (extra `signing`).

Without the library segments are unsigned, and a reader cannot check those that are.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energy_agent.core.extras import install_hint
from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger.segments.segment import Header, Signer
from energy_agent.ledger.segments.table import SegmentTable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE: Final = "signing.key"
_KEY_MAX_B: Final = 4_096
_FIELD: Final = (1 << 255) - 19
_ORDER_8: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
"""The y of two of the eight points of small order on Ed25519; those of the others are 0, 1, -1 and the negative of it."""


def available() -> bool:
    """Whether signatures can be made and checked."""
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519
    except ImportError:
        return False
    return cryptography is not None


def is_small_order(raw_key: bytes) -> bool:
    """Whether a key is one of the points of small order, in any spelling: one signature then fits many texts."""
    y = int.from_bytes(raw_key, "little") & ((1 << 255) - 1)
    return y % _FIELD in (0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8)


def fits(raw_key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature over `data` is by a key of 32 bytes; a key of small order signs nothing.

    Raises:
        ImportError: the library is missing.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if is_small_order(raw_key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_valid(content: SegmentTable) -> bool | None:
    """Whether a segment's signature is by the key in its header; None where it has none, or nobody can check it."""
    if not content.header.key or not available():
        return None
    return fits(bytes.fromhex(content.header.key), bytes.fromhex(content.signature), content.signed_sha256)


class _KeySigner:
    """Signs with a private key in memory."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private
        self.key = private.public_key().public_bytes_raw().hex()

    def sign(self, digest: bytes) -> bytes:
        """The signature over a segment's hash."""
        return self._private.sign(digest)


def open_signer(folder: Path) -> tuple[Signer | None, str]:
    """The signer of the state folder's key, which is made at the first start; and what to log, "" for nothing.

    A key that cannot be read or made does not stop the node: its segments are unsigned then, which readers name.
    """
    if not available():
        return None, f"segments are not signed: {install_hint('signing')}"
    path = folder / KEY_FILE
    try:
        if not os.path.lexists(path):
            _make(path)
        return load_signer(path)
    except (OSError, ValueError) as error:
        return None, f"segments are not signed: {path}: {error}"


def _make(path: Path) -> None:
    """Write a new key: whole or not at all, and never over another."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, pem)
        os.fsync(handle)
    finally:
        os.close(handle)
    with contextlib.suppress(FileExistsError):  # another process was first
        os.link(temporary, path)
    temporary.unlink()


def load_signer(path: Path, *, follow: bool = False) -> tuple[Signer, str]:
    """The signer of a private key in a file, and a line for the operator where others can read it, "" else.

    Args:
        path: PEM without a passphrase.
        follow: the path may be a link, as that of a Secret of Kubernetes is.

    Raises:
        OSError, ValueError: it is no such key.
        ImportError: the library is missing.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    handle = os.open(path, os.O_RDONLY | (0 if follow else os.O_NOFOLLOW) | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        pem = os.read(handle, _KEY_MAX_B)
    finally:
        os.close(handle)
    try:
        private = serialization.load_pem_private_key(pem, None)
    except Exception:  # noqa: BLE001 - it raises what OpenSSL and Rust raise
        raise ValueError("is not a private key in PEM without a passphrase") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("is not an Ed25519 key")
    readable = status.st_mode & (stat.S_IRGRP | stat.S_IROTH)
    return _KeySigner(private), f"{path}: other users can read the key: chmod 600 {path}" if readable else ""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that the inventory enrols: (cluster, node) -> (from_ns, to_ns, key as hex), () for a node without a key."""

    enrolled: Mapping[tuple[str, str], tuple[tuple[int, int, str], ...]] = field(default_factory=dict)

    def since_ns(self, header: Header) -> int:
        """When the enrolment by which a segment's key signs began; -1 for a key that is not enrolled."""
        mine = [entry for entry in self.enrolled.get((header.cluster, header.node), ()) if entry[2] == header.key]
        valid = [from_ns for from_ns, to_ns, _ in mine if from_ns <= header.to_ns < to_ns + NS_PER_DAY]
        return max(valid or [from_ns for from_ns, _, _ in mine], default=-1)

    def objection(self, header: Header, before: str, since_ns: int = -1) -> str:
        """Why a segment cannot be the node's, "" where it can.

        From the day of its first enrolled key on, a node's segments are signed by a key that is enrolled when they end; on the
        day of a change also by the one before. Until then the first key of a chain must stay. A segment states its own time, so
        a replaced key could state one at which it was valid: along a chain, no key signs after one that was enrolled later.
        An inventory that enrols keys lists every node.

        Args:
            header: of the segment.
            before: the key of the segment before it, "" for none.
            since_ns: the latest enrolment by which a segment before it is signed, as `since_ns` returns it.
        """
        if (header.cluster, header.node) not in self.enrolled and any(self.enrolled.values()):
            return "is of a node that the inventory does not list, which enrols keys"
        enrolled, t_ns = self.enrolled.get((header.cluster, header.node), ()), header.to_ns
        if header.key and 0 <= self.since_ns(header) < since_ns:
            return f"is signed by {header.key[:16]}, after a key that the inventory enrols later has signed"
        first_ns = min((from_ns for from_ns, _, _ in enrolled), default=None)
        if first_ns is not None and first_ns <= t_ns:
            expected = {key for from_ns, to_ns, key in enrolled if from_ns <= t_ns < to_ns + NS_PER_DAY}
            if header.key in expected or (header.key == before and first_ns > 0 and t_ns < first_ns + NS_PER_DAY):
                return ""
            enrolled_key = "a key that the inventory enrols for this node at that time"
            return (
                f"is signed by {header.key[:16]}, not by {enrolled_key}" if header.key else f"is not signed by {enrolled_key}"
            )
        if not before or header.key == before or header.key in {key for _, _, key in enrolled}:
            return ""
        if not header.key:
            return f"is not signed, although earlier segments are, by {before[:16]}"
        return f"is signed by {header.key[:16]}, earlier segments by {before[:16]}; enrol the new key in the inventory"
