"""Sign a report and verify its signature: an Ed25519 signature over the bytes of its manifest.

`manifest.sig` is a small JSON document: algorithm, the signer's raw public key and the signature, both in base64. It proves
that the owner of that key signed. The file cannot prove who owns the key, so a reader names the keys they trust.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.ledger.signing import fits
from reports.audit import folder as files
from reports.audit.canonical import ExtensibleObject, canonical, read_as

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA: Final = "wattlens.report.signature/1"
ALGORITHM: Final = "ed25519"
MAKE_ONE: Final = "create one with: openssl genpkey -algorithm ed25519 -out signing.pem"
_KEY_B, _SIGNATURE_B = 32, 64


def _bytes_of(size: int) -> BeforeValidator:
    def read(text: object) -> bytes:
        raw = _base64(text) if isinstance(text, str) else None
        if raw is None or len(raw) != size:
            raise ValueError(f"expected {size} bytes in base64")
        return raw

    return BeforeValidator(read)


class _SignatureDocument(ExtensibleObject):
    schema_: Literal["wattlens.report.signature/1"] = Field(alias="schema")
    algorithm: Literal["ed25519"]
    public_key: Annotated[bytes, _bytes_of(_KEY_B)]
    signature: Annotated[bytes, _bytes_of(_SIGNATURE_B)]


class SignatureStatus(StrEnum):
    """What a signature shows."""

    TRUSTED = "signed by a trusted key"
    UNKNOWN = "signed by an untrusted key"
    UNSIGNED = "not signed"
    BROKEN = "invalid signature"


@dataclass(frozen=True, slots=True)
class SignatureResult:
    """What the signature of a report shows.

    Args:
        fingerprint: of the key that is in the signature; "": there is no signature to take one from.
        detail: more of it, in words; "": nothing.
    """

    signed: SignatureStatus
    fingerprint: str = ""
    detail: str = ""


def sign_manifest(folder: Path, key: Path, passphrase: Path | None = None) -> str:
    """Sign the manifest of a report; returns the fingerprint of the public key.

    Args:
        folder: of the report; its manifest is there.
        key: Ed25519 private key, PEM (PKCS 8), which nobody but its owner may read.
        passphrase: file with the key's passphrase, as private; its last newline does not count.

    Raises:
        UsageError: the key or passphrase can be read by others, or is no such key.
        WattlensError: `cryptography` is missing, or a file cannot be read or written.
    """
    signer = _private_key(key, passphrase)
    manifest = files.read(folder / files.MANIFEST, files.MANIFEST_MAX_B)
    raw = signer.public_key().public_bytes_raw()
    document = {
        "schema": SCHEMA,
        "algorithm": ALGORITHM,
        "public_key": base64.b64encode(raw).decode(),
        "signature": base64.b64encode(signer.sign(manifest)).decode(),
    }
    files.write(folder / files.SIGNATURE, canonical(document))
    return fingerprint(raw)


def verify_signature(folder: Path, trusted_keys: Sequence[Path] = ()) -> SignatureResult:
    """Verify the signature of a report's manifest.

    Args:
        folder: folder of the report.
        trusted_keys: files with a public key each, PEM or 32 raw bytes in base64.

    Raises:
        UsageError: a trusted key file does not contain a valid key.
        WattlensError: `cryptography` is missing, or the manifest cannot be read.
    """
    trusted = {public_key(path) for path in trusted_keys}
    manifest = files.read(folder / files.MANIFEST, files.MANIFEST_MAX_B)
    path = folder / files.SIGNATURE
    if files.SIGNATURE not in files.names(folder):
        return SignatureResult(SignatureStatus.UNSIGNED)
    try:
        raw, signature = _signature(path)
    except WattlensError as error:
        return SignatureResult(SignatureStatus.BROKEN, detail=str(error))
    if not _fits(raw, signature, manifest):
        return SignatureResult(
            SignatureStatus.BROKEN, fingerprint(raw), "the manifest was changed, or the signature belongs to another manifest"
        )
    return SignatureResult(SignatureStatus.TRUSTED if raw in trusted else SignatureStatus.UNKNOWN, fingerprint(raw))


def fingerprint(raw: bytes) -> str:
    """SHA-256 over the DER form of a raw public key, as `openssl pkey -pubin -outform DER | sha256sum` has it."""
    return hashlib.sha256(bytes.fromhex("302a300506032b6570032100") + raw).hexdigest()  # RFC 8410, section 4


def public_key(path: Path) -> bytes:
    """The 32 bytes of a public key in a file: PEM, or those bytes in base64.

    Raises:
        UsageError: it is no Ed25519 public key.
    """
    text = files.read(path, files.SMALL_MAX_B, follow=True).strip()
    if b"PRIVATE KEY" in text:
        raise UsageError(f"{path} is a private key; expected the public key: openssl pkey -in {path} -pubout -out signer.pem")
    if not text.startswith(b"-----"):
        raw = _base64(text.decode("ascii", "replace"))
        if raw is None or len(raw) != _KEY_B:
            raise UsageError(f"{path}: expected an Ed25519 public key, as PEM or as 32 bytes in base64")
        return raw
    with _needed():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    try:
        key = serialization.load_pem_public_key(text)
    except Exception:  # noqa: BLE001 - it raises what OpenSSL and Rust raise
        raise UsageError(f"{path}: not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: expected an Ed25519 public key, got a key of another kind")
    return key.public_bytes_raw()


def _private_key(path: Path, passphrase: Path | None) -> "Ed25519PrivateKey":
    with _needed():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    text = files.read(path, files.SMALL_MAX_B, private=True, follow=True)
    secret = files.read(passphrase, files.SMALL_MAX_B, private=True, follow=True).removesuffix(b"\n") if passphrase else None
    try:
        key = serialization.load_pem_private_key(text, secret)
    except TypeError:  # a passphrase without need, or need without a passphrase
        if secret is None:
            raise UsageError(f"{path} has a passphrase; pass a file that contains it with --sign-passphrase-file") from None
        raise UsageError(f"{path} has no passphrase; omit --sign-passphrase-file") from None
    except Exception:  # noqa: BLE001 - it raises what OpenSSL and Rust raise
        wrong = " with this passphrase" if secret else f"; {MAKE_ONE}"
        raise UsageError(f"{path}: not a readable private key in PEM{wrong}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: expected an Ed25519 key, got a key of another kind: {MAKE_ONE}")
    return key


def _signature(path: Path) -> tuple[bytes, bytes]:
    """Public key and signature of a `manifest.sig`."""
    document = read_as(_SignatureDocument, files.read(path, files.SMALL_MAX_B), str(path))
    return document.public_key, document.signature


def _fits(raw: bytes, signature: bytes, data: bytes) -> bool:
    with _needed():
        return fits(raw, signature, data)


def _base64(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None  # unused bits of the last letter are 0


@contextmanager
def _needed() -> Iterator[None]:
    """Around an import of `cryptography`, which is loaded only where something is signed or verified."""
    try:
        yield
    except ImportError:
        raise WattlensError(f"signatures need the extra `reports`: {install_hint('reports')}") from None
