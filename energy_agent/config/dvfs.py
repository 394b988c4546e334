"""Configuration of steering. GPUs are steered only if it is enabled here and the actuator allows it."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from energy_agent.config.formats import EntryName, WeeklyTimes, text_format
from energy_agent.config.section import Section

Glob = Annotated[str, text_format("[A-Za-z0-9*?][A-Za-z0-9._/*?-]{0,252}", "a name, with * for any characters, such as team-*")]
PolicyName = Annotated[
    str, text_format(r"[a-z_]+(\+[a-z_]+)*", "the name of a policy, or several joined by +, such as progress+phase")
]
Slowdown = Annotated[float, Field(gt=0, le=0.5)]
Watts = Annotated[float, Field(gt=0, le=1e6)]


class SloTargets(Section):
    """Latency limits of a serving workload, measured at its inference server's metrics endpoint."""

    ttft_ms: float | None = Field(None, gt=0, le=3.6e6, description="time to first token")
    itl_ms: float | None = Field(None, gt=0, le=3.6e6, description="time between two tokens")
    attainment: float | None = Field(None, gt=0.5, lt=1, description="share of requests within each limit (default 0.99)")


class DvfsPolicySettings(Section):
    """Steering policy settings of a namespace, a workload or a group, or of a pod in its annotation wattlens.io/dvfs."""

    mode: Literal["observe", "shadow", "enforce"] | None = Field(None, description="the weakest mode of all levels applies")
    policy: PolicyName | None = Field(None, description="name of a policy, or several joined by +, such as progress+phase")
    slowdown: Slowdown | None = Field(None, description="how much longer a training run may take, as a ratio")
    slo: SloTargets | None = Field(None, description="limits of a serving workload")
    cap_w: Watts | None = Field(None, description="maximum power per GPU; the lowest value of all levels applies")
    schedule: tuple[WeeklyTimes, ...] | None = Field(
        None, description="times when steering is allowed, such as Mon-Fri 08:00-18:00; at other times the mode is observe"
    )
    shared: bool | None = Field(
        None, description="true: the workload may be steered on a shared GPU if every workload on it allows that"
    )


class DvfsGroup(DvfsPolicySettings):
    """Devices that are steered together."""

    name: EntryName = Field(description="name of the group in metrics and savings")
    devices: tuple[str, ...] = Field(min_length=1, description="device UUIDs or indices")
    workload: str = Field("", description="the workload whose tokens or steps measure progress")
    arrivals: Literal["open", "closed"] = Field(
        "closed",
        description="open: requests arrive independently of responses; closed: clients wait for responses (smaller claims)",
    )


class DvfsBlocks(Section):
    """Paired blocks: the policy is on and off in random order, and the two are compared."""

    pairs: int | None = Field(None, ge=2, le=1000, description="number of pairs; unlimited by default")
    seconds: float = Field(30.0, ge=2, description="length of a block")
    settle_s: float = Field(4.0, ge=0.5, description="seconds that are ignored at the start of each block")
    every_s: float | None = Field(
        None,
        ge=4,
        description=(
            "duration of the first periods, with one pair per period; by default 270 s, or the duration of one pair if "
            "`pairs` is set"
        ),
    )
    seed: int = Field(0, description="seed of the random offsets and orders, together with a secret of the agent")

    @model_validator(mode="after")
    def _check_block_times(self) -> Self:
        if self.every_s is not None and self.every_s < 2 * self.seconds:
            raise ValueError(f"every_s is {self.every_s:g}, but a pair takes {2 * self.seconds:g} s")
        if self.settle_s >= self.seconds:
            raise ValueError(f"settle_s: expected less than the block length of {self.seconds:g} s, got {self.settle_s:g}")
        return self

    @property
    def period_s(self) -> float | None:
        """Length of the first periods; None: pairs follow each other."""
        if self.every_s is None and self.pairs is None:
            return max(270.0, 2 * self.seconds)
        return self.every_s


def _again(names: Sequence[str]) -> str | None:
    return next((name for n, name in enumerate(names) if name in names[:n]), None)


class Dvfs(DvfsPolicySettings):
    """Steering of clocks and limits: what the node's owner allows, and what is steered."""

    mode: Literal["observe", "shadow", "enforce"] = Field(
        "observe", description="the strongest mode that the governor may use on this node"
    )
    policy: PolicyName = Field(
        "auto",
        description="name of a policy, or several joined by +; auto: slo if an SLO is set, else progress",
    )
    slowdown: Slowdown = Field(0.03, description="how much longer a training run may take, as a ratio")
    slowdown_most: Slowdown = Field(0.10, description="upper bound for the slowdown that namespaces and workloads may request")
    options: dict[str, dict[str, float | int | str | bool]] = Field(default_factory=dict, description="policy -> its options")
    actuator: Path | None = Field(None, description="socket of `wattlens actuator`, if it is not the default")
    auto_groups: bool = Field(
        False, description="steer every workload that has its GPUs to itself, in addition to the groups listed here"
    )
    groups: tuple[DvfsGroup, ...] = Field((), description="named groups of GPUs that are steered together")
    namespaces: dict[Glob, DvfsPolicySettings] = Field(
        default_factory=dict,
        description="namespace, or a pattern such as dev-*, -> settings as in a group: mode, policy, slowdown, slo, ...",
    )
    workloads: dict[Glob, DvfsPolicySettings] = Field(
        default_factory=dict, description="workload, or a pattern -> settings as in a namespace"
    )
    annotations: bool = Field(True, description="follow the pod annotation wattlens.io/dvfs (needs the pod informer)")
    time_zone: str = Field("UTC", description="time zone of schedules, such as Europe/Berlin")
    budget_w: Watts | None = Field(
        None, description="maximum power of all GPUs of the node together; the rest of the server does not count"
    )
    blocks: DvfsBlocks | None = Field(
        None, description="alternate treatment and control blocks in random order, to prove the saving"
    )

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, LookupError):
            raise ValueError(f"expected a time zone such as UTC or Europe/Berlin, got {name[:40]!r}") from None
        return name

    @field_validator("options", mode="before")
    @classmethod
    def _check_options(cls, value: object) -> object:
        if isinstance(value, dict) and any(not isinstance(each, dict) for each in value.values()):
            raise ValueError("expected the options of each policy, such as options: {progress: {knob: power}}")
        return value

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if self.mode != "observe" and not self.groups and not self.auto_groups:
            raise ValueError(f"mode is {self.mode!r}, but no device is selected: set groups or auto_groups")
        names = [group.name for group in self.groups]
        if again := _again(names):
            raise ValueError(f"duplicate group name {again!r}")
        if again := _again([device for group in self.groups for device in group.devices]):
            where = " and ".join(dict.fromkeys(g.name for g in self.groups if again in g.devices))
            raise ValueError(f"device {again!r} is listed twice in groups ({where}); a device belongs to one group")
        return self

    @property
    def steers(self) -> bool:
        """Whether there is anything to steer."""
        return bool(self.groups) or self.auto_groups

    @property
    def levels(self) -> dict[str, DvfsPolicySettings]:
        """The settings of node, groups, namespaces and workloads, by the key of each."""
        settings_by_key: dict[str, DvfsPolicySettings] = {"dvfs": self}
        settings_by_key |= {f"dvfs.groups.{n}": group for n, group in enumerate(self.groups)}
        settings_by_key |= {f"dvfs.namespaces.{name}": terms for name, terms in self.namespaces.items()}
        return settings_by_key | {f"dvfs.workloads.{name}": terms for name, terms in self.workloads.items()}

    @property
    def policies(self) -> list[tuple[str, str]]:
        """Every policy that the file names but `auto`, with its key."""
        named = [(f"{key}.policy", terms.policy or "auto") for key, terms in self.levels.items()]
        return [(key, name) for key, names in named for name in names.split("+") if name != "auto"]


def matching(patterns: dict[str, DvfsPolicySettings], name: str) -> Iterable[DvfsPolicySettings]:
    """The terms of the patterns that fit a name, in the order of the file; those of the name itself come last."""
    fits = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
    return (patterns[pattern] for pattern in sorted(fits, key=lambda pattern: pattern == name))
