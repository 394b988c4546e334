"""Requests of programs on the node: one function per path, JSON in and out."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from energy_agent.accounting.training_intake import Latest, TrainingReports
from energy_agent.core.boundary import NO_SENSOR
from energy_agent.core.energy import State
from energy_agent.core.errors import UsageError
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.core.workloads.request_quantiles import MEDIAN, P95, request_quantile
from energy_agent.core.workloads.token_price import KINDS, EngineHour
from energy_agent.core.workloads.training_report import TRAINING, ReportError, parse
from energy_agent.local_api.history import EnergyHistory
from energy_agent.local_api.peers import ClientProcess
from energy_agent.web.http1 import ServerResponse

BODY_MAX_B = 16 * 1024
_WINDOW = re.compile(r"/v1/window/(\d{1,19})/(\d{1,19})")
_WORKLOAD = re.compile(r"/v1/workload/([^/?#]{1,1000})")
_GROUPS = "/v1/dvfs/groups"
_ENGINES = "/v1/engines"
_PATHS = {"/v1/me": ("GET",), _ENGINES: ("GET",), "/v1/training": ("POST",), "/v1/dvfs": ("GET", "POST"), _GROUPS: ("GET",)}


class Steerable(Protocol):
    """The governor, as a workload may speak with it."""

    def describe_steering(self, workload: str) -> dict[str, object]:
        """How the workload's devices are steered, and what is expected of it."""
        ...

    def describe_groups(self) -> list[dict[str, object]]:
        """Status of all groups of the node."""
        ...

    def request_setting(self, workload: str, body: object, place: str = "") -> None:
        """Take what a workload asks for its own devices; raises UsageError with the reason for which it is not taken.

        `place` names who shares its places on the socket.
        """
        ...


class Routes:
    """Answers requests of a known process from the agent's history and its counts of training.

    `steering` is called for each request, since a reload may replace the steering.
    """

    def __init__(
        self,
        history: EnergyHistory,
        training: TrainingReports | None = None,
        steering: Callable[[], Steerable | None] = lambda: None,
    ) -> None:
        self._history, self._training, self._steering = history, training, steering

    def answer(self, peer: ClientProcess, method: str, path: str, body: bytes = b"") -> ServerResponse:
        """The response to a request."""
        match, about = _WINDOW.fullmatch(path), _WORKLOAD.fullmatch(path)
        wanted = ("GET",) if match or about else _PATHS.get(path)
        if wanted is None:
            endpoints = (
                "GET /v1/window/START/END (UTC ns), /v1/me, /v1/engines, /v1/workload/NAME and /v1/dvfs/groups, "
                "POST /v1/training, GET and POST /v1/dvfs"
            )
            return reply(404, {"reason": f"not found; available: {endpoints}"})
        if method not in wanted:
            return reply(405, {"reason": " or ".join(wanted)})
        if match:
            workload = None if peer.everything else self._workload(peer)
            window = self._history.window(int(match[1]), int(match[2]), workload)
            return reply(503 if window.get("later") else 200, window)
        if about:
            return self._of(peer, unquote(about[1]))
        if path == _ENGINES:
            return reply(200, self._engines())
        if path in ("/v1/dvfs", _GROUPS):
            return self._dvfs(peer, method, body, all_groups=path == _GROUPS)
        return reply(200, self.me(peer)) if path == "/v1/me" else self._report(peer, body)

    def _engines(self) -> dict[str, object]:
        """Prices of tokens, which every program of the node may read, as it may read the engine's own metrics."""
        snapshot = self._history.snapshot
        if snapshot is None:
            return {"reason": "no snapshot has been taken yet"}
        return {"boundary": "gpu", "t_ns": snapshot.t_ns, "hours": [_hour(hour) for hour in snapshot.engine_hours]}

    def _dvfs(self, peer: ClientProcess, method: str, body: bytes, *, all_groups: bool) -> ServerResponse:
        steering, workload = self._steering(), self._workload(peer)
        if steering is None:
            return reply(
                404, {"reason": "this agent does not steer: its configuration has neither dvfs.groups nor auto_groups"}
            )
        if all_groups and not peer.everything:
            return reply(403, {"reason": "only root on the host and the agent's user may read all groups"})
        if all_groups:
            return reply(200, {"groups": steering.describe_groups()})
        if method == "GET":
            return reply(200, steering.describe_steering(workload))
        try:
            steering.request_setting(workload, json.loads(body), peer.place)
        except UsageError as error:
            return reply(400, {"reason": str(error)})
        except (ValueError, RecursionError):
            return reply(400, {"reason": "the body is not JSON"})
        return reply(202, steering.describe_steering(workload))

    def _report(self, peer: ClientProcess, body: bytes) -> ServerResponse:
        if self._training is None:
            return reply(404, {"reason": "this agent does not accept training reports"})
        workload = self._workload(peer)
        try:
            self._training.report(peer.identity, workload, parse(json.loads(body)), peer.place)
        except (ValueError, RecursionError):
            return reply(400, {"reason": "the body is not JSON"})
        except ReportError as error:
            return reply(400, {"reason": str(error)})
        return reply(202, self.me(peer))

    def _workload(self, peer: ClientProcess) -> str:
        """The workload as the ledger has it: a pod that its scheduler names is known to its cgroup by uid alone."""
        snapshot, uid = self._history.snapshot, peer.facts.labels.get("pod_uid")
        if snapshot is not None and uid:
            named = {f.workload for f in snapshot.facts if f.labels.get("pod_uid") == uid}
            if len(named) == 1:
                return named.pop()
        return peer.owner.workload

    def me(self, peer: ClientProcess) -> dict[str, object]:
        """What the agent thinks the process is, and what its workload has used since it was first seen on this node."""
        workload = self._workload(peer)
        response: dict[str, object] = {"workload": workload, "kind": peer.facts.kind, "pid": peer.identity[0]}
        return response | self._about(workload) | {"everything": peer.everything}

    def _of(self, peer: ClientProcess, workload: str) -> ServerResponse:
        """Any workload, for whom it is no secret."""
        if not peer.everything:
            return reply(403, {"reason": "only root on the host and the agent's user may read other workloads"})
        return reply(200, {"workload": workload} | self._about(workload))

    def _about(self, workload: str) -> dict[str, object]:
        snapshot, training = self._history.snapshot, self._training
        if snapshot is None:
            return {"reason": "no snapshot has been taken yet"}
        identity = snapshot.identity
        response: dict[str, object] = {"node": identity.node, "simulated": identity.simulated, "t_ns": snapshot.t_ns}
        response |= _energy(snapshot, workload)
        ranks = training.ranks(workload) if training is not None else []
        if training is not None and ranks:
            response["ranks"] = [_rank(each, snapshot.t_ns, training.ended_ns(each)) for each in ranks]
        return response


def _energy(snapshot: Snapshot, workload: str) -> dict[str, object]:
    owned_uuids = [uuid for uuid, names in snapshot.owners.items() if workload in names]
    rows = [entry for entry in snapshot.workloads if entry.workload == workload]
    if not rows and not owned_uuids:
        return {"devices": [], "reason": f"the agent has not seen {workload} on a GPU of this node"}
    views = {view.info.uuid: view for view in snapshot.devices}
    devices = []
    for uuid in sorted(views, key=lambda u: views[u].info.index):
        device_rows = [entry for entry in rows if entry.device == uuid]
        if not device_rows and uuid not in owned_uuids:
            continue
        sample = views[uuid].sample
        power = sample.power_mw if sample is not None and uuid in owned_uuids else None
        device: dict[str, object] = {"uuid": uuid, "gpu": views[uuid].info.index, "held": uuid in owned_uuids}
        device |= {"joules": sum(entry.energy_uj for entry in device_rows) / UJ_PER_J} if device_rows else {}
        device["shared"] = len(snapshot.owners.get(uuid, ())) > 1
        device |= _limits(views[uuid]) if uuid in owned_uuids else {}
        devices.append(device | ({"power_w": power / 1000} if power is not None else {}))
    if reason := next((reason for uuid in owned_uuids if uuid in views and (reason := _unknown(views[uuid]))), ""):
        return {"devices": devices, "reason": reason}
    total = sum(entry.energy_uj for entry in rows)
    active = sum(entry.energy_uj for entry in rows if entry.state is State.ACTIVE)
    gain = max((views[entry.device].gain_uncertainty_ratio for entry in rows if entry.device in views), default=0.0)
    edge = 2 * sum(views[uuid].edge_uj or 0 for uuid in {entry.device for entry in rows} if uuid in views)
    low, high = max(0, total - edge) / (1 + gain) / UJ_PER_J, (total + edge) / (1 - gain) / UJ_PER_J
    tokens = sum(t.tokens for t in snapshot.tokens if t.workload == workload and t.phase == TRAINING)
    steps = {s.phase: s.steps for s in snapshot.steps if s.workload == workload}
    response: dict[str, object] = {
        "devices": devices, "joules": total / UJ_PER_J, "active_joules": active / UJ_PER_J,
        "lower": low, "upper": high, "edge_joules": edge / UJ_PER_J, "gain_uncertainty_ratio": gain,
        "tokens": tokens, "steps": steps,
    }  # fmt: skip
    for name, count in (("joules_per_token", tokens), ("joules_per_step", steps.get(TRAINING, 0))):
        if count:
            response[name] = total / UJ_PER_J / count
    return response


def _unknown(view: DeviceView) -> str:
    """Why the energy of a device that a workload holds is not known; "" if it is."""
    if not view.up:
        return f"GPU {view.info.index}: {view.reason}"
    if not view.metered:
        return f"GPU {view.info.index}: {NO_SENSOR}"
    return "" if view.edge_uj is not None else f"GPU {view.info.index}: no interval was recorded since the agent started"


def _hour(hour: EngineHour) -> dict[str, object]:
    """An hour of an engine; its price of a cached token is 0."""
    response: dict[str, object] = {
        "engine": hour.engine, "model": hour.model, "start_ns": hour.start_ns, "end_ns": hour.end_ns, "final": hour.final,
        "active_joules": hour.active_uj / UJ_PER_J, "idle_joules": hour.idle_uj / UJ_PER_J,
        "tokens": {"prompt": hour.usage.computed, "cached": hour.usage.cached, "generation": hour.usage.generated},
    }  # fmt: skip
    prices: dict[str, object] = {}
    for kind in KINDS:
        price = hour.price(kind)
        prices[kind] = None if price is None else _bounded(price)
    figures: dict[str, tuple[float, float, float] | str | None] = {
        "mean": hour.mean(), "median": request_quantile(hour, MEDIAN), "p95": request_quantile(hour, P95),
    }  # fmt: skip
    energies = {name: of if of is None or isinstance(of, str) else _bounded(of) for name, of in figures.items()}
    reason = next((of for of in energies.values() if isinstance(of, str)), "")
    return response | {
        "prices": prices,
        "requests": hour.requests,
        "per_request": {name: None if isinstance(of, str) else of for name, of in energies.items()} | {"reason": reason},
    }


def _bounded(figure: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("joules", "lower", "upper"), figure, strict=True))


def _limits(view: DeviceView) -> dict[str, object]:
    """The power limit of a device and its permitted range, in W, without the values that the GPU does not report."""
    now_mw = None if view.sample is None else view.sample.power_limit_mw
    low_mw, high_mw = view.info.power_limit_min_mw, view.info.power_limit_max_mw
    limits: dict[str, object] = {} if now_mw is None else {"power_limit_w": now_mw / 1000}
    return limits if low_mw is None or high_mw is None else limits | {"power_limit_range_w": [low_mw / 1000, high_mw / 1000]}


def _rank(latest: Latest, now_ns: int, ended_ns: int | None) -> dict[str, Any]:
    report = latest.report
    response: dict[str, Any] = {
        "rank": report.rank, "world": report.world, "group": report.group, "model": report.model,
        "precision": report.precision, "steps": dict(report.steps), "tokens": report.tokens,
        "waits": dict(report.waits), "doing": report.doing, "age_s": max(0, now_ns - latest.at_ns) / NS_PER_S,
    }  # fmt: skip
    response |= {"step_ended_ns": ended_ns} if ended_ns is not None else {}
    return response | ({"loss": report.loss} if report.loss is not None else {})


def reply(status: int, body: Mapping[str, object]) -> ServerResponse:
    """A response of JSON."""
    return ServerResponse(status, "application/json", json.dumps(body).encode() + b"\n")
