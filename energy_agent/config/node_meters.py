"""Configuration of the node's own meters: RAPL, Redfish, IPMI, power supplies."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from energy_agent.config.formats import Host, RedfishId, ServiceUrl
from energy_agent.config.section import Ratio, Section
from energy_agent.core.address import is_readable, parse_address

IN_THE_CLEAR = "the password is sent in clear text, readable by everyone on the network path; use https:// in url"
Watts = Annotated[float, Field(gt=0, le=1e6)]
Period = Annotated[float, Field(ge=1, le=300)]


class Rapl(Section):
    """Processor packages and memory, by the kernel's RAPL counters."""

    enabled: bool = Field(True, description="read RAPL where the kernel provides it; only root can read its files")
    period_s: Period = Field(10.0, description="seconds between readings")
    gain_uncertainty_ratio: Ratio = Field(0.05, description="systematic error of the counters, as a ratio")


class _NodeSource(Section):
    period_s: Period = Field(10.0, description="seconds between readings")
    timeout_s: float = Field(5.0, ge=0.5, le=60, description="timeout of a response")
    max_power_w: Watts | None = Field(
        None, description="maximum power of the node: bounds the energy of its gaps; higher readings are rejected"
    )
    gain_uncertainty_ratio: Ratio = Field(0.05, description="systematic error of the meter, as a ratio")
    scope: Literal["node", "module"] = Field(
        "node",
        description="what the meter covers: the whole node, or one module with its GPU (a metric, not in the ledger)",
    )


class RedfishLogin(Section):
    """A Redfish service, and how to log in to it."""

    url: ServiceUrl = Field(description="the service's address, such as https://bmc.example")
    ca_file: Path | None = Field(
        None, description="CA certificates for the service's certificate, if the system's do not include its issuer"
    )
    verify: bool = Field(True, description="verify the service's certificate")
    auth: Literal["basic", "session", "none"] = Field("session", description="how to log in")
    user_file: Path | None = Field(None, description="file that contains the user name")
    password_file: Path | None = Field(None, description="file with the password")
    insecure: bool = Field(False, description="send the password over http://, readable by everyone on the network path")

    @property
    def in_the_clear(self) -> bool:
        """The password crosses a network unencrypted."""
        return self.auth != "none" and is_readable(parse_address(self.url))

    @model_validator(mode="after")
    def _check_password_transport(self) -> Self:
        if self.in_the_clear and not self.insecure:
            raise ValueError(
                "the password would be sent in clear text: use https:// in url, or set insecure: true if everyone on the "
                "network path may read it"
            )
        missing = [key for key in ("user_file", "password_file") if getattr(self, key) is None]
        if self.auth != "none" and missing:
            raise ValueError(
                f"{' and '.join(missing)} missing: auth is {self.auth!r}; set auth: none for a service without login"
            )
        return self


class NodeRedfishConfig(RedfishLogin, _NodeSource):
    """The node's power by the Redfish service of its management controller."""

    chassis: RedfishId | None = Field(
        None,
        description="Id of the chassis; required if the service has several with power readings",
    )


class Ipmi(_NodeSource):
    """The node's power by IPMI DCMI, through `ipmitool`."""

    interface: Literal["open", "lanplus"] = Field(
        "open", description="open: the driver of this node; lanplus: over the network"
    )
    host: Host | None = Field(None, description="the management controller's address (lanplus)")
    port: int = Field(623, ge=1, le=65535, description="UDP port of the management controller (lanplus)")
    user_file: Path | None = Field(None, description="file that contains the user name (lanplus)")
    password_file: Path | None = Field(None, description="file with the password (lanplus)")
    cipher_suite: int = Field(17, ge=0, le=17, description="cipher suite (lanplus)")
    privilege: Literal["USER", "OPERATOR", "ADMINISTRATOR"] = Field(
        "USER", description="privilege level to request (lanplus); some controllers require more than DCMI specifies"
    )
    ipmitool: Path = Field(Path("ipmitool"), description="path of ipmitool")

    @model_validator(mode="after")
    def _check_lanplus_keys(self) -> Self:
        missing = [key for key in ("host", "user_file", "password_file") if getattr(self, key) is None]
        if self.interface == "lanplus" and missing:
            raise ValueError(f"{', '.join(missing)} missing: interface is lanplus, which connects over the network")
        return self


class Psu(_NodeSource):
    """The node's power as the sum of its power supplies' inputs, where the kernel reports them (hwmon)."""

    supplies: int | None = Field(
        None,
        ge=1,
        le=16,
        description="number of power supplies; if fewer are visible, the reading does not cover the whole node",
    )


class NodeMeters(Section):
    """Meters of the node around the GPUs."""

    sysfs: Path = Field(Path("/sys"), description="root of the sys file system")
    ledger: Literal["auto", "redfish", "ipmi", "psu", "none"] = Field(
        "auto", description="the meter of record of the whole node; auto: the first configured of redfish, psu, ipmi"
    )
    rapl: Rapl = Rapl()
    redfish: NodeRedfishConfig | None = Field(None, description="the Redfish service of the node's management controller")
    ipmi: Ipmi | None = Field(None, description="power by IPMI DCMI, through `ipmitool`")
    psu: Psu | None = Field(None, description="power supplies and sockets of Grace that the kernel reports (hwmon)")

    @model_validator(mode="after")
    def _check_ledger_source(self) -> Self:
        if self.ledger in ("auto", "none"):
            return self
        section = getattr(self, self.ledger)
        if section is None:
            raise ValueError(f"ledger is {self.ledger!r}, but section {self.ledger!r} is missing: nothing would be recorded")
        if section.scope != "node":
            raise ValueError(
                f"ledger is {self.ledger!r}, but its scope is {section.scope!r}: expected a meter of the whole node"
            )
        return self

    @property
    def record(self) -> str | None:
        """The source of record of the whole node; None where the node has no such source."""
        if self.ledger == "none":
            return None
        order = ("redfish", "psu", "ipmi") if self.ledger == "auto" else (self.ledger,)
        for name in order:
            section = getattr(self, name)
            if section is not None and section.scope == "node":
                return name
        return None
