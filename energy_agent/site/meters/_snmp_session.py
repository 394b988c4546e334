"""One SNMP device over UDP: its credentials, and one bounded GET at a time. Answers are not trusted.

Each session has an event loop of its own, which runs only during a request. After any failure the session drops socket and
engine: a late answer is lost, and a restarted device has to identify itself again.

pysnmp ships its MIB modules as Python source and compiles them for each engine, twice; here they come from Python's bytecode
cache. A session needs a new engine after each
request that fails, so that an unresponsive device would cost a quarter of a second of CPU per poll.
"""

import asyncio
import contextlib
import importlib.util
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from energy_agent.config.formats import Host
from energy_agent.config.section import Section
from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from energy_agent.core.meters.reading import MeterError
from energy_agent.runtime.files.secret_file import read_secret
from energy_agent.runtime.network.connection import RESOLVER, ConnectError, DeadlineError

TRIES: Final = 3
_TICK_S: Final = 0.02
_KEY_LETTERS_MIN: Final = 8  # RFC 3414, 11.2
_V3_KEYS: Final = ("user_file", "auth_key_file", "priv_key_file")
_REFUSED: Final = {
    "unknownUserName": "does not know this user",
    "unknownSecurityName": "does not know this user",
    "wrongDigest": "rejects the key in auth_key_file, or the protocol in auth",
    "authenticationFailure": "rejects the key in auth_key_file, or the protocol in auth",
    "decryptionError": "rejects the key in priv_key_file, or the protocol in privacy",
    "unsupportedSecurityLevel": "rejects the security level of this user (with or without privacy)",
    "authorizationError": "does not allow this user to read",
}
T = TypeVar("T")


def create_controller() -> Any:
    """Return a MibInstrumController for a new engine, with objects of its own."""
    from pysnmp.smi.instrum import MibInstrumController  # type: ignore[import-untyped,unused-ignore]

    return MibInstrumController(_builder_class()())


@cache
def _builder_class() -> type[Any]:
    from pysnmp.smi.builder import MibBuilder  # type: ignore[import-untyped,unused-ignore]
    from pysnmp.smi.error import MibLoadError  # type: ignore[import-untyped,unused-ignore]

    class CachedMibBuilder(MibBuilder):  # type: ignore[misc,unused-ignore]
        """Load modules as Python imports them, in pysnmp's own order of folders."""

        def __init__(self) -> None:
            super().__init__()
            self._started: set[str] = set()

        def load_module(self, modName: str, **userCtx: Any) -> Any:  # noqa: N803 (pysnmp's names)
            if modName in self._started:  # before it has ended too, as modules import each other in cycles
                return self
            paths = (source.full_path(modName, ".py") for source in self.get_mib_sources())
            path = next((path for path in paths if Path(path).is_file()), None)
            if path is None:
                return super().load_module(modName, **userCtx)
            loader = SourceFileLoader(f"pysnmp.smi.mibs.{modName}", path)
            spec = spec_from_loader(loader.name, loader)
            assert spec is not None
            module = module_from_spec(spec)
            vars(module).update(mibBuilder=self, userCtx=userCtx)
            self._started.add(modName)
            try:
                loader.exec_module(module)
            except Exception as error:
                self._started.remove(modName)
                raise MibLoadError(f"MIB module {path}: {error}") from error
            return self

    return CachedMibBuilder


class SnmpAccess(Section):
    """How a device is reached, and who asks."""

    host: Host = Field(description="host name or address of the device")
    port: int = Field(161, ge=1, le=65535, description="UDP port of the device")
    version: Literal["2c", "3"] = Field(
        "3", description="2c: a community, readable by everyone on the network path; 3: a user with keys"
    )
    community_file: Path | None = Field(None, description="file with the community (2c)")
    user_file: Path | None = Field(None, description="file that contains the user name (3)")
    auth_key_file: Path | None = Field(None, description="file with the passphrase for authentication (3)")
    priv_key_file: Path | None = Field(None, description="file with the passphrase for encryption (3)")
    auth: Literal["SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"] = Field("SHA-256", description="authentication (3)")
    privacy: Literal["AES", "AES-192", "AES-256", "none"] = Field(
        "AES", description="privacy (3); AES: 128 bits, as in RFC 3826"
    )

    @field_validator("version", mode="before")
    @classmethod
    def _check_version(cls, value: object) -> object:
        return "3" if value == 3 and not isinstance(value, bool) else value  # as YAML reads it without quotes

    @model_validator(mode="after")
    def _check_version_keys(self) -> Self:
        wanted = ["community_file"] if self.version == "2c" else list(_V3_KEYS if self.privacy != "none" else _V3_KEYS[:2])
        missing = [key for key in wanted if getattr(self, key) is None]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing: version is {self.version!r}")
        spare = [key for key in ("community_file", *_V3_KEYS) if key not in wanted and getattr(self, key) is not None]
        if spare:
            raise ValueError(f"{spare[0]} is not used: version is {self.version!r}, privacy {self.privacy!r}")
        return self


@dataclass(frozen=True, slots=True)
class Value:
    """A whole number as reported; `range` is where its type says that it goes on at 0."""

    number: int
    range: int | None = None


class Session:
    """Asks one device. Used by one thread. `key` is before the keys that messages name."""

    def __init__(self, access: SnmpAccess, timeout_s: float, key: str) -> None:
        for library, why in (("pysnmp", "snmp"), ("cryptography", f"privacy: {access.privacy}")):
            if importlib.util.find_spec(library) is None and (library == "pysnmp" or _encrypts(access)):
                raise MeterError(f"{why} requires the package {library}: {install_hint('facility')}")
        self._access, self._timeout_s, self._key = access, timeout_s, key
        self._where = f"{access.host}:{access.port}"
        self._secrets = self._read_secrets()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._peer: tuple[Any, Any, Any] | None = None  # pysnmp's engine, the user, the target

    def get(self, oids: Sequence[str]) -> Mapping[str, Value]:
        """The values of these objects, in one request.

        Raises:
            MeterError: no answer in time, or one that does not have them all as whole numbers.
        """
        from pysnmp.error import PySnmpError  # type: ignore[import-untyped,unused-ignore]

        try:
            return self._run(asyncio.wait_for(self._get(oids), self._timeout_s))
        except BaseException as error:
            self._forget()
            if isinstance(error, TimeoutError | DeadlineError):
                raise self._silent() from None
            if isinstance(error, PySnmpError | OSError | ConnectError):
                raise MeterError(f"{self._where}: {_describe_error(error)}") from None
            raise

    def close(self) -> None:
        """Release socket and loop."""
        if self._loop is None:
            return
        self._forget()
        self._run(self._loop.shutdown_default_executor())
        self._loop.close()
        self._loop = None

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # What a datagram makes pysnmp raise is no answer; the default handler would write its traceback into the log.
            self._loop.set_exception_handler(lambda loop, context: None)
        return self._loop.run_until_complete(what)

    def _forget(self) -> None:
        if self._peer is None:
            return
        engine, self._peer = self._peer[0], None
        with contextlib.suppress(Exception):
            self._run(_closed(engine))

    async def _get(self, oids: Sequence[str]) -> Mapping[str, Value]:
        from pysnmp.hlapi.v3arch import asyncio as snmp  # type: ignore[import-untyped,unused-ignore]

        if self._peer is None:
            await self._reach()
        assert self._peer is not None
        rows = [snmp.ObjectType(snmp.ObjectIdentity(oid)) for oid in oids]
        error, status, index, bindings = await snmp.get_cmd(*self._peer, snmp.ContextData(), *rows, lookupMib=False)
        if error is not None:
            raise self._refusal(error)
        if int(status):
            place = oids[int(index) - 1] if 0 < int(index) <= len(oids) else ""
            name = str(status.prettyPrint())
            raise MeterError(f"{self._where} {_REFUSED.get(name, f'answers {name}')}{f' for {place}' if place else ''}")
        if [str(name) for name, _ in bindings] != list(oids):
            raise MeterError(f"{self._where}: the response does not match the request")
        return {oid: _whole_number(oid, value) for oid, (_, value) in zip(oids, bindings, strict=True)}

    async def _reach(self) -> None:
        from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher  # type: ignore[import-untyped,unused-ignore]
        from pysnmp.hlapi.v3arch import asyncio as snmp
        from pysnmp.proto.rfc3412 import MsgAndPduDispatcher  # type: ignore[import-untyped,unused-ignore]

        # In a thread of the resolver's: one of the loop's own would have to end before the loop does.
        until_s = time.monotonic() + self._timeout_s
        addresses = RESOLVER.resolve(self._access.host, self._access.port, until_s, socket.SOCK_DGRAM)
        if not addresses:
            raise ConnectError("no address")
        family, *_, address = addresses[0]
        engine = snmp.SnmpEngine(msgAndPduDsp=MsgAndPduDispatcher(create_controller()))
        engine.register_transport_dispatcher(AsyncioDispatcher(timeout=_TICK_S))
        kind = snmp.Udp6TransportTarget if family == socket.AF_INET6 else snmp.UdpTransportTarget
        # A little less than the whole time, so that pysnmp reports the actual failure first.
        target = await kind.create(address[:2], timeout=0.9 * self._timeout_s / TRIES, retries=TRIES - 1)
        self._peer = engine, self._user(snmp), target

    def _user(self, snmp: Any) -> Any:
        if self._access.version == "2c":
            return snmp.CommunityData(self._secrets["community_file"], mpModel=1)
        auths = {
            "SHA": snmp.USM_AUTH_HMAC96_SHA,
            "SHA-224": snmp.USM_AUTH_HMAC128_SHA224,
            "SHA-256": snmp.USM_AUTH_HMAC192_SHA256,
            "SHA-384": snmp.USM_AUTH_HMAC256_SHA384,
            "SHA-512": snmp.USM_AUTH_HMAC384_SHA512,
        }
        privacies = {
            "AES": snmp.USM_PRIV_CFB128_AES,
            "AES-192": snmp.USM_PRIV_CFB192_AES_BLUMENTHAL,
            "AES-256": snmp.USM_PRIV_CFB256_AES_BLUMENTHAL,
            "none": None,
        }
        return snmp.UsmUserData(
            self._secrets["user_file"],
            self._secrets["auth_key_file"],
            self._secrets.get("priv_key_file"),
            authProtocol=auths[self._access.auth],
            privProtocol=privacies[self._access.privacy],
        )

    def _read_secrets(self) -> dict[str, str]:
        files = {key: getattr(self._access, key) for key in ("community_file", *_V3_KEYS)}
        secrets = {key: read_secret(path, self._key + key) for key, path in files.items() if path is not None}
        for key, text in secrets.items():
            if key.endswith("_key_file") and len(text) < _KEY_LETTERS_MIN:
                raise UsageError(f"key {self._key + key!r}: expected a passphrase of at least {_KEY_LETTERS_MIN} characters")
        return secrets

    def _refusal(self, error: Any) -> MeterError:
        name = type(error).__name__
        if name == "RequestTimedOut":
            return self._silent()
        return MeterError(f"{self._where} {_REFUSED.get(name[:1].lower() + name[1:]) or f'fails: {_describe_error(error)}'}")

    def _silent(self) -> MeterError:
        secret = "community" if self._access.version == "2c" else "priv_key_file" if _encrypts(self._access) else ""
        hint = f"; a wrong {secret} has the same symptom" if secret else ""
        return MeterError(f"{self._where} does not respond within {self._timeout_s:g} s{hint}")


def _encrypts(access: SnmpAccess) -> bool:
    return access.version == "3" and access.privacy != "none"


async def _closed(engine: Any) -> None:
    engine.close_dispatcher()
    for _ in range(3):  # the loop closes sockets and ends tasks a turn later
        await asyncio.sleep(0)


def _whole_number(oid: str, value: Any) -> Value:
    from pyasn1.type import univ  # type: ignore[import-untyped,unused-ignore]
    from pysnmp.proto import rfc1902, rfc1905  # type: ignore[import-untyped,unused-ignore]

    if isinstance(value, rfc1905.NoSuchObject | rfc1905.NoSuchInstance | rfc1905.EndOfMibView):
        raise MeterError(f"the device has no object {oid} ({type(value).__name__})")
    if not isinstance(value, univ.Integer) or isinstance(value, rfc1902.TimeTicks):
        raise MeterError(f"object {oid}: expected a whole number, got {type(value).__name__}")
    return Value(int(value), 1 << 32 if isinstance(value, rfc1902.Counter32) else None)


def _describe_error(error: object) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
