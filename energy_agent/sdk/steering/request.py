"""Requests of a rank of a multi-node job to its own node's agent, from a background thread.

On rank 0's node: the job is led from here. On other nodes: the settings applied on rank 0's node, sent by one process per
node, or by several where the agent treats them as separate workloads (outside pods, containers and Slurm jobs). Each request
holds for 15 s and is renewed while the training runs.
"""

import atexit
import math
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from energy_agent.runtime.network.agent_socket import agent_socket, ask
from energy_agent.runtime.threads import start_thread
from energy_agent.sdk.agent import describe_silence
from energy_agent.sdk.ranks import local_rank_of
from energy_agent.sdk.training.step_counter import hint

TTL_S = 15.0
_RENEW_S = 4.0
_TURN_S = 1.0  # rank 0 sends its request and reads what is applied, and others check whether to repeat theirs
_OTHERS_S = 3.0  # a process that speaks for this workload has done so by then
_FOLLOWS_S = 15.0  # after so long, report a missing agent and a node that does not follow
_IDLE_S = 60.0  # after so long without a message of rank 0, no request is sent any more
_WITHDRAW_S = 0.5
_KNOBS = ("sm_clock_max_mhz", "power_limit_w")


class Speaker:
    """The thread of a rank; `leads`: it is rank 0. All methods return at once but `stop`, which takes a second at most."""

    def __init__(self, *, leads: bool) -> None:
        self._wake = threading.Condition()
        self._talking = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid, self._stopping = os.getpid(), False
        self._leads = leads
        self.setting: Mapping[str, float] = {}  # on rank 0's node
        self._node = ""  # this one, as its agent calls it
        self._lead_node: str | None = None
        self._heard_s = self._first_s = time.monotonic()
        self._speaks: bool | None = True if leads else None
        self._last_request: dict[str, object] = {}
        self._said_s = -math.inf
        self._since_s: float | None = None  # from when on there was something to say

    def start(self) -> None:
        """Begin to request; does nothing the second time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wattlens-steered", daemon=True)
            start_thread(self._thread)
            atexit.register(self.stop)

    def stop(self) -> None:
        """Request no more, and withdraw what was requested."""
        if os.getpid() != self._pid:  # a forked child: the request is its parent's
            return
        with self._wake:
            stopped, self._stopping = self._stopping, True
            self._wake.notify()
        # With the lock nothing is on its way: a request that the thread was sending until now is withdrawn too.
        if stopped or not self._talking.acquire(timeout=_WITHDRAW_S):
            return
        try:
            if self._last_request:
                ask("POST", "/v1/dvfs", {"ttl_s": 1}, within_s=_WITHDRAW_S)
        except (OSError, ValueError):
            pass  # the agent ends the request when its time is over
        finally:
            self._talking.release()

    def message(self, steps: int) -> dict[str, Any]:
        """Rank 0's message to all ranks: the next broadcast is after so many steps."""
        return {"v": 1, "steps": steps, "node": self._node, "setting": dict(self.setting)}

    def heard(self, node: str, setting: Mapping[str, float]) -> None:
        """Rank 0's message came."""
        with self._wake:
            self._heard_s = time.monotonic()
            if not self._leads:
                knobs = {name: float(setting[name]) for name in _KNOBS if name in setting}
                fresh = (node, knobs) != (self._lead_node, self.setting)
                self._lead_node, self.setting = node, knobs
                if fresh:
                    self._wake.notify()

    # The thread.

    def _run(self) -> None:
        while True:
            with self._talking:
                if self._stopping:
                    return
                self._turn()
            with self._wake:
                if not self._stopping:
                    self._wake.wait(_TURN_S)

    def _turn(self) -> None:
        try:
            if not self._node:
                _, me = ask("GET", "/v1/me")
                self._node = str(me.get("node", ""))
            word = self._word()
            if self._leads:
                self._lead(word)
            else:
                self._follow(word)
        except (OSError, ValueError) as error:
            if self._leads:
                self.setting = {}
            if time.monotonic() - self._first_s > _FOLLOWS_S or not agent_socket().exists():
                hint(f"no agent responds on a node of a steered job: {describe_silence(error)}")

    def _word(self) -> dict[str, object]:
        """The request to send now; {}: no request."""
        if time.monotonic() - self._heard_s > _IDLE_S:
            return {}
        if self._leads:
            return {"lead": True}
        if not self._node or not self._lead_node:
            return {}
        return {"lead": True} if self._lead_node == self._node else dict(self.setting)

    def _lead(self, word: dict[str, object]) -> None:
        status, reply = self._say(word) if word else ask("GET", "/v1/dvfs")
        self.setting = in_force(reply) if status in (200, 202) else {}
        if time.monotonic() - self._first_s > _FOLLOWS_S and (why := str(reply.get("reason", ""))):
            hint(f"this job is not steered: {why}")

    def _follow(self, word: dict[str, object]) -> None:
        now_s = time.monotonic()
        if not word:
            self._since_s = None
            if self._last_request:
                self._say({}, ttl_s=1)
            return
        self._since_s = now_s if self._since_s is None else self._since_s
        if self._speaks is None:
            self._speaks = self._decided(now_s - self._since_s)
        if not self._speaks or (word == self._last_request and now_s - self._said_s < _RENEW_S):
            return
        status, reply = self._say(word)
        if now_s - self._since_s > _FOLLOWS_S and "lead" not in word and (status != 202 or not in_force(reply)):
            why = reply.get("reason") or f"its mode is {reply.get('mode')}; see the agent's log"
            hint(f"a node of a steered job does not apply the setting: {self._node}: {why}")

    def _decided(self, waited_s: float) -> bool | None:
        """Whether this process speaks for its workload; None: that is not known yet."""
        if local_rank_of(os.environ) == 0 and self._lead_node != self._node:
            return True
        if waited_s < _OTHERS_S:
            return None
        _, reply = ask("GET", "/v1/dvfs")
        return "asked" not in reply

    def _say(self, word: dict[str, object], ttl_s: float = TTL_S) -> tuple[int, dict[str, Any]]:
        answer = ask("POST", "/v1/dvfs", word | {"ttl_s": ttl_s})
        self._last_request, self._said_s = word, time.monotonic()
        return answer


def in_force(reply: Mapping[str, Any]) -> dict[str, float]:
    """The setting that all GPUs of a workload have, of an answer to /v1/dvfs; where they differ, the lowest: it slows all."""
    devices = [d.get("setting") or {} for d in reply.get("devices", ()) if isinstance(d, Mapping)]
    if not devices:
        return {}
    return {knob: min(float(d[knob]) for d in devices) for knob in _KNOBS if all(knob in d for d in devices)}
