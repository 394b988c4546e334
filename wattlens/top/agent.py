"""The agent that top reads: one that runs already, or a private one that ends with top and leaves nothing."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from energy_agent.core.errors import WattlensError
from energy_agent.runtime.network.http import HttpError, HttpUnreachableError
from wattlens.agent_access import AgentAccess, AgentStatusError
from wattlens.companion_process import companion, last_line, metrics_url
from wattlens.top.metrics import MetricsParser, MetricsResponse

PATIENCE_S = 15.0  # with a response without which the command ends
FIRST_S = 5.0  # for an agent that has only just started
_START_S = 60.0
_UNUSED = (
    "gpu_ecc_*location*", "gpu_encoder_*", "gpu_decoder_*", "gpu_memory_utilization_ratio", "gpu_bar1_*", "gpu_energy_gain_*",
    "gpu_energy_edge_*", "gpu_energy_gap_*", "gpu_remapped_*", "gpu_unattributed_*", "gpu_persistence_*", "gpu_nvlink_*",
)  # fmt: skip
"""Families that top does not show: a private agent leaves them out."""


@dataclass(frozen=True, slots=True)
class TopAgent:
    """Where the agent is, and its process if it is private."""

    access: AgentAccess
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None
    note: str = ""  # why a private agent was started

    def opener(self) -> Callable[[float], bytes]:
        """See `AgentAccess.opener`."""
        return self.access.opener()

    def explain(self, error: Exception) -> str:
        """Why there is no response; of a private agent that ended, its last words."""
        if self.process is not None and self.process.poll() is not None and self.log is not None:
            return f"the private agent exited: {last_line(self.log)}"
        return self.access.why_not(error)


@dataclass(slots=True)
class TopReader:
    """Reads responses of an agent one after the other."""

    agent: TopAgent
    parser: MetricsParser
    fetch: Callable[[float], bytes]

    @classmethod
    def of(cls, agent: TopAgent) -> "TopReader":
        """A reader; raises UsageError where the address or a file is wrong."""
        return cls(agent, MetricsParser(), agent.opener())

    def read(self, within_s: float = PATIENCE_S) -> MetricsResponse:
        """A response; raises HttpError or ValueError."""
        response = self.parser.parse(self.fetch(within_s).decode("utf-8"), time.monotonic())
        if next(response.rows("build_info"), None) is None:
            raise ValueError("the response has no metrics of Wattlens")
        return response

    def read_first(self) -> MetricsResponse:
        """The first response; an agent that starts gets a few seconds.

        Raises:
            WattlensError: no response came.
        """
        end_s = time.monotonic() + (FIRST_S if self.agent.process is None else _START_S)
        while True:
            try:
                response = self.read()
                # A private agent listens before it has read GPUs, and ends if it finds no GPU.
                if self.agent.process is None or next(response.rows("gpu_up"), None) or time.monotonic() > end_s:
                    return response
            except (HttpError, ValueError) as error:
                is_starting = isinstance(error, AgentStatusError) and error.response.status == 503
                private = self.agent.process  # it may close its port a moment before it ends with the reason
                may_come = is_starting if private is None else private.poll() is None
                if not may_come or time.monotonic() > end_s:
                    raise WattlensError(self._describe(error)) from None
            time.sleep(0.1)

    def _describe(self, error: Exception) -> str:
        if self.agent.process is not None:
            return ": ".join(filter(None, (self.agent.note, self.agent.explain(error))))
        is_absent = isinstance(error, HttpUnreachableError) and not error.is_closed
        hint = "; start one with `wattlens agent`, or omit --url to read this machine's GPUs" * is_absent
        return f"no response from an agent at {self.agent.access.url}: {self.agent.explain(error)}{hint}"


def is_answering(access: AgentAccess) -> bool:
    """Whether something listens at the address of an agent, whatever it is."""
    try:
        access.opener()(PATIENCE_S)
    except HttpUnreachableError as error:
        return error.is_closed
    except (HttpError, ValueError):
        return True
    return True


@contextmanager
def open_agent(
    access: AgentAccess, simulate: Path | None, *, may_start: bool, settings: Mapping[str, Any] | None = None
) -> Iterator[TopAgent]:
    """The agent at `access`; with `simulate`, or `may_start` and none that answers there, a private one.

    `settings` are the configuration of a private agent; by default it exports what top shows.

    Raises:
        WattlensError: the private agent does not start.
        UsageError: the address or a file is wrong.
    """
    if simulate is None and (not may_start or is_answering(access)):
        yield TopAgent(access)
        return
    simulate = simulate or _environ_node()
    note = "" if simulate is not None else f"no agent responds at {access.url}, and this machine's GPUs cannot be read"
    with _exit_on_signals(), tempfile.TemporaryDirectory(prefix="wattlens-top-") as folder:
        log, config = Path(folder) / "agent.log", Path(folder) / "agent.yaml"
        config.write_text(json.dumps(_settings() if settings is None else settings))
        command = ["agent", "--config", str(config), "--state", f"{folder}/state", "--listen", "127.0.0.1:0"]
        command += ["--simulate", str(simulate)] if simulate is not None else []
        with companion(
            command, log, lambda: metrics_url(log), note or "the agent on the simulated node did not start"
        ) as process:
            yield TopAgent(replace(access, url=metrics_url(log), **_NO_FILES), process, log, note)


def _settings() -> Mapping[str, Any]:
    return {"web": {"metrics": {"exclude": list(_UNUSED)}}, "sampling": {"health_period_s": 15}}


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise SystemExit, so that the private agent's folder is removed; their default leaves it behind."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environ_node() -> Path | None:
    """The simulated node of `wattlens sim env`, which NVML clients in this environment see."""
    return Path(os.environ["WATTLENS_SIM"]) if os.environ.get("WATTLENS_SIM") else None


_NO_FILES = dict.fromkeys(("ca_file", "user_file", "token_file", "cert_file", "key_file"))
