"""Hot reload: a changed configuration takes effect while the agent runs, one small function per section.

Every error is found before any change is applied, so an invalid file changes nothing. Keys that need a restart are named. The
file's inode and times are polled every few seconds: this detects a ConfigMap's swapped symlink like any other change, and
needs no inotify.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from energy_agent.accounting.device import SensorFor
from energy_agent.config import agent as configuration
from energy_agent.config.agent import Config
from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S
from energy_agent.node.loop import Agent
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.reader.child import ReaderOptions
from energy_agent.runtime.files import yaml_file
from wattlens.agent.config_check import check_parts
from wattlens.steering.loop import Steering

log = logging.getLogger("wattlens")

LOOK_S = 2.0


class FileWatch:
    """Detects when a file has been replaced and has stopped changing, because half of a file is not a valid configuration."""

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

    def mark_read(self) -> None:
        """Record that the current content has been read."""
        self._taken = self._last = self._state()

    def _state(self) -> tuple[int, ...] | None:
        try:
            stat = os.stat(self.path)  # noqa: PTH116 - follows a ConfigMap's symlinks, as reading does
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@dataclass(slots=True)
class Reloader:
    """Applies a changed configuration.

    Args:
        watch: the file.
        reader_options: reader options from a configuration.
        sensors: GPU sensor options from a configuration.
        web: applies the web server's section.
        open_note: starts to read the node's own annotation; None if the agent must not query an API server.
    """

    watch: FileWatch
    reader_options: Callable[[Config], ReaderOptions]
    sensors: Callable[[Config], SensorFor]
    web: Callable[[Config], None]
    open_note: Callable[[], NodeNote | None]
    keep: Callable[[bytes], None]

    def __call__(self, agent: Agent) -> None:
        """Read the file and take over what changed.

        Raises:
            UsageError: the file is wrong; nothing has changed.
        """
        self.watch.mark_read()
        raw = yaml_file.read(self.watch.path, "configuration", safe=True, folders_above=not agent.identity.simulated)
        fresh, old = configuration.parse(raw, str(self.watch.path)), agent.config
        check_parts(fresh)
        sensors = self.sensors(fresh)
        note = self._node_note(agent, fresh)
        agent.journal.configure(fresh.ledger.disk_budget_mib << 20, fresh.ledger.keep_hours * 3600 * NS_PER_S)
        self.web(fresh)
        agent.sampler.configure(self.reader_options(fresh), max(1.0, fresh.sampling.period_s))  # a new reader only where needed
        agent.accountant.set_sensors(sensors, fresh.sources.nvml.calibration, fresh.sources.nvml.gain_uncertainty_ratio)
        agent.accountant.set_retention(fresh.holders.retention_s * NS_PER_S)
        agent.tokens.configure(fresh.tokens)
        _steer(agent, fresh, note)
        before, agent.node_note = agent.node_note, note
        if before is not None and before is not note:
            before.stop()
        waiting = needs_restart(old, fresh)
        agent.config = _in_force(old, fresh)
        self.keep(raw)
        if waiting:
            log.warning("needs a restart to take effect: %s", ", ".join(waiting))

    def _node_note(self, agent: Agent, fresh: Config) -> NodeNote | None:
        """`dvfs.annotations`: the node's own is a switch, so it is read wherever something is steered by annotations."""
        if not (fresh.dvfs.steers and fresh.dvfs.annotations):
            return None
        return agent.node_note or self.open_note()


_RELOADED: Final = frozenset(
    {"sampling", "tokens", "ledger", "dvfs", "holders.period_s", "holders.retention_s", "sources.nvml", "web.metrics"}
    | {"web.config_file", "web.bearer_token_file"}
)
"""What a reload takes over. Every other key is read once, at start: who the node is, where its kernel and meters are, ..."""


def needs_restart(old: Config, fresh: Config) -> list[str]:
    """Changed keys that only a restart takes over."""
    return [f"{section}.{key}" for section, keys in _waiting(old, fresh).items() for key in keys]


def restart_keys() -> list[str]:
    """All keys that only a restart takes over; a section of which none is reloaded is named alone."""
    keys = []
    for section in Config.model_fields.keys() - _RELOADED:
        names = [f"{section}.{key}" for key in type(getattr(Config(), section)).model_fields]
        waiting = [name for name in names if name not in _RELOADED]
        keys += [section] if waiting == names else waiting
    return sorted(keys)


def _waiting(old: Config, fresh: Config) -> dict[str, list[str]]:
    waiting: dict[str, list[str]] = {}
    for section in type(old).model_fields:
        if section in _RELOADED:
            continue
        was, now = getattr(old, section), getattr(fresh, section)
        for key in type(was).model_fields:
            if f"{section}.{key}" not in _RELOADED and getattr(was, key) != getattr(now, key):
                waiting.setdefault(section, []).append(key)
    return waiting


def _in_force(old: Config, fresh: Config) -> Config:
    """The configuration as it is from now on: what waits for a restart is still the old, and is named again next time."""
    sections = {
        section: getattr(fresh, section).model_copy(update={key: getattr(getattr(old, section), key) for key in keys})
        for section, keys in _waiting(old, fresh).items()
    }
    return fresh.model_copy(update=sections)


def _steer(agent: Agent, fresh: Config, note: NodeNote | None) -> None:
    """`dvfs`: what the old governor set goes back before the new one begins, which goes on with its experiments."""
    if fresh.dvfs == agent.config.dvfs:
        return
    if agent.steer is not None:
        agent.accountant.add_steering(agent.steer.stop())
    agent.steer = None
    if fresh.dvfs.steers:
        states = agent.accountant.steering_states()
        agent.steer = Steering(fresh.dvfs, agent.clock, agent.tokens, agent.training, note, states)
    agent.dvfs_changed()


def nothing_to_reload(_: Agent) -> None:
    """What SIGHUP does for an agent that has no file; raises UsageError."""
    raise UsageError("the agent was started without --config, so there is nothing to reload")
