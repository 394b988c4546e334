"""A certificate authority for tests and benchmarks, made by openssl: a server's and clients' certificates, passwords hashed."""

import subprocess
from pathlib import Path

from tests.support import need_program


class Authority:
    """Certificates of a throw-away authority, below `folder`."""

    def __init__(self, folder: Path, name: str = "test-ca", *, key_usage: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        usage = ["-addext", "basicConstraints=critical,CA:TRUE"]
        usage += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"] if key_usage else []
        options = ["-keyout", self._key, "-out", self.ca, "-days", "30", "-subj", f"/CN={name}"]
        self._openssl("req", "-x509", *_CURVE, *options, *usage)

    def issue(
        self, name: str, sans: str, days: int = 30, into: Path | None = None, organisation: str = ""
    ) -> tuple[Path, Path]:
        """Certificate and key of `name`; `sans` as openssl writes them, such as IP:127.0.0.1,DNS:localhost."""
        subject = f"/O={organisation}/CN={name}" if organisation else f"/CN={name}"
        folder = into or self.folder
        certificate, key, request, extensions = (folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
        extensions.write_text(f"subjectAltName={sans}\nbasicConstraints=CA:FALSE\n")
        self._openssl("req", "-new", *_CURVE, "-keyout", key, "-out", request, "-subj", subject)
        signer = ["-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", days, "-extfile", extensions]
        self._openssl("x509", "-req", "-in", request, "-out", certificate, *signer)
        key.chmod(0o600)
        return certificate, key

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run([need_program("openssl"), *map(str, arguments)], check=True, capture_output=True)


_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def hashed(password: str, cost: int = 4) -> str:
    """By bcrypt."""
    import bcrypt

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
