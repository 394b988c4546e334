"""Nothing that one owner's workloads report, request or say in annotations reaches the GPUs, progress or figures of another."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.governor.loop import Governor
from dvfs.types import Setting
from energy_agent.accounting.training_intake import TrainingReports
from energy_agent.config.dvfs import Dvfs
from energy_agent.core.energy import DeviceInfo, DeviceSample, Identity, Method, WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.core.units import NS_PER_S
from energy_agent.core.workloads.job_identity import job_identity, owner_of, run_of
from energy_agent.core.workloads.training_report import ReportError, parse
from energy_agent.owners.lone_processes import MANY_USERS
from energy_agent.tokens.poller import TokenPoller
from tests.doubles.actuator_socket import ActuatorDouble
from tests.support import examples
from wattlens.steering.build import configured
from wattlens.steering.groups import SteeringGroup
from wattlens.steering.loop import describe_steering
from wattlens.steering.observer import Observer
from wattlens.steering.requests import SteeringRequests

GPUS = 4
GROUPS = ("10.1.2.3:29500", "slurm-7", "a0", "ml/JobSet/train")
RUN = "0123456789abcdef"


@dataclass
class Clock:
    now_s: float = 1000.0

    def boot_ns(self) -> int:
        return round(self.now_s * NS_PER_S)

    utc_ns = boot_ns

    def boot_id(self) -> str:
        return "boot"

    def real_seconds(self, seconds: float) -> float:
        return seconds


@dataclass(frozen=True)
class Report:
    group: str
    rank: int
    world: int
    steps: int


@dataclass(frozen=True)
class Acts:
    """What a workload does: a report of its training, a request, an annotation."""

    report: Report | None = None
    request: Mapping[str, object] | None = None
    annotation: str = ""


@dataclass(frozen=True)
class Workload:
    facts: WorkloadFacts
    gpus: frozenset[int]
    acts: Acts = Acts()

    @property
    def name(self) -> str:
        return self.facts.workload


@dataclass
class Outcome:
    """What came of some rounds, by device and by workload."""

    views: dict[str, object] = field(default_factory=dict)
    statuses: dict[str, dict[str, object]] = field(default_factory=dict)
    groups: tuple[SteeringGroup, ...] = ()


def identity(kind: str, owner: int, number: int, name: str = "") -> WorkloadFacts:
    """The facts of a workload of owner `owner`, as the kernel or the scheduler gives them."""
    match kind:
        case "pod":
            labels = {"namespace": "ml" if owner else "prod", "owner": "JobSet/train", "pod": f"p{number}"}
            return WorkloadFacts(f"{labels['namespace']}/p{number}", 0, "pod", labels)
        case "process":
            uid = str(1000 + owner)
            return WorkloadFacts(f"process-python-{owner}{number}-9", 0, "process", {"uid": uid, "pid": f"{owner}{number}"})
        case "slurm":
            return WorkloadFacts(f"slurm-{10 * owner + number}", 0, "slurm", {"job": str(10 * owner + number)})
        case "unit":  # its user chose the name
            return WorkloadFacts(f"{name or f'u{number}'}@{1000 + owner}", 0, "unit", {"uid": str(1000 + owner)})
        case _:
            return WorkloadFacts(f"container-{owner}{number}", 0, "container", {"container_id": f"{owner}{number}"})


def play(workloads: Sequence[Workload], policy: str, mode: str = "enforce", **more: object) -> Outcome:
    """Some seconds of steering; each GPU works at its clock and draws by it."""
    config = Dvfs.model_validate({"mode": mode, "auto_groups": True, "policy": policy} | more)
    clock = Clock()
    asks = SteeringRequests(clock)  # type: ignore[arg-type]
    training = TrainingReports(clock, lambda _: True)  # type: ignore[arg-type]
    observer = Observer(config, clock, asks, TokenPoller(clock), training)  # type: ignore[arg-type]
    actuator = ActuatorDouble()
    governor = Governor(configured(config), actuator, clock)  # type: ignore[arg-type]
    outcome = Outcome()
    for second in range(6):
        clock.now_s += 1
        for pid, workload in enumerate(workloads):
            act(workload, pid, second, training, asks)
        snapshot = snapshot_of(workloads, clock, actuator.settings)
        governor.step(observer.observe(snapshot))
        outcome.groups = observer.groups
        users = snapshot.owners
        for view in governor.views():
            outcome.views[view.device] = (view, [g.exempt for g in observer.groups if view.device in uuids(g)])
        for workload in workloads:
            name = workload.name
            outcome.statuses[name] = describe_steering(name, governor.views(), users, observer.groups, asks.of(name))
    assert not observer.failures
    assert not governor.failures
    return outcome


def act(workload: Workload, pid: int, second: int, training: TrainingReports, asks: SteeringRequests) -> None:
    acts = workload.acts
    if acts.report is not None:
        body = {"run": RUN, "age_s": second + 1.0, "steps": {"training": acts.report.steps * (second + 1)}, "step_age_s": 0.1}
        body |= {"rank": acts.report.rank, "world": acts.report.world, "group": acts.report.group}
        with suppress(ReportError):
            training.report((pid, 1), workload.name, parse(body), workload.facts.labels.get("uid", workload.name))
    if acts.request is not None:
        asks.take(workload.name, {"ttl_s": 5, **acts.request}, workload.facts.labels.get("uid", workload.name))


def snapshot_of(workloads: Sequence[Workload], clock: Clock, settings: Mapping[str, Setting]) -> Snapshot:
    views = []
    for gpu in range(GPUS):
        info = DeviceInfo(f"GPU-{gpu}", gpu, "NVIDIA H100 80GB HBM3", "Hopper", "", "", 200_000, 700_000, 700_000, 1980)
        setting = settings.get(info.uuid, Setting())
        sample = DeviceSample(
            info.uuid, clock.utc_ns(), clock.boot_ns(), power_mw=500_000, power_limit_mw=setting.power_limit_mw or 700_000,
            sm_clock_mhz=setting.sm_clock_max_mhz or 1980, gpu_percent=100, event_reasons=0,
        )  # fmt: skip
        energy = {Method.COUNTER: round(clock.now_s * 5e8)}
        views.append(DeviceView(info, True, "", sample, energy, 0, {}, 0.0, 0))
    holders = {f"GPU-{gpu}": tuple(w.name for w in workloads if gpu in w.gpus) for gpu in range(GPUS)}
    facts = tuple(
        replace(w.facts, labels={**w.facts.labels, **({"dvfs": w.acts.annotation} if w.acts.annotation else {})})
        for w in workloads
    )
    node = Identity("c", "n", "b", "v", simulated=True)
    return Snapshot(1, clock.utc_ns(), node, tuple(views), owners=holders, facts=facts)


def uuids(group: SteeringGroup) -> set[str]:
    return {view.info.uuid for view in group.devices}


reports = st.builds(Report, st.sampled_from(GROUPS), st.integers(0, 3), st.integers(1, 4), st.integers(0, 50))
requests = st.sampled_from(
    [{"lead": True}, {"sm_clock_max_mhz": 210, "power_limit_w": 200}, {"sm_clock_max_mhz": 1200}, {"power_limit_w": 400}]
)
annotations = st.sampled_from(
    ["", "off", "shadow", '{"cap_w": 250}', '{"slowdown": 0.5}', '{"shared": true}', '{"policy": "asked", "shared": true}',
     '{"shared": true, "cap_w": 210}', "{", '{"slo": {"ttft_ms": 1, "itl_ms": 1}}']
)  # fmt: skip
acting = st.builds(Acts, st.none() | reports, st.none() | requests, annotations)


@st.composite
def tenants(draw: st.DrawFn) -> tuple[list[Workload], list[Workload]]:
    """Workloads of two owners, some of them on the same GPUs."""
    both = []
    for owner in range(2):
        kind = draw(st.sampled_from(["pod", "process", "slurm", "unit", "container"]))
        workloads = []
        for number in range(draw(st.integers(1, 3))):
            gpus = draw(st.frozensets(st.integers(0, GPUS - 1), max_size=3))
            workloads.append(Workload(identity(kind, owner, number), gpus, draw(acting)))
        both.append(workloads)
    return both[0], both[1]


@given(tenants(), st.sampled_from(["auto", "static", "asked", "progress"]))
@settings(max_examples=examples(150))
def test_settings_progress_and_figures_are_the_same_whether_another_owner_acts_or_not(
    both: tuple[list[Workload], list[Workload]], policy: str
) -> None:
    workloads, others = both
    options = {"options": {"static": {"clean_s": 1}}}
    acted = play([*workloads, *others], policy, **options)
    silent = play([*workloads, *(replace(w, acts=Acts()) for w in others)], policy, **options)
    of_others = {f"GPU-{gpu}" for w in others for gpu in w.gpus}
    alone = {f"GPU-{gpu}" for w in workloads for gpu in w.gpus} - of_others
    whole = alone == {f"GPU-{gpu}" for w in workloads for gpu in w.gpus}
    for other in (silent, play(workloads, policy, **options)) if whole else (silent,):
        for device in alone:
            assert acted.views.get(device) == other.views.get(device)
        for workload in workloads:
            assert status_of(acted, workload.name, alone) == status_of(other, workload.name, alone)
    for workload in others:  # and nobody reads what others have
        reads = {device["uuid"] for device in acted.statuses[workload.name].get("devices", ())}
        assert reads <= {f"GPU-{gpu}" for gpu in workload.gpus} <= of_others


def status_of(outcome: Outcome, workload: str, alone: set[str]) -> list[object]:
    return [device for device in outcome.statuses[workload].get("devices", ()) if device["uuid"] in alone]


@given(tenants(), st.sampled_from(["auto", "static", "asked"]))
@settings(max_examples=examples(50))
def test_a_shared_gpu_is_set_only_where_all_agree_and_requests_only_where_all_request(
    both: tuple[list[Workload], list[Workload]], policy: str
) -> None:
    workloads, others = both
    outcome = play([*workloads, *others], policy, options={"static": {"clean_s": 1}})
    for gpu in range(GPUS):
        users = [w for w in (*workloads, *others) if gpu in w.gpus]
        if {owner for owner, of in enumerate((workloads, others)) if any(w in of for w in users)} != {0, 1}:
            continue
        view = outcome.views.get(f"GPU-{gpu}", (None,))[0]
        if view is None or not (view.setting or view.wanted):
            continue
        assert all("shared" in w.acts.annotation for w in users)
        if "asked" in view.facts["policy"]:
            assert all(w.acts.request is not None for w in users)
            limits = [w.acts.request.get("power_limit_w", 700) for w in users]
            assert view.wanted.get("power_limit_milliwatts", 700_000) == max(limits) * 1000
        # Nobody's cap binds the others.
        assert all("cap_w" in w.acts.annotation for w in users) or view.wanted.get("power_limit_milliwatts") != 210_000


names = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20) | st.sampled_from(GROUPS)


@given(st.data())
def test_no_owners_job_has_the_identity_of_anothers_job_or_workload(data: st.DataObject) -> None:
    kinds = st.sampled_from(["pod", "process", "slurm", "unit", "container"])
    victim = identity(data.draw(kinds), 0, 1)
    group = data.draw(names)
    victim_run = run_of(victim.kind, {**victim.labels, "group": group}) or victim.workload
    # The attacker knows all of that, and chooses whatever can be chosen.
    aim = data.draw(st.sampled_from([group, victim_run, victim_run.partition(":")[2], victim.workload, "job:" + group]) | names)
    attacker = identity(data.draw(kinds), 1, 1, aim.replace("/", "_"))
    run = run_of(attacker.kind, {**attacker.labels, "group": aim}) or attacker.workload
    assert run != victim_run
    assert owner_of(attacker.kind, attacker.labels) != owner_of(victim.kind, victim.labels) or not run.startswith("job:")


@given(st.tuples(names, names), st.tuples(names, names))
def test_two_jobs_never_have_one_identity(one: tuple[str, str], other: tuple[str, str]) -> None:
    one, other = (one[0].replace(":", ""), one[1]), (other[0].replace(":", ""), other[1])
    long = "x" * 200
    assert (job_identity(*one) == job_identity(*other)) == (one == other)
    assert (job_identity(one[0], long + one[1]) == job_identity(other[0], long + other[1])) == (one == other)


def test_ranks_of_one_owner_are_one_job_and_those_of_another_uid_are_not() -> None:
    def rank(owner: int, number: int, rank: int) -> Workload:
        acts = Acts(Report("10.1.2.3:29500", rank, 2, 5))
        return Workload(identity("process", owner, number), frozenset({2 * owner + number}), acts)

    mine = [rank(0, 0, 0), rank(0, 1, 1)]
    (group,) = play(mine, "static").groups
    assert (uuids(group), group.reason) == ({"GPU-0", "GPU-1"}, "")
    # The rank that is missing comes from another uid: the job stays one over several nodes.
    alone = play([mine[0], rank(1, 1, 1)], "static")
    assert [uuids(group) for group in alone.groups] == [{"GPU-0"}, {"GPU-3"}]
    assert all("several nodes" in group.exempt for group in alone.groups)


def test_pods_are_joined_within_a_controller_and_containers_not_at_all() -> None:
    acts = [Acts(Report("g", number, 2, 5)) for number in range(2)]
    pods = [Workload(identity("pod", 0, n), frozenset({n}), acts[n]) for n in range(2)]
    assert len(play(pods, "static").groups) == 1
    bare = [replace(pod, facts=replace(pod.facts, labels={"namespace": "prod", "pod": pod.name})) for pod in pods]
    assert len(play(bare, "static").groups) == 2
    containers = [Workload(identity("container", 0, n), frozenset({n}), acts[n]) for n in range(2)]
    assert len(play(containers, "static").groups) == 2


def test_a_job_follows_a_request_once_all_its_workloads_make_one() -> None:
    def ranks(*limits_w: int | None) -> list[Workload]:
        return [
            Workload(
                identity("process", 0, n), frozenset({n}),
                Acts(Report("j", n, 2, 5), None if limit is None else {"power_limit_w": limit}),
            )
            for n, limit in enumerate(limits_w)
        ]  # fmt: skip

    def limits(outcome: Outcome) -> set[int | None]:
        return {view.setting.get("power_limit_milliwatts") for view, _ in outcome.views.values()}

    assert limits(play(ranks(400, None), "asked")) == {None}
    assert limits(play(ranks(400, 500), "asked")) == {500_000}


def test_a_named_group_is_not_moved_by_its_workload_once_another_has_its_gpus() -> None:
    groups = [{"name": "g", "devices": ["0"], "workload": identity("process", 0, 0).workload}]
    mine = Workload(identity("process", 0, 0), frozenset({0}), Acts(request={"power_limit_w": 300}))
    gone = replace(mine, gpus=frozenset())
    theirs = Workload(identity("process", 1, 0), frozenset({0}))
    more = {"auto_groups": False, "groups": groups}
    assert play([mine], "asked", **more).views["GPU-0"][0].setting == {"power_limit_milliwatts": 300_000}
    for workloads in ([gone], [gone, theirs], [mine, theirs]):
        views = play(workloads, "asked", **more).views
        assert not [view for view, _ in views.values() if view.setting], workloads


def test_owners_of_a_shared_gpu_have_to_agree_and_to_request_the_same() -> None:
    def sharers(*acts: Acts) -> Outcome:
        return play([Workload(identity("pod", n, 0), frozenset({0}), acts[n]) for n in range(2)], "asked")

    def limit_w(*acts: Acts) -> float | None:
        return sharers(*acts).views.get("GPU-0", (None,))[0].wanted.get("power_limit_milliwatts")

    yes = '{"shared": true}'
    low, lower = {"power_limit_w": 400}, {"power_limit_w": 300}
    assert limit_w(Acts(None, low, yes), Acts(None, lower, yes)) == 400_000
    assert limit_w(Acts(None, low, yes), Acts(None, None, yes)) is None
    refused = sharers(Acts(None, low, yes), Acts(None, lower, ""))
    assert [group.exempt for group in refused.groups] == [
        "not steered: 2 workloads use its GPUs, and not all agree (dvfs: shared: true)"
    ]
    names = {identity("pod", n, 0).workload for n in range(2)}
    for name in names:  # nor does it read who else is there
        assert not any(other in str(refused.statuses[name]) for other in names - {name})
    capped = Acts(None, None, '{"shared": true, "cap_w": 250}')
    assert limit_w(capped, Acts(None, None, yes)) is None
    assert limit_w(capped, Acts(None, None, '{"shared": true, "cap_w": 300}')) == 300_000


def test_a_shared_workload_of_processes_is_not_steered_and_reads_nothing() -> None:
    for name in (MANY_USERS, "processes-of-uid-1000", "processes-of-uid-0"):
        facts = WorkloadFacts(name, 0, "process", {})
        for more in ({}, {"groups": [{"name": "g", "devices": ["0"], "workload": name}]}):
            outcome = play([Workload(facts, frozenset({0}), Acts(request={"power_limit_w": 300}))], "asked", **more)
            assert [bool(group.exempt) for group in outcome.groups] == [True]
            assert not [view for view, _ in outcome.views.values() if view.setting or view.wanted]
            assert "devices" not in outcome.statuses[name]


def test_a_uid_cannot_take_the_places_of_others() -> None:
    clock = Clock()
    asks = SteeringRequests(clock)  # type: ignore[arg-type]
    training = TrainingReports(clock, lambda _: True)  # type: ignore[arg-type]
    report = parse({"run": RUN, "age_s": 1, "steps": {"training": 1}})
    refused = 0
    for number in range(2000):
        try:
            training.report((number, 1), f"process-{number}", report, "uid 65534")
        except ReportError:
            refused += 1
        try:
            asks.take(f"process-{number}", {"lead": True}, "uid 65534")
        except UsageError:
            refused += 1
    assert refused > 3000
    training.report((9000, 1), "process-9000", report, "uid 1")
    asks.take("process-9000", {"lead": True}, "uid 1")
    assert len(training.ranks("process-9000")) == 1
    assert asks.of("process-9000") is not None


def test_a_request_outside_its_bounds_is_refused_and_changes_no_setting() -> None:
    asks = SteeringRequests(Clock())  # type: ignore[arg-type]
    wrong = (0, -1, 1e-9, 0.999, 10_001, 1e308, 10**400, float("inf"), float("nan"), True, "1", [1])
    for key in ("sm_clock_max_mhz", "power_limit_w"):
        for value in wrong:
            with pytest.raises(UsageError, match=key):
                asks.take("w", {key: value})
        assert asks.of("w") is None
    for value in (0, -1, 61, float("nan"), float("inf"), "1"):
        with pytest.raises(UsageError, match="ttl_s"):
            asks.take("w", {"lead": True, "ttl_s": value})
    for clock, power in ((1, 1), (1.5, 1.0001), (10_000, 10_000)):
        asks.take("w", {"sm_clock_max_mhz": clock, "power_limit_w": power})
        ask = asks.of("w")
        assert ask is not None
        assert ask.setting == Setting(int(clock), round(power * 1000))
