"""A deterministic player of snapshots: test input whose every joule and token is known, moving in whole steps.

GPUs 0..n-3 are held by the workload `train`, the last but one by `chat`, which serves a model, the last by nobody. Step k is k
times a fixed amount of energy and tokens, so every rate is known however the steps are sampled.
"""

import time
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from energy_agent.core.boundary import Boundary, host
from energy_agent.core.energy import DeviceInfo, DeviceSample, Identity, Method, SourceHealth, State, WorkloadFacts
from energy_agent.core.health import HealthReading, HealthRecord
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import (
    DeviceView,
    DvfsDevice,
    HostView,
    LedgerStats,
    MeterView,
    ProcessCost,
    Snapshot,
    StepCount,
    TokenCount,
    WorkloadEnergy,
)
from energy_agent.core.steering import BudgetStatus, GroupStatus, ShadowOutlook
from energy_agent.core.workloads.error_budget import MissedShare
from energy_agent.core.workloads.serving import BatchUse, Serving, Split
from energy_agent.core.workloads.token_price import EngineHour, RequestTokens
from energy_agent.core.workloads.tokens import Latencies, TokenTotals

STEP_S = 0.1
HOST = host("lab", "node-1")
POWER_W = 600
STEP_UJ = 60_000_000  # POWER_W over STEP_S
CHAT_ACTIVE_UJ, CHAT_IDLE_UJ = 48_000_000, 12_000_000
HEALTH = {
    "ecc": [
        ("ecc_volatile_errors", 4, "corrected"), ("ecc_errors", 1, "uncorrected"),
        ("ecc_volatile_location_errors", 4, "corrected", "dram"), ("ecc_location_errors", 4, "corrected", "dram"),
    ],
    "memory": [("remapped_rows", 1, "uncorrected"), ("row_remap_pending", 1), ("row_remap_failed", 1),
        ("retired_pages", 2, "double_bit"), ("page_retirement_pending", 1)],
    "pcie": [
        ("pcie_replays", 7), ("pcie_errors", 0, "fatal"), ("pcie_b", 123_456_789, "transmit"),
        ("pcie_link_generation", 5), ("pcie_link_max_generation", 5), ("pcie_link_lanes", 8), ("pcie_link_max_lanes", 16),
    ],
    "nvlink": [
        ("nvlink_links", 17, "up"), ("nvlink_links", 1, "down"), ("nvlink_down", 1, "3"), ("nvlink_errors", 2),
        ("nvlink_kind_errors", 2, "replay"), ("nvlink_b", 5 * 2**30, "receive"),
    ],
    "state": [
        ("recovery_action", 1, "drain_and_reset"), ("ecc_enabled", 1), ("ecc_pending_enabled", 1), ("persistence_enabled", 1),
        ("encoder_percent", 5), ("decoder_percent", 0), ("memory_reserved_b", 600 * 2**20),
        ("fan_percent", 40, "0"),
        ("bar1_used_b", 4 * 2**20), ("bar1_total_b", 2**37),
    ],
    "mig": [("mig_enabled", 1), ("mig_pending_enabled", 1), ("mig_device", 1, "MIG-1", "1g.10gb", "1", "0")],
    "gpm": [("activity", 0.625, "tensor"), ("traffic", 1.5 * 2**20, "pcie", "transmit", "gpm")],
}  # fmt: skip
TRAIN_TOKENS, TRAIN_STEPS = 4096, 2  # a step of the player
CHAT_TOKENS = {"generation": 96, "prompt": 48, "cached": 24}  # a step: 0.5 J a generated token, active
TTFT_EDGES, ITL_EDGES = (0.5, 1.0), (0.01, 0.05)  # s; with those that dashboards begin with
GAIN_RATIO = 0.05
SAVED_UJ, EXTRA_UJ = 5_000_000, 100_000  # a step and GPU
EVENTS = ("sw_power_cap", "hw_thermal_slowdown")


def uuid(gpu: int) -> str:
    """UUID of a GPU of the player."""
    return f"GPU-{gpu:08d}-0000-4000-8000-000000000000"


def _engine_hour(step: int, t_ns: int, *, final: bool) -> EngineHour:
    used = CHAT_ACTIVE_UJ * (step + 1), CHAT_IDLE_UJ * (step + 1), RequestTokens(1_000 * (step + 1), 0, 400 * (step + 1))
    shares = Fraction(1, 10), Fraction(1, 20), Fraction(1, 5)
    ended = 10 * (step + 1)  # each with 100 prompt tokens and 40 generated ones
    lengths = Latencies((50.0, 200.0), (0, ended, 0), 100.0 * ended), Latencies((20.0, 50.0), (0, ended, 0), 40.0 * ended)
    return EngineHour("chat", "llama-70b", t_ns - 10**9, t_ns, *used, *shares, 0.05, 10**6, final, ended, *lengths)


def _served(step: int, t_ns: int) -> TokenTotals:
    """What the server of `chat` did: 2 requests and 12 engine steps a step."""
    return TokenTotals(
        t_ns,
        "chat",
        "llama-70b",
        "chat",
        "fp8",
        "chat http://127.0.0.1:8000/metrics",
        {"requests": 2 * step, "steps": 12 * step, "drafts": 40 * step, "accepted": 30 * step, "aborted": step},
        running=9,
        waiting=3,
        ttft=Latencies(TTFT_EDGES, (step, step, 0), 0.6 * step),
        itl=Latencies(ITL_EDGES, (0, 93 * step, step), 2.5 * step),
    )


def _group_status(step: int) -> GroupStatus:
    """Of both limits of `chat` 1 % may miss; one window of one of them is open, and one policy predicts nothing."""
    clear, unclear = MissedShare(1000, 4, 4), MissedShare(1000, 4, 40)
    per_step = MissedShare(100 * step, step, 2 * step)
    return GroupStatus(
        budgets={
            "ttft": BudgetStatus(0.5, 0.99, per_step, {"requests": clear, "hour": clear}),
            "itl": BudgetStatus(0.05, 0.99, per_step, {"requests": unclear, "hour": clear}),
        },
        shadow={
            "slo": ShadowOutlook(ConfidenceInterval(0.12, 0.05, 0.2), "", {"ttft": clear, "itl": unclear}, ""),
            "aimd": ShadowOutlook(None, "nothing is applied", {}, "nothing is applied"),
        },
    )


@dataclass
class Player:
    """Makes the snapshot of a step.

    `lost` are GPUs that do not answer, `shadow` those that are steered in thought alone; `extra` adds small workloads.
    """

    gpus: int = 8
    extra: int = 0
    health: bool = True
    node: bool = False
    lost: set[int] = field(default_factory=set)
    shadow: set[int] = field(default_factory=set)
    started: float = field(default_factory=time.monotonic)

    def now(self) -> Snapshot:
        """The snapshot of this instant."""
        return self.at(100_000 + int((time.monotonic() - self.started) / STEP_S), time.time_ns())

    def at(self, step: int, t_ns: int = 1_700_000_000_000_000_000) -> Snapshot:
        """The snapshot of a step; its boot clock shows UTC."""
        chat = self.gpus - 2
        workloads = [
            *(self._workload_energy("train", gpu, step, STEP_UJ * 9 // 10, STEP_UJ // 10) for gpu in range(chat)),
            self._workload_energy("chat", chat, step, CHAT_ACTIVE_UJ, CHAT_IDLE_UJ),
            *(self._workload_energy(f"extra-{k}", k % self.gpus, step, 7 + k, 3 + k) for k in range(self.extra)),
        ]
        return Snapshot(
            sequence=step,
            t_ns=t_ns,
            boot_ns=t_ns,
            identity=Identity("lab", "node-1", "boot-1", "0.1.0", simulated=True),
            devices=tuple(self._device(gpu, step, t_ns) for gpu in range(self.gpus)),
            workloads=tuple(entry for entries in workloads for entry in entries),
            workload_gpu_ns={
                ("train", State.ACTIVE): step * 90_000_000 * chat,
                ("train", State.IDLE): step * 10_000_000 * chat,
                ("chat", State.ACTIVE): step * 80_000_000,
                ("chat", State.IDLE): step * 20_000_000,
            },
            owner_uj={("serving", "Deployment/chat"): step * STEP_UJ},
            namespace_uj={"research": step * STEP_UJ * chat, "serving": step * STEP_UJ},
            tokens=(
                *(TokenCount("chat", "llama-70b", phase, n * step) for phase, n in CHAT_TOKENS.items()),
                TokenCount("train", "llama-8b", "training", TRAIN_TOKENS * step),
            ),
            served=(_served(step, t_ns),),
            steps=(StepCount("train", "training", TRAIN_STEPS * step), StepCount("train", "evaluation", step)),
            facts=(
                WorkloadFacts(
                    "train",
                    0,
                    "pod",
                    {
                        "namespace": "research",
                        "pod": "train-0",
                        "owner": "Job/train",
                        "team": "science",
                        "model": "llama-8b",
                        "group": "pretrain",
                    },
                ),
                WorkloadFacts(
                    "chat",
                    0,
                    "pod",
                    {
                        "namespace": "serving",
                        "pod": "chat-0",
                        "owner": "Deployment/chat",
                        "model": "llama-70b",
                        "precision": "fp8",
                        "group": "chat",
                    },
                ),
            ),
            serving=(
                Serving(
                    "chat",
                    "llama-70b",
                    {
                        "4-7": BatchUse(step * 30_000_000, 600 * step, 90 * step),
                        "8-15": BatchUse(step * 70_000_000, 900 * step, 300 * step),
                    },
                    True,
                    Split(ConfidenceInterval(0.05, 0.045, 0.055), ConfidenceInterval(0.4, 0.36, 0.44)),
                ),
                Serving("rag", "llama-70b", {}, None, Split(None, None, "too few windows yet")),
            ),
            engine_hours=(_engine_hour(step, t_ns, final=True), _engine_hour(step, t_ns, final=False)),
            health=(
                SourceHealth("nvml", True, last_success_ns=t_ns, poll_s=0.0125),
                SourceHealth("tokens", False, "", "connection refused", t_ns - 60_000_000_000),
            ),
            device_health=tuple(r for gpu in range(self.gpus) if self.health for r in self._health(gpu)),
            ledger=LedgerStats(4096 + step, step, 1, step // 600, t_ns),
            dvfs=tuple(self._dvfs(gpu, step) for gpu in range(chat + 1)),
            config_reload_success_ns=1_699_999_999_500_000_000,
            reader_restarts_total=2,
            **(self._node(step) if self.node else {}),
            processes=(ProcessCost("agent", step * 500_000, 25_000_000), ProcessCost("reader", step * 300_000, 20_000_000)),
        )

    def _workload_energy(self, name: str, gpu: int, step: int, active_uj: int, idle_uj: int) -> list[WorkloadEnergy]:
        return [
            WorkloadEnergy(name, uuid(gpu), State.ACTIVE, Method.COUNTER, step * active_uj),
            WorkloadEnergy(name, uuid(gpu), State.IDLE, Method.COUNTER, step * idle_uj),
        ]

    def _health(self, gpu: int) -> list[HealthRecord]:
        return [
            HealthRecord(uuid(gpu), group, 0, tuple(HealthReading(q, tuple(at), v) for q, v, *at in rows), {})
            for group, rows in HEALTH.items()
        ]

    def _node(self, step: int) -> dict[str, Any]:
        """A node that draws twice its GPUs, by Redfish; the host's half goes to its holders in equal parts."""
        host_uj = step * STEP_UJ * self.gpus
        reasons = dict.fromkeys(("unknown_holder", "gap", "starting"), 0)
        return {
            "boundary": Boundary.NODE,
            "meters": (
                MeterView("rapl", "package-0", step * 1_000_000, 10_000),
                MeterView("redfish", "node", 2 * host_uj, 2 * POWER_W * self.gpus * 1000),
            ),
            "hosts": (HostView(HOST, {Method.INTEGRATED: host_uj}, host_uj // self.gpus, reasons, 5_000_000, 0.03),),
            "host_workloads": (
                WorkloadEnergy("train", HOST, State.ACTIVE, Method.INTEGRATED, host_uj // self.gpus * (self.gpus - 2)),
                WorkloadEnergy("chat", HOST, State.ACTIVE, Method.INTEGRATED, host_uj // self.gpus),
            ),
        }

    def _dvfs(self, gpu: int, step: int) -> DvfsDevice:
        """The training run is steered by `progress`, the server by `slo`; in shadow nothing is set or proven."""
        serves, shadow = gpu == self.gpus - 2, gpu in self.shadow
        policy, name = ("slo", "chat") if serves else ("progress", "train")
        wanted = {"sm_clock_max_hertz": 1_410_000_000, "power_limit_milliwatts": 612_500}
        return DvfsDevice(
            uuid(gpu),
            "shadow" if shadow else "enforce",
            not shadow,
            {} if shadow else wanted,
            {
                (policy, "hold", "at the knee"): step,
                (policy, "set", "chosen"): step // 5,
                (policy, "release", "gap"): step // 50,
            },
            {"clock stayed high": 1 + step // 10},
            None if shadow else step * SAVED_UJ,
            None if shadow else step * EXTRA_UJ,
            ConfidenceInterval(0.12, 0.05, 0.2),
            {"group": name, "workload": name, "policy": policy},
            wanted,
            0.03,
            None if shadow else step * SAVED_UJ,
            None if shadow else ConfidenceInterval(0.1, 0.08, 0.12),
            None if shadow else ConfidenceInterval(0.015, 0.005, 0.025),
            "latency" if serves else "time_per_work",
            status=_group_status(step) if serves else None,
        )

    def _device(self, gpu: int, step: int, t_ns: int) -> DeviceView:
        info = DeviceInfo(
            uuid(gpu), gpu, "NVIDIA H100 80GB HBM3", "hopper", f"00000000:{gpu:02X}:00.0", "570.00",
            200_000, 700_000, 700_000, 1980,
        )  # fmt: skip
        sample = DeviceSample(
            uuid(gpu), t_ns, t_ns, step * 60_000, POWER_W * 1000, POWER_W * 1000 - 500, 700_000, 700_000, 1755, 2619, 61, 70,
            97, 55, 60_000_000_000, 85_899_345_920, 0x4, xid_counts={13: 1},
        )  # fmt: skip
        view = DeviceView(
            info=info,
            up=True,
            reason="",
            sample=sample,
            energy_uj={Method.COUNTER: step * STEP_UJ},
            unallocated_uj=step * STEP_UJ if gpu == self.gpus - 1 else 0,
            unattributed_uj={"gap": 1_234_567},
            gain_uncertainty_ratio=GAIN_RATIO,
            edge_uj=70_000_000,
            event_ns=dict.fromkeys(EVENTS, step * 20_000_000),
            gap_bound_uj=5_000_001,
            sharing="" if gpu == self.gpus - 1 else "exclusive",
        )
        return replace(view, up=False, reason="GPU_IS_LOST", sample=None) if gpu in self.lost else view
