"""An actuator that is played: it grants every lease and keeps the settings of devices, as boards would."""

from collections.abc import Sequence

from dvfs.actuator.client import ActuatorStatus, Effect
from dvfs.actuator.records.note import SettingNote
from dvfs.types import Setting


class ActuatorDouble:
    """A double of the actuator for the governor, without a process: the applied setting of each device, and the last note."""

    def __init__(self) -> None:
        self.settings: dict[str, Setting] = {}
        self.note = SettingNote()
        self.heartbeats = 0

    def acquire(self, devices: Sequence[str], ttl_s: float = 10.0) -> str:
        return "+".join(devices)

    def set(self, lease: str, device: str, setting: Setting, note: SettingNote) -> Effect:
        assert device in lease.split("+")
        self.settings[device], self.note = setting, note
        return Effect(setting, setting.sm_clock_max_mhz, ())

    def heartbeat(self, lease: str) -> None:
        self.heartbeats += 1

    def status(self) -> ActuatorStatus:
        return ActuatorStatus(killed=False)

    def release(self, lease: str, reason: str) -> list[tuple[str, str, str]]:
        for device in lease.split("+"):
            self.settings.pop(device, None)
        return []
