"""Twenty-five minutes of a node, as they are on every machine: the agent's own loop on readings that arithmetic gives.

Every device, owner, process, counter and step of the clock follows from the number of the reading, so the pages and the ledger
depend on the product alone. What happens to whom:

- GPU-a: its counter wraps at 2^32 mJ. GPU-b: two processes share it. GPU-c: two MIG instances, of which one is free at times.
- GPU-d: power readings alone. GPU-e: no sensor. GPU-f: its counter starts again, stands still, and is missing for a while.
- The agent ends in mid-hour and comes back after 25 s, once by a restart and once with a new load of the driver.
- UTC is set back by ten minutes, and an hour ends. Processes end, and others start.
- RAPL's counter wraps. A server counts tokens, falls silent and starts again; its page has two models.
"""

import contextlib
import gzip
import hashlib
import json
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource

from energy_agent.accounting.accountant import Accountant
from energy_agent.accounting.device import SensorFor
from energy_agent.accounting.node import NodeAccount, NodePlan
from energy_agent.config.agent import Config
from energy_agent.core.energy import Action, DeviceInfo, DeviceSample, Identity, MigUse, ProcessUse, SourceHealth, Tokens
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.core.proof import SteeringRows
from energy_agent.core.selection import ALL
from energy_agent.core.snapshot import DvfsDevice, Snapshot
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.tokens import TokenDelta, TokenTotals
from energy_agent.exposition.openmetrics import Format, families, render
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.segments import segment
from energy_agent.ledger.segments.segment import Signer
from energy_agent.ledger.signing import load_signer
from energy_agent.node.loop import Agent
from energy_agent.otlp.points import metrics
from energy_agent.owners.processes import ProcessOwners
from energy_agent.reader.child import Unkillable
from energy_agent.reader.supervisor import DeviceHealth, NodeHealth
from energy_agent.tokens.account import EndpointAccount, rows, zeros
from energy_agent.tokens.counter_state import encode
from energy_agent.tokens.response_parser import read
from energy_agent.tokens.servers.vllm import SPEC

T0_NS = 1_775_000_400 * NS_PER_S  # 2026-03-31T23:40:00Z
BOOT_NS = 10**12
SECONDS = 1_500
RESTARTS = (450, 900)
AWAY_S = 25
IDENTITY = Identity("lab", "node-1", "boot-1", "0.1.0", simulated=False)
WRAP_MJ = 2**32
RAPL_WRAP_UJ = 2**32
SERVER = "chat.service http://127.0.0.1:8000/metrics"
CGROUPS = {
    11: "/system.slice/train.service",
    12: "/kubepods.slice/kubepods-pod1a2b3c4d_0000_4000_8000_000000000001.slice/cri-containerd-" + 64 * "a" + ".scope",
    13: "/system.slice/slurmstepd.scope/job_77/step_0/task_0",
    14: "/system.slice/chat.service",
    15: "/user.slice/user-1000.slice/session-3.scope",
}


def power_mw(gpu: int, second: int) -> int:
    """Power in mW, between 60 and 700 W, with a burst every 40 s."""
    return 60_000 + (second * 7_919 + gpu * 104_729) % 240_000 + (400_000 if (second + 7 * gpu) % 40 < 15 else 0)


COUNTED_MJ = [list(accumulate((power_mw(gpu, s) for s in range(SECONDS)), initial=0)) for gpu in range(6)]
"""What each GPU drew since the first second, by second."""


@dataclass
class Clock:
    """A clock that goes on by readings alone."""

    utc: int = T0_NS
    boot: int = BOOT_NS

    def utc_ns(self) -> int:
        """UTC now."""
        return self.utc

    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME now."""
        return self.boot

    def boot_id(self) -> str:
        """The boot."""
        return IDENTITY.boot_id

    def sleep(self, seconds: float) -> None:
        """Go on."""
        self.utc += round(seconds * NS_PER_S)
        self.boot += round(seconds * NS_PER_S)

    def real_seconds(self, seconds: float) -> float:
        """No wait takes time."""
        return 0.0


def info(gpu: int, epoch: str) -> DeviceInfo:
    """GPU `gpu` under a load of the driver."""
    name, architecture = ("NVIDIA H100 80GB HBM3", "Hopper") if gpu != 3 else ("Tesla P100", "Pascal")
    return DeviceInfo(
        f"GPU-{'abcdef'[gpu]}", gpu, name, architecture, f"00000000:{gpu:02x}:00.0", "580.95.05", 200_000, 700_000, 700_000,
        1980, gpu == 2, epoch,
    )  # fmt: skip


def processes(gpu: int, second: int) -> tuple[ProcessUse, ...]:
    """Who is on GPU `gpu`: `train` on a, a pod and a job on b, two instances on c, `chat` on d and f, a user on e."""
    busy_us = 1_000 * (second * 37 % 700)
    if gpu == 0:
        return (ProcessUse(11, 2**33),) if second < 1_200 else ()
    if gpu == 1:
        return (ProcessUse(12, 2**30, busy_us), *([ProcessUse(13, 2**31, 700_000 - busy_us)] if 100 < second < 1_100 else []))
    if gpu == 2:
        return (ProcessUse(12, 2**30, mig="MIG-1"), *([ProcessUse(13, 2**30, mig="MIG-2")] if second // 200 % 2 else []))
    return (ProcessUse(15 if gpu == 4 else 14, 2**34),)


def mig(second: int) -> tuple[MigUse, ...]:
    """The instances of GPU-c; activity is measured every 10 s."""
    measured = second % 10 == 0
    return (
        MigUse("MIG-1", 3, 7, 60, 500_000 + second * 311 % 400_000 if measured else None),
        MigUse("MIG-2", 4, 7, 72, second * 577 % 900_000 if measured else None),
    )


def energy_mj(gpu: int, second: int, epoch: str) -> int | None:
    """What the counter of GPU `gpu` shows; it starts again with each load of the driver."""
    since = 0 if epoch == "1" else RESTARTS[1]
    counted = COUNTED_MJ[gpu][second] - COUNTED_MJ[gpu][since]
    if gpu in (3, 4):
        return None
    if gpu == 0:
        return (counted + WRAP_MJ - COUNTED_MJ[0][200]) % WRAP_MJ if epoch == "1" else counted
    if gpu == 5 and 300 <= second < 700:
        return COUNTED_MJ[5][min(second, 400)] - COUNTED_MJ[5][300]  # it starts again, and stands still from 400 on
    return counted + 10**9


@dataclass
class Reader:
    """What the agent knows of a reader, without one: a poll takes a second."""

    clock: Clock
    seconds: range
    epoch: str
    on_second: Callable[[int], None]
    wake: tuple[int, ...] = ()
    reader_pid: int | None = None
    unkillable: Unkillable = field(default_factory=Unkillable)
    node: NodeHealth = field(default_factory=lambda: NodeHealth(up=True, reason="", driver="580.95.05", poll_s=0.01))

    def __post_init__(self) -> None:
        self.infos = {each.uuid: each for each in (info(gpu, self.epoch) for gpu in range(6))}
        self.devices = {uuid: DeviceHealth(up=True, reason="") for uuid in self.infos}
        self._next = iter(self.seconds)

    def poll(self, timeout_s: float) -> list[tuple[DeviceSample, ...]]:
        """The next sweep."""
        second = next(self._next)
        self.clock.sleep(1.0)
        self.on_second(second)
        samples = []
        for gpu, uuid in enumerate(self.infos):
            is_lost = gpu == 5 and 800 <= second < 845
            self.devices[uuid].up, self.devices[uuid].reason = not is_lost, "the GPU is lost" if is_lost else ""
            if is_lost:
                continue
            self.devices[uuid].record_success(self.clock.utc)
            draws, absent = power_mw(gpu, second), {}
            if gpu == 4:
                absent = {"energy_mj": "not supported", "power_mw": "not supported"}
            samples.append(
                DeviceSample(
                    uuid, self.clock.utc, self.clock.boot, energy_mj(gpu, second, self.epoch), None if gpu == 4 else draws,
                    None if gpu in (3, 4) else draws, 700_000, 700_000, 1_200 + second % 700, 2_619, 40 + second % 40, 60,
                    0 if second // 50 % 4 == gpu else second * 13 % 101, second % 50, 2**34 + second, 80 * 2**30,
                    0x4 if draws > 500_000 else 0x1, xid_counts={63: 1} if gpu == 1 and second == 77 else {},
                    processes=processes(gpu, second), mig=mig(second) if gpu == 2 else None, absent=absent,
                )
            )  # fmt: skip
        return [tuple(samples)]

    def health(self, boot_ns: int) -> tuple[()]:
        """No records."""
        return ()

    def list_processes(self) -> None:
        """They are listed with each sweep."""

    def stop(self) -> None:
        """Nothing runs."""


@dataclass
class Server:
    """The metrics page of `chat`, read once per second, with two models from second 1,000 on."""

    clock: Clock
    second: int = 0
    answer_s: float = 0.0
    totals: tuple[TokenTotals, ...] = ()

    def __post_init__(self) -> None:
        self.account = EndpointAccount("chat.service", SERVER, live=True, precision="fp8")
        self.rows: list[Tokens] = []
        self.read: list[TokenDelta] = []
        self.state = ""

    def page(self) -> str | None:
        """Its text; None while it is silent. It starts again at 500."""
        if 480 <= self.second < 500:
            return None
        since = self.second if self.second < 480 else self.second - 500
        lines = []
        for model, factor in (("llama", 1), ("qwen", 3))[: 1 if self.second < 1_000 else 2]:
            done = since * factor
            of = f'{{model_name="{model}",engine="0"}}'
            lines += [
                f"vllm:prompt_tokens_total{of} {done * 400}", f"vllm:generation_tokens_total{of} {done * 900 + done // 7}",
                f'vllm:prompt_tokens_by_source_total{{model_name="{model}",engine="0",source="local_compute"}} {done * 300}',
                f'vllm:request_success_total{{model_name="{model}",engine="0",finished_reason="stop"}} {done // 3}',
                f"vllm:num_requests_running{of} {since % 9}", f"vllm:num_requests_waiting{of} {since % 3}",
                f"vllm:iteration_tokens_total_count{of} {done * 30}",
            ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def look(self) -> None:
        """Read it, as a poll does."""
        text = self.page()
        before = {t.model: t.counts for t in self.totals}
        if text is not None:
            standing, deltas = self.account.advance(read(SPEC, text, self.clock.utc, ""), self.clock.utc, 1.0)
            self.account.accept(standing)
            self.state = encode(standing)
            self.read += deltas
            self.rows += [row for delta in deltas for row in rows(delta)]
        self.totals = self.account.totals(up=text is not None)
        self.rows += [row for totals in self.totals for row in zeros(totals, before.get(totals.model, {}), self.clock.utc)]

    def drain(self) -> tuple[list[Tokens], dict[str, str], tuple[TokenTotals, ...]]:
        """Rows and state since the last call."""
        self.look()
        counted, self.rows = self.rows, []
        return counted, {SERVER: self.state}, self.totals

    def discover(self, sources: object) -> None:
        """Nothing else is polled."""

    def deltas(self) -> list[TokenDelta]:
        """What it did since the last call."""
        deltas, self.read = self.read, []
        return deltas

    def served(self) -> set[tuple[str, str, str]]:
        """Its models."""
        return {(t.workload, t.model, t.source) for t in self.totals}

    def groups(self) -> dict[str, str]:
        """It is in no group."""
        return {t.workload: t.group for t in self.totals}

    def health(self, workloads: object = None) -> tuple[SourceHealth, ...]:
        """Whether it answers."""
        up = self.page() is not None
        return (SourceHealth("tokens:chat.service", up, "", "" if up else "connection refused"),)

    def stop(self) -> None:
        """Nothing runs."""


@dataclass
class Meters:
    """RAPL of two packages, read every 10 s."""

    clock: Clock
    second: int = 0

    def drain(self) -> list[tuple[str, tuple[MeterReading, ...]]]:
        """Readings since the last call."""
        if self.second % 10:
            return []
        at = self.clock.utc, self.clock.boot
        uj = [(2**32 - 10**9 + 90_000_000 * self.second) % RAPL_WRAP_UJ, 60_000_000 * self.second % RAPL_WRAP_UJ]
        return [
            (
                "rapl",
                tuple(
                    MeterReading(f"package-{k}", Scope.PACKAGE, *at, each, max_mw=300_000, wrap_uj=RAPL_WRAP_UJ)
                    for k, each in enumerate(uj)
                ),
            )
        ]

    def health(self, disbelieved: object) -> tuple[SourceHealth, ...]:
        """It answers."""
        return (SourceHealth("rapl", up=True),)

    def stop(self) -> None:
        """Nothing runs."""


class Steering:
    """A governor that sets a limit at second 120, is refused at 240, and restores at 360."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, snapshot: Snapshot) -> tuple[SteeringRows, tuple[DvfsDevice, ...]]:
        """What it did since the last snapshot."""
        self.count += 1
        did = {
            120: ("set", '{"power_limit_mw":500000}', "ok"),
            240: ("refuse", '{"sm_clock_mhz":[210,900]}', "below the user's limit"),
            360: ("restore", '{"power_limit_mw":700000}', "ok"),
        }.get(self.count)
        if did is None:
            return SteeringRows(), ()
        action, setting, outcome = did
        row = Action(snapshot.t_ns, "GPU-a", "budget", action, setting, outcome, "train.service")
        return SteeringRows([row], states={"governor": f'{{"count":{self.count}}}'}), ()

    def health(self) -> tuple[SourceHealth, ...]:
        """It has no sources."""
        return ()

    def describe_steering(self, workload: str) -> dict[str, object]:
        """It steers nobody."""
        return {}

    def describe_groups(self) -> list[dict[str, object]]:
        """It has no groups."""
        return []

    def request_setting(self, workload: str, body: object, place: str = "") -> None:
        """Nobody asks."""

    def stop(self) -> SteeringRows:
        """Nothing is set."""
        return SteeringRows()


def write_processes(folder: Path) -> None:
    """/proc of the node's processes."""
    for pid, cgroup in CGROUPS.items():
        (folder / str(pid)).mkdir(parents=True)
        (folder / f"{pid}/stat").write_text(f"{pid} (x) S " + "0 " * 18 + "5 0 0")
        (folder / f"{pid}/cgroup").write_text(f"0::{cgroup}\n")
        (folder / f"{pid}/status").write_text(f"Name:\tx\nUid:\t{1000 if pid == 15 else 0}\t0\t0\t0\nNSpid:\t{pid}\n")


def run(folder: Path, signer: Signer | None, publish: Callable[[int, Snapshot], None]) -> None:
    """Run it with the agent's state in `folder`; `publish` gets each snapshot with the number of its second."""
    write_processes(folder / "proc")
    clock = Clock()
    server, meters = Server(clock), Meters(clock)
    last = -1

    def at(second: int) -> None:
        nonlocal last
        last = server.second = meters.second = second
        if second == 700:
            clock.utc -= 600 * NS_PER_S

    for n, (first, end) in enumerate(zip((0, *RESTARTS), (*RESTARTS, SECONDS), strict=True)):
        if n:
            clock.sleep(AWAY_S)
        run_once(folder, clock, range(first, end), ("1", "1", "2")[n], signer, server, meters, at, lambda s: publish(last, s))


def run_once(
    folder: Path,
    clock: Clock,
    seconds: range,
    epoch: str,
    signer: Signer | None,
    server: Server,
    meters: Meters,
    at: Callable[[int], None],
    publish: Callable[[Snapshot], None],
) -> None:
    """One process of the agent, from its start to its end."""
    journal = Journal.open(folder / "journal.db", IDENTITY, utc_ns=clock.utc_ns, signer=signer)
    plan = NodePlan(None, {"rapl": (25 * NS_PER_S, 0.02)}, 0.05)
    sensors = SensorFor(2_500_000_000)
    accountant = Accountant(IDENTITY, ProcessOwners(folder / "proc"), sensors, {}, 0.05, NodeAccount(IDENTITY, plan))
    unreadable = accountant.restore(journal.states(), journal.totals(), journal.facts(), clock.utc_ns())
    assert unreadable == []

    def on_second(second: int) -> None:
        at(second)
        if second == seconds[-1]:
            agent.stop()

    reader = Reader(clock, seconds, epoch, on_second)
    agent = Agent(Config(), IDENTITY, clock, journal, reader, accountant, server, folder, steer=Steering(), meters=meters)
    agent.on_publish = publish
    agent.run()


def signer_of(folder: Path) -> Signer:
    """Signs with the key of 32 zero bytes."""
    path = folder / "signing.key"
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return load_signer(path)[0]


def results(folder: Path) -> dict[str, str]:
    """Run it, and return by file name what depends on the product alone: the texts that RECORDED has.

    Pages and exports are kept as digests, of 50 seconds each, but for the last page. What the agent itself costs is left out.
    """
    digests: dict[str, dict[str, str]] = defaultdict(dict)
    running: dict[tuple[str, int], hashlib._Hash] = defaultdict(hashlib.sha256)
    last = b""

    def publish(second: int, snapshot: Snapshot) -> None:
        nonlocal last
        snapshot = replace(snapshot, processes=())
        for fmt in Format:
            running[fmt.name.lower(), second // 50 * 50].update(render(snapshot, fmt))
        last = render(snapshot, Format.TEXT)
        data = metrics(families(replace(snapshot, selection=ALL)), snapshot.t_ns, Resource({}), "0")
        running["otlp", second // 50 * 50].update(encode_metrics(data).SerializeToString(deterministic=True))

    signer = signer_of(folder)
    run(folder, signer, publish)
    for (kind, second), digest in running.items():
        digests[kind][f"from second {second}"] = digest.hexdigest()
    files = segment.list_files(folder / "segments")
    digests["segments"] = {file.name: hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() for file in files}
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as journal:
        for table in ("meta", "log", "checkpoint"):  # that of segments has compressed bytes, which depend on zlib
            content = journal.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            digests["journal"][table] = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return {
        "digests.json": json.dumps(digests, indent=1) + "\n",
        "metrics.txt": last.decode(),
        "segments.jsonl": "".join(gzip.decompress(file.read_bytes()).decode() for file in files),
    }


RECORDED = Path(__file__).parent / "recorded"

if __name__ == "__main__":  # python -m tests.golden.node_run: record them again
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in results(Path(scratch)).items():
            (RECORDED / name).write_text(text)
            sys.stdout.write(f"{RECORDED / name}: {len(text)} characters\n")
