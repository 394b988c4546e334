"""exporter-toolkit's web-config file as a typed model, so that one file serves all exporters of a node.

The schema and its meaning: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md and the readers
in its web/ folder. What this server cannot do as the file asks is refused in one line; nothing is passed over in silence. So a
file that is taken here is taken by `promtool check web-config` of the same age, but not always the other way round.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from energy_agent.config import agent
from energy_agent.runtime import yaml_file

MAX_BCRYPT_COST = 16  # 4 s of a core; each step doubles it
_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_HEADERS: dict[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
"""What may be set, and to which values where there is a list; the toolkit's own."""
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNVERIFIED = {
    "RequestClientCert": "would ask for a certificate and let anyone in; say NoClientCert or VerifyClientCertIfGiven",
    "RequireAnyClientCert": "would take any certificate, one made up too; say RequireAndVerifyClientCert",
    "RequireClientCert": "would take any certificate, one made up too; say RequireAndVerifyClientCert",
}
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
Suite = Literal[
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
]  # fmt: skip
"""Those of Go's crypto/tls.CipherSuites(): what promtool takes."""
Curve = Literal["CurveP256", "CurveP384", "CurveP521", "X25519"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        """A key without a value stands for its default, as in the toolkit."""
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _file(value: object) -> object:
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("no file name has a zero byte")
    return Path(value) if value else None


File = Annotated[Path | None, BeforeValidator(_file)]


class TlsServer(_Section):
    """How TLS is spoken; off while no key of certificate, key or clients is set."""

    cert: str = ""
    key: str = Field("", repr=False)
    client_ca: str = ""
    cert_file: File = None
    key_file: File = None
    client_auth_type: Literal[
        "", "NoClientCert", "RequestClientCert", "RequireAnyClientCert", "RequireClientCert", "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ] = ""  # fmt: skip
    client_ca_file: File = None
    client_allowed_sans: Annotated[tuple[str, ...] | None, BeforeValidator(_listed)] = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: Annotated[tuple[Suite, ...], BeforeValidator(_listed)] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: Annotated[tuple[Curve, ...], BeforeValidator(_listed)] = ()

    @property
    def enabled(self) -> bool:
        """True where TLS is spoken."""
        return bool(self.cert_file or self.cert or self.key_file or self.key or self._clients or self.client_auth_type)

    @property
    def verifies(self) -> bool:
        """True where a client's certificate is looked at."""
        return self.client_auth_type in ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")

    @property
    def _clients(self) -> bool:
        return bool(self.client_ca_file or self.client_ca)

    @field_validator("client_auth_type", mode="after")
    @classmethod
    def _verified(cls, value: str) -> str:
        if value in _UNVERIFIED:
            raise ValueError(f"{value} {_UNVERIFIED[value]}")
        return value

    @field_validator("min_version", "max_version", mode="after")
    @classmethod
    def _spoken(cls, value: str) -> str:
        if value in ("TLS10", "TLS11"):
            raise ValueError(f"{value} is broken and not spoken here; say TLS12 or TLS13")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for one, other, names in (
            (self.cert, self.cert_file, "cert and cert_file"),
            (self.key, self.key_file, "key and key_file"),
            (self.client_ca, self.client_ca_file, "client_ca and client_ca_file"),
        ):
            if one and other:
                raise ValueError(f"{names} are both set; keep one")
        if self.enabled and not (self.cert or self.cert_file):
            raise ValueError("cert_file is missing")
        if self.enabled and not (self.key or self.key_file):
            raise ValueError("key_file is missing")
        if self.min_version > self.max_version:
            raise ValueError(f"min_version {self.min_version} is above max_version {self.max_version}: nobody could connect")
        if self._clients and not self.verifies:
            raise ValueError("client_ca_file is set, but client_auth_type does not look at certificates")
        if self.verifies and not self._clients:
            raise ValueError(f"client_auth_type {self.client_auth_type} needs client_ca_file")
        if self.client_allowed_sans is not None and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
        if self.client_allowed_sans == ():
            raise ValueError("client_allowed_sans is empty: nobody could connect")
        return self


class HttpServer(_Section):
    """HTTP/2 is never offered, which a client of HTTP/2 takes for HTTP/1.1; `http2` is taken whatever it says."""

    http2: bool = True
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("headers", mode="after")
    @classmethod
    def _known(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name not in _HEADERS:
                raise ValueError(f"{name[:80]!r} cannot be set; there are: {', '.join(_HEADERS)}")
            if _HEADERS[name] and value not in _HEADERS[name]:
                raise ValueError(f"{name} is one of {', '.join(_HEADERS[name])}, not {value[:80]!r}")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"{name} has characters that no header may have")
        return {name: value for name, value in headers.items() if value}  # blank: not sent


class RateLimit(_Section):
    """A token bucket over all requests: `burst` at once, then one each interval; 0: no limit."""

    interval: str | int = "0s"
    burst: int = Field(0, ge=0, le=1_000_000)

    @property
    def interval_s(self) -> float:
        """Seconds between two requests. A bare number counts nanoseconds, as Go's durations do."""
        if isinstance(self.interval, int):
            return self.interval * 1e-9
        return sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION.findall(self.interval))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (
            isinstance(self.interval, str)
            and self.interval != "0"
            and not re.fullmatch(f"(?:{_DURATION.pattern})+", self.interval)
        ):
            raise ValueError(f"interval {self.interval[:80]!r} is no duration such as 100ms or 1s")
        if not 0 <= self.interval_s <= 3600:
            raise ValueError("interval is not between 0s and 1h")
        if self.interval_s and not self.burst:
            raise ValueError("burst is 0: no request would be answered")
        return self


class WebConfig(_Section):
    """The whole file; paths in it are below `folder`, that of the file."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: dict[str, str] = Field(default_factory=dict, repr=False)
    rate_limit: RateLimit = RateLimit()

    @field_validator("basic_auth_users", mode="after")
    @classmethod
    def _hashed(cls, users: dict[str, str]) -> dict[str, str]:
        for name, hashed in users.items():
            match = _BCRYPT.fullmatch(hashed)
            if not match:
                raise ValueError(f"the password of {name[:80]!r} is no bcrypt hash; make one with `htpasswd -nBC 10 NAME`")
            if ":" in name:
                raise ValueError(f"{name[:80]!r} has a colon, which ends the name in basic authentication")
            if not 4 <= int(match[1]) <= 31:
                raise ValueError(f"the bcrypt cost of {name[:80]!r} is not between 4 and 31")
            if int(match[1]) > MAX_BCRYPT_COST:
                raise ValueError(f"the bcrypt cost of {name[:80]!r} is above {MAX_BCRYPT_COST}: a login would take seconds")
        return users

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if "Strict-Transport-Security" in self.http_server_config.headers and not self.tls_server_config.enabled:
            raise ValueError("http_server_config.headers: Strict-Transport-Security means nothing without tls_server_config")
        return self


def load(path: Path) -> WebConfig:
    """Read and check a web-config file. Certificates are not looked at here.

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
