"""Signatures: the vectors of RFC 8032, openssl as a peer both ways, and every key and signature that does not count."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit.signing import SignatureResult, SignatureStatus, fingerprint, public_key, sign_manifest, verify_signature
from tests.reports.audit import editions
from tests.support import need_module, need_program


@pytest.fixture(autouse=True)
def _library() -> None:
    need_module("cryptography")


def openssl(*arguments: object) -> bytes:
    done = subprocess.run([need_program("openssl"), *map(str, arguments)], check=True, capture_output=True)
    return done.stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signing.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    path.chmod(0o600)
    return path


@pytest.fixture
def public(tmp_path: Path, key: Path) -> Path:
    openssl("pkey", "-in", key, "-pubout", "-out", tmp_path / "signer.pem")
    return tmp_path / "signer.pem"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    editions.write(tmp_path / "report")
    return tmp_path / "report"


VECTORS = [  # RFC 8032, section 7.1: secret key, public key, message, signature
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("secret", "public_hex", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(tmp_path: Path, secret: str, public_hex: str, message: str, signature: str) -> None:
    der = bytes.fromhex("302e020100300506032b657004220420" + secret)  # PKCS 8 as RFC 8410 has it
    key = tmp_path / "key.pem"
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END PRIVATE KEY-----\n")
    key.chmod(0o600)
    (tmp_path / "manifest.json").write_bytes(bytes.fromhex(message))
    trusted = tmp_path / "public.b64"
    trusted.write_bytes(base64.b64encode(bytes.fromhex(public_hex)))
    sign_manifest(tmp_path, key)
    document = json.loads((tmp_path / "manifest.sig").read_bytes())
    assert base64.b64decode(document["public_key"]).hex() == public_hex
    assert base64.b64decode(document["signature"]).hex() == signature
    assert verify_signature(tmp_path, [trusted]).signed is SignatureStatus.TRUSTED


def test_openssl_verifies_what_is_signed_here(report: Path, key: Path, public: Path, tmp_path: Path) -> None:
    sign_manifest(report, key)
    signature = tmp_path / "raw"
    signature.write_bytes(base64.b64decode(json.loads((report / "manifest.sig").read_bytes())["signature"]))
    verify = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public,
        "-rawin",
        "-in",
        report / "manifest.json",
        "-sigfile",
        signature,
    ]
    assert b"Signature Verified Successfully" in openssl(*verify)


def test_what_openssl_signs_is_the_same_signature_and_verified_here(
    report: Path, key: Path, public: Path, tmp_path: Path
) -> None:
    sign_manifest(report, key)
    openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", report / "manifest.json", "-out", tmp_path / "raw")
    document = json.loads((report / "manifest.sig").read_bytes())
    assert base64.b64decode(document["signature"]) == (tmp_path / "raw").read_bytes()
    assert verify_signature(report, [public]).signed is SignatureStatus.TRUSTED


def test_the_fingerprint_is_that_of_openssls_der(report: Path, key: Path, public: Path) -> None:
    import hashlib

    der = openssl("pkey", "-pubin", "-in", public, "-outform", "DER")
    assert sign_manifest(report, key) == hashlib.sha256(der).hexdigest() == fingerprint(public_key(public))


def test_a_signature_is_trusted_unknown_or_not_there(report: Path, key: Path, public: Path, tmp_path: Path) -> None:
    assert verify_signature(report, [public]) == SignatureResult(SignatureStatus.UNSIGNED)
    digest = sign_manifest(report, key)
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "k2")
    openssl("pkey", "-in", tmp_path / "k2", "-pubout", "-out", tmp_path / "other.pem")
    assert verify_signature(report) == SignatureResult(SignatureStatus.UNKNOWN, digest)
    assert verify_signature(report, [tmp_path / "other.pem"]) == SignatureResult(SignatureStatus.UNKNOWN, digest)
    assert verify_signature(report, [tmp_path / "other.pem", public]) == SignatureResult(SignatureStatus.TRUSTED, digest)


def test_a_manifest_that_changed_after_it_was_signed(report: Path, key: Path, public: Path) -> None:
    sign_manifest(report, key)
    manifest = report / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"2026Q3", b"2026Q2"))
    assert verify_signature(report, [public]).signed is SignatureStatus.BROKEN


@pytest.mark.parametrize(
    ("key_of", "value", "says"),
    [
        ("signature", base64.b64encode(bytes(64)).decode(), "the manifest was changed"),
        ("signature", "AAAA", "signature: expected 64 bytes in base64"),
        ("signature", "not base64!", "signature: expected 64 bytes in base64"),
        ("signature", base64.b64encode(bytes(64)).decode().replace("A==", "B=="), "signature: expected 64 bytes in base64"),
        ("public_key", base64.b64encode(bytes(31)).decode(), "public_key: expected 32 bytes in base64"),
        ("algorithm", "none", "algorithm: Input should be 'ed25519'"),
        ("schema", "x", "schema: Input should be 'wattlens.report.signature/1'"),
    ],
)
def test_invalid_signature_file_is_broken(report: Path, key: Path, public: Path, key_of: str, value: str, says: str) -> None:
    sign_manifest(report, key)
    path = report / "manifest.sig"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {key_of: value}))
    outcome = verify_signature(report, [public])
    assert outcome.signed is SignatureStatus.BROKEN
    assert says in outcome.detail


def test_a_signature_that_is_a_pipe_or_huge_is_not_waited_for(report: Path, public: Path) -> None:
    os.mkfifo(report / "manifest.sig")
    assert "not a regular file" in verify_signature(report, [public]).detail
    (report / "manifest.sig").unlink()
    (report / "manifest.sig").write_bytes(b" " * 100_000)
    assert "larger than" in verify_signature(report, [public]).detail


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused_with_what_to_do(report: Path, key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(UsageError, match=f"is readable by other users \\(mode {mode:o}\\); run: chmod 600 "):
        sign_manifest(report, key)
    assert not (report / "manifest.sig").exists()


def test_a_key_with_a_passphrase(report: Path, tmp_path: Path) -> None:
    secret, key = tmp_path / "secret", tmp_path / "locked.pem"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    openssl("genpkey", "-algorithm", "ed25519", "-aes-256-cbc", "-pass", f"file:{secret}", "-out", key)
    key.chmod(0o600)
    with pytest.raises(UsageError, match="has a passphrase; pass a file that contains it with --sign-passphrase-file"):
        sign_manifest(report, key)
    sign_manifest(report, key, secret)
    assert verify_signature(report).signed is SignatureStatus.UNKNOWN
    secret.chmod(0o644)
    with pytest.raises(UsageError, match="secret is readable by other users"):
        sign_manifest(report, key, secret)
    secret.chmod(0o600)
    secret.write_text("wrong")
    with pytest.raises(UsageError, match="with this passphrase"):
        sign_manifest(report, key, secret)


def test_a_passphrase_without_need(report: Path, key: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with pytest.raises(UsageError, match="has no passphrase"):
        sign_manifest(report, key, secret)


def test_keys_of_another_kind(report: Path, key: Path, public: Path, tmp_path: Path) -> None:
    other = tmp_path / "ec.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", other)
    other.chmod(0o600)
    with pytest.raises(UsageError, match=r"another kind.*openssl genpkey -algorithm ed25519"):
        sign_manifest(report, other)
    openssl("pkey", "-in", other, "-pubout", "-out", tmp_path / "ec.pub")
    with pytest.raises(UsageError, match="another kind"):
        public_key(tmp_path / "ec.pub")
    public.chmod(0o600)
    with pytest.raises(UsageError, match=r"not a readable private key.*openssl genpkey"):
        sign_manifest(report, public)
    with pytest.raises(UsageError, match="is a private key; expected the public key: openssl pkey"):
        verify_signature(report, [key])


@pytest.mark.parametrize("text", ["", "x", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\udcff"])
def test_what_is_no_public_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=r"k: "):
        public_key(tmp_path / "k")


def test_a_report_without_a_manifest_cannot_be_signed(tmp_path: Path, key: Path) -> None:
    with pytest.raises(WattlensError, match=r"manifest\.json: cannot be read"):
        sign_manifest(tmp_path, key)
