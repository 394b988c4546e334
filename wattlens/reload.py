"""Hot reload: a changed configuration takes effect while the agent runs, one small function a section; what cannot is named.

Everything that can be wrong is found before anything is taken over, so a bad file changes nothing. The file is looked at every
few seconds by its inode and times: a ConfigMap's swapped symlink is a change like any other, and needs no inotify.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from energy_agent import config as configuration
from energy_agent.agent import Agent
from energy_agent.config import Config
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.device_account import SensorFor
from energy_agent.reader_process import ReaderOptions
from wattlens.config_check import check_parts
from wattlens.steering import Steering

log = logging.getLogger("wattlens")

LOOK_S = 2.0


class FileWatch:
    """Tells when a file has become another one, and has stopped changing: half of a file is no configuration."""

    def __init__(self, path: Path, look_s: float = LOOK_S) -> None:
        self.path, self._look_s = path, look_s
        self._taken = self._last = self._state()
        self._next_s = 0.0

    def changed(self) -> bool:
        """True once a change; looks at the file at most every `look_s`."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._look_s
        state = self._state()
        still, self._last = state == self._last, state
        if not still or state == self._taken:
            return False
        self._taken = state
        return True

    def taken(self) -> None:
        """The file as it is now has been read."""
        self._taken = self._last = self._state()

    def _state(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - follows a ConfigMap's symlinks, as reading does
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(slots=True)
class Reloader:
    """Takes a configuration over. `web` is what the web server does with its section."""

    watch: FileWatch
    reader_options: Callable[[Config], ReaderOptions]
    sensors: Callable[[Config], SensorFor]
    web: Callable[[Config], None]

    def __call__(self, agent: Agent) -> None:
        """Read the file and take over what changed.

        Raises:
            UsageError: the file is wrong; nothing has changed.
        """
        self.watch.taken()
        fresh, old = configuration.load(self.watch.path), agent.config
        check_parts(fresh)
        sensors = self.sensors(fresh)
        steer = _new_steering(agent, fresh)
        _ledger(agent, fresh)
        self.web(fresh)
        _readings(agent, self.reader_options(fresh), fresh)
        agent.accountant.set_sensors(sensors, fresh.sources.nvml.calibration, fresh.sources.nvml.gain_uncertainty_ratio)
        agent.accountant.set_retention(fresh.holders.retention_s * NS_PER_S)
        agent.tokens.configure(fresh.tokens)
        _steer(agent, fresh, steer)
        waiting = needs_restart(old, fresh)
        agent.config = _in_force(old, fresh)
        if waiting:
            log.warning("needs a restart to take effect: %s", ", ".join(waiting))


def needs_restart(old: Config, fresh: Config) -> list[str]:
    """Changed keys that are read once, at start: who the node is, where its kernel and meters are, what address is served."""
    keys = [f"node.{key}" for key in type(old.node).model_fields if getattr(old.node, key) != getattr(fresh.node, key)]
    keys += ["client"] if old.client != fresh.client else []
    keys += ["holders.kubernetes"] if old.holders.kubernetes != fresh.holders.kubernetes else []
    keys += ["sources.node"] if old.sources.node != fresh.sources.node else []
    return keys + [f"web.{key}" for key in _SERVED if getattr(old.web, key) != getattr(fresh.web, key)]


_SERVED = ("listen", "probe_listen")


def _in_force(old: Config, fresh: Config) -> Config:
    """The configuration as it is from now on: what waits for a restart is still the old, and is told again next time."""
    kept = {key: getattr(old.web, key) for key in _SERVED}
    return fresh.model_copy(
        update={
            "node": old.node,
            "client": old.client,
            "web": fresh.web.model_copy(update=kept),
            "sources": fresh.sources.model_copy(update={"node": old.sources.node}),
            "holders": fresh.holders.model_copy(update={"kubernetes": old.holders.kubernetes}),
        }
    )


def _readings(agent: Agent, options: ReaderOptions, fresh: Config) -> None:
    """`sampling`, `holders` and what of `sources.nvml` the reader does: a new reader, and only where it would do otherwise."""
    agent.sampler.configure(options, max(1.0, fresh.sampling.period_s))


def _ledger(agent: Agent, fresh: Config) -> None:
    """`ledger`: sizes and ages from the next commit on, the length of a segment from the next one on."""
    agent.journal.configure(fresh.ledger.disk_budget_mib << 20, fresh.ledger.keep_hours * 3600 * NS_PER_S)


def _new_steering(agent: Agent, fresh: Config) -> Steering | None:
    """The governor of a changed `dvfs`; it does nothing before its first snapshot.

    Raises:
        UsageError: its policy, or an option of it, does not exist.
    """
    if fresh.dvfs == agent.config.dvfs or not fresh.dvfs.steers:
        return None
    return Steering(fresh.dvfs, agent.clock, agent.tokens, agent.state_dir, agent.training, agent.node_note)


def _steer(agent: Agent, fresh: Config, steer: Steering | None) -> None:
    """`dvfs`: what the old governor set goes back before the new one begins."""
    if fresh.dvfs == agent.config.dvfs:
        return
    if agent.steer is not None:
        agent.accountant.add_actions(agent.steer.stop())
    agent.steer = steer
    agent.dvfs_changed()


def nothing_to_reload(_: Agent) -> None:
    """What SIGHUP does for an agent that has no file; raises UsageError."""
    raise UsageError("the agent was started without --config, so there is nothing to reload")
