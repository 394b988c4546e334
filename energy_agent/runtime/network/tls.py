"""TLS contexts of clients: created once per set of files, and with the authorities that Go, kubectl and curl accept."""

import functools
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What TLS needs beyond the defaults.

    Args:
        ca_file: PEM certificates to trust instead of the system's.
        cert_file: PEM certificate chain of the client.
        key_file: its key; None: it is in `cert_file`.
        verify: whether to check the server's certificate.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Return the TLS context. It is created once, and again when a file changes: loading authorities takes milliseconds.

        Raises:
            OSError: a file cannot be read, or (ssl.SSLError) is not PEM or does not fit the others.
            ValueError: the key is encrypted.
        """
        files = (self.ca_file, self.cert_file, self.key_file)
        return _context(self, tuple(None if file is None else _version(file) for file in files))


def _version(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _context(files: TlsFiles, _versions: tuple[object, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if files.ca_file is None else str(files.ca_file))
    # From 3.13 on Python refuses authorities without a key usage extension. Go, kubectl and curl accept them; EKS has them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate authority may be the one to trust, as for Go
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if files.cert_file is not None:
        context.load_cert_chain(files.cert_file, files.key_file, password=_refuse_password)
    return context


def _refuse_password(*_: object) -> NoReturn:
    raise ValueError("the key is encrypted")


SYSTEM_TLS: Final = TlsFiles()
"""The system's authorities, and no certificate of the client."""
