"""exporter-toolkit's web-config file as a typed model, so that one file serves all exporters of a node.

Format: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. An option that this server does
not support is an error.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from energy_agent.config import agent
from energy_agent.runtime.files import yaml_file

_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")  # a login at cost 16 takes 4 s; each step doubles it
File = Annotated[Annotated[Path, Field(strict=False)] | None, BeforeValidator(lambda value: None if value == "" else value)]
Version = Literal["TLS12", "TLS13"]
SUITES = {
    "TLS_AES_128_GCM_SHA256": "",  # those of TLS 1.3 are always offered, as by Go
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Cipher suites by Go's names, and those of TLS 1.2 by OpenSSL's."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _check_nulls(cls, data: object) -> object:
        """A key without a value stands for its default, as in the toolkit."""
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class TlsServer(_Section):
    """How TLS is spoken; off without a certificate."""

    cert_file: File = None
    key_file: File = None
    client_auth_type: Literal["", "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = ""
    client_ca_file: File = None
    client_allowed_sans: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: Annotated[tuple[str, ...], Field(strict=False)] = ()
    prefer_server_cipher_suites: bool = True  # ignored, as by Go

    @property
    def verifies(self) -> bool:
        """True where a client's certificate is verified."""
        return self.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")

    @model_validator(mode="after")
    def _check_certificates(self) -> Self:
        if not self.cert_file and (self.key_file or self.client_ca_file or self.client_auth_type):
            raise ValueError("cert_file is missing")
        if self.cert_file and not self.key_file:
            raise ValueError("key_file is missing")
        if self.verifies != bool(self.client_ca_file):
            raise ValueError("client_ca_file and a client_auth_type that verifies certificates require each other")
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans requires client_auth_type RequireAndVerifyClientCert")
        if unknown := set(self.cipher_suites) - SUITES.keys():
            raise ValueError(f"cipher_suites: {min(unknown)[:80]!r} is not supported; supported: {', '.join(SUITES)}")
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version: no client could connect")
        return self


class HttpServer(_Section):
    """HTTP/2 is never offered, and clients use HTTP/1.1; `http2` may have any value."""

    http2: bool = True
    headers: dict[
        Literal[
            "Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options", "X-XSS-Protection",
            "Content-Security-Policy",
        ],
        Annotated[str, Field(pattern=r"^[ -~]*$")],
    ] = Field(default_factory=dict)  # fmt: skip


class WebConfig(_Section):
    """The whole file."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = Field(default_factory=dict, repr=False)

    @field_validator("basic_auth_users", mode="after")
    @classmethod
    def _check_password_hashes(cls, users: dict[str, str]) -> dict[str, str]:
        for name, hashed in users.items():
            if ":" in name or not _BCRYPT.fullmatch(hashed):
                raise ValueError(
                    f"{name[:80]!r}: expected a bcrypt hash of cost 4 to 16, as written by `htpasswd -nBC 10 NAME`"
                )
        return users


def load(path: Path) -> WebConfig:
    """Read and check a web-config file; paths in it are below its folder. Certificates are not read here.

    Raises:
        UsageError: one line that names the file, the key and what to do.
    """
    return parse(yaml_file.read(path, "web configuration", safe=True), str(path), path.parent)


def parse(raw: bytes, name: str = "web configuration", folder: Path = Path()) -> WebConfig:
    """Check the text of a web-config file whose paths are relative to `folder`; raises as `load` does."""
    web = agent.parse_as(WebConfig, raw, name)
    tls = web.tls_server_config
    paths = {key: folder / path for key in ("cert_file", "key_file", "client_ca_file") if (path := getattr(tls, key))}
    return web.model_copy(update={"tls_server_config": tls.model_copy(update=paths)})
