"""The owner's allow-list from the configuration file: allowed devices, knobs and ranges. Default: empty."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvfs.types import KNOBS, Baseline, DeviceLimits
from energy_agent.core.errors import UsageError

_KEYS = ("devices", "knobs", "clock_mhz", "power_w", "baseline")
_FILE_KEYS = ("allow", "kill_switch")


@dataclass(frozen=True, slots=True)
class AllowRule:
    """One entry of the allow-list: `devices` is "all", or UUIDs and NVML indexes."""

    devices: str | tuple[str | int, ...]
    limits: DeviceLimits

    def covers(self, uuid: str, index: int) -> bool:
        """Whether the rule names this device."""
        return self.devices == "all" or uuid in self.devices or index in self.devices


@dataclass(frozen=True, slots=True)
class AllowList:
    """Rules in order; the first that names a device holds."""

    rules: tuple[AllowRule, ...] = ()

    def limits(self, uuid: str, index: int) -> DeviceLimits:
        """Limits of a device; those of a device that no rule names allow nothing."""
        return next((r.limits for r in self.rules if r.covers(uuid, index)), DeviceLimits())


@dataclass(frozen=True, slots=True)
class ActuatorFile:
    """The actuator's own file: it belongs to the owner of the node, not to the agent."""

    allow: AllowList = AllowList()
    kill_switch: Path | None = None


def load(path: Path, *, simulated: bool = False) -> ActuatorFile:
    """Read a YAML file with the keys `allow` and `kill_switch`.

    Raises:
        UsageError: names the file and the key that is wrong, or others may change the file.
    """
    from energy_agent.runtime.files import yaml_file  # PyYAML is not needed without a file

    data = yaml_file.parse(yaml_file.read(path, "configuration", True, not simulated), str(path))
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a mapping with the keys {', '.join(_FILE_KEYS)}")
    for key in data:
        _require_known_key(key, _FILE_KEYS, str(path))
    switch = data.get("kill_switch")
    if switch is not None and (not isinstance(switch, str) or not switch.startswith("/")):
        raise UsageError(f"{path}: kill_switch: expected the absolute path of a file")
    return ActuatorFile(parse(data.get("allow"), f"{path}: allow"), None if switch is None else Path(switch))


def _require_known_key(key: object, keys: Sequence[str], where: str) -> None:
    if key not in keys:
        near = difflib.get_close_matches(str(key), keys, 1)
        raise UsageError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def parse(section: object, where: str) -> AllowList:
    """The allow-list from parsed YAML: a list of mappings {devices, knobs, clock_mhz, power_w, baseline}; None is empty.

    Args:
        section: output of the YAML reader.
        where: file and key, for messages.

    Raises:
        UsageError: a key is invalid; names it.
    """
    if section is None:
        return AllowList()
    if not isinstance(section, list):
        raise UsageError(f"{where}: expected a list of rules, each with 'devices' and 'knobs'")
    return AllowList(tuple(_rule(entry, f"{where}[{i}]") for i, entry in enumerate(section)))


def _rule(entry: object, where: str) -> AllowRule:
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: expected a mapping with 'devices' and 'knobs'")
    for key in entry:
        _require_known_key(key, _KEYS, where)
    knobs = entry.get("knobs")
    if not isinstance(knobs, list) or not knobs or any(k not in KNOBS for k in knobs):
        raise UsageError(f"{where}.knobs: expected a list of values from {', '.join(KNOBS)}")
    baseline = _baseline(entry.get("baseline"), f"{where}.baseline")
    if "clock" in knobs and baseline is None:
        raise UsageError(f"{where}.baseline: expected 'unlocked' or [low, high] in MHz, because NVML cannot read a clock lock")
    power = _range(entry.get("power_w"), f"{where}.power_w")
    limits = DeviceLimits(
        frozenset(knobs),
        _range(entry.get("clock_mhz"), f"{where}.clock_mhz"),
        None if power is None else (power[0] * 1000, power[1] * 1000),
        baseline,
    )
    return AllowRule(_devices(entry.get("devices"), f"{where}.devices"), limits)


def _devices(value: object, where: str) -> str | tuple[str | int, ...]:
    if value == "all":
        return "all"
    if isinstance(value, list) and value and all(isinstance(v, str | int) and not isinstance(v, bool) for v in value):
        return tuple(value)
    raise UsageError(f"{where}: expected 'all' or a list of UUIDs and indices")


def _baseline(value: object, where: str) -> Baseline | None:
    if value is None or value == "unlocked":
        return None if value is None else "unlocked"
    return _range(value, where, " or 'unlocked'")


def _range(value: object, where: str, other: str = "") -> tuple[int, int] | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        low, high = value
        if isinstance(low, int) and isinstance(high, int) and 0 < low <= high:
            return low, high
    raise UsageError(f"{where}: expected [low, high] as integers{other}")
