"""Terms out of the file and a pod's annotation; groups out of who holds what."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs.types import Mode, SteeringSettings
from energy_agent.config.dvfs import Dvfs, DvfsPolicySettings
from energy_agent.core.energy import DeviceInfo, Identity, WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.core.snapshot import DeviceView, DvfsDevice, Snapshot
from energy_agent.runtime.clock import RealClock
from energy_agent.tokens.poller import TokenPoller
from wattlens.steering.groups import JobRanks, automatic, named
from wattlens.steering.loop import describe_steering
from wattlens.steering.observer import Observer
from wattlens.steering.requests import SteeringRequests
from wattlens.steering.terms import annotated, merge, merge_workloads, terms_of

MONDAY_NOON_NS = 1_764_590_400_000_000_000  # 2025-12-01T12:00:00Z


def config(**more: object) -> Dvfs:
    return Dvfs.model_validate({"mode": "enforce", "auto_groups": True} | more)


def terms(dvfs: Dvfs, facts: dict[str, str] | None = None, workload: str = "ns/pod", at_ns: int = MONDAY_NOON_NS):
    return terms_of(dvfs, [], facts or {}, workload, at_ns)


def test_each_level_has_its_word() -> None:
    dvfs = config(
        slowdown=0.02,
        namespaces={"ml-*": {"slowdown": 0.05, "cap_w": 500}, "ml-prod": {"mode": "shadow"}},
        workloads={"ml-prod/chat*": {"slo": {"ttft_ms": 500, "itl_ms": 50}}},
    )
    settings, wrong = terms(dvfs, {"namespace": "ml-prod", "dvfs": '{"slowdown": 0.3, "cap_w": 600}'}, "ml-prod/chat-0")
    assert wrong == ""
    assert (settings.mode, settings.slowdown_ratio, settings.cap_mw) == (Mode.SHADOW, 0.10, 500_000)
    assert (settings.ttft_s, settings.itl_s, settings.policies) == (0.5, 0.05, ("slo",))
    assert terms(dvfs)[0].policies == ("progress",)
    assert terms(dvfs)[0].slowdown_ratio == 0.02


def test_the_most_specific_word_holds() -> None:
    dvfs = config(policy="limiter", workloads={"chat-7": {"slowdown": 0.05}, "chat-*": {"slowdown": 0.09}})
    assert terms(dvfs, workload="chat-7")[0].slowdown_ratio == 0.05
    assert terms(dvfs, workload="chat-8")[0].slowdown_ratio == 0.09
    pod, note = {"dvfs": '{"slowdown": 0.04, "policy": "auto"}'}, annotated('{"slowdown": 0.02, "policy": "static"}')
    assert terms_of(dvfs, [], {}, "chat-9", MONDAY_NOON_NS, note)[0].policies == ("static",)
    settings = terms_of(dvfs, [], pod, "chat-9", MONDAY_NOON_NS, note)[0]
    assert (settings.slowdown_ratio, settings.policies, settings.is_auto) == (0.04, ("progress",), True)


def test_auto_may_be_one_of_several_policies() -> None:
    assert terms(config(policy="auto+phase"))[0].policies == ("progress", "phase")
    assert terms(config(policy="auto+phase", slo={"ttft_ms": 500}))[0].policies == ("slo", "phase")
    assert not terms(config(policy="progress"))[0].is_auto


def test_an_annotation_may_switch_off_and_never_on() -> None:
    assert terms(config(), {"dvfs": "off"})[0].mode is Mode.OBSERVE
    assert terms(config(mode="shadow"), {"dvfs": "enforce"})[0].mode is Mode.SHADOW
    assert terms(config(annotations=False), {"dvfs": "off"})[0].mode is Mode.ENFORCE


@pytest.mark.parametrize(
    ("text", "says"),
    [("on", "must be a mapping"), ("{slowdwn: 0.1}", "did you mean 'slowdown'"), ("{slowdown: 9}", "at most 0.5"),
     ("{", "not valid YAML"), ("x…", "too long"), ("&a [*a]", "alias|mapping"), ("[" * 400, "annotation"),
     ("{policy: sloo}", "policy: expected one of auto, .*slo, .*got 'sloo'"), ("{policy: slo+budget}", "got 'budget'"),
     ("{mode: x, slowdown: 9, bogus: 1}", "got 'x'; key 'slowdown': .*got 9; unknown key 'bogus'")],
)  # fmt: skip
def test_an_annotation_that_is_wrong_stops_the_steering_and_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        annotated(text)
    assert "wattlens.io/dvfs" in str(error.value)
    assert "\n" not in str(error.value)
    settings, wrong = terms(config(), {"dvfs": text})
    assert settings.mode is Mode.OBSERVE
    assert wrong == str(error.value)


def test_an_annotation_is_parsed_once_however_often_it_is_read() -> None:
    for text in ("enforce", "{slowdown: 0.1}"):
        assert annotated(text) is annotated(text)
    for text in ("[" * 512, "{a: " * 100, "no: yes"):
        reasons = []
        for _ in range(2):
            with pytest.raises(UsageError) as error:
                annotated(text)
            reasons.append(str(error.value))
        assert reasons[0] == reasons[1]


def test_schedules_are_in_the_nodes_time() -> None:
    dvfs = config(schedule=["Mon-Fri 21:00-22:00"], time_zone="Asia/Tokyo")
    assert terms(dvfs)[0].mode is Mode.ENFORCE
    assert terms(replace_zone(dvfs, "UTC"))[0].mode is Mode.OBSERVE


def replace_zone(dvfs: Dvfs, zone: str) -> Dvfs:
    return dvfs.model_copy(update={"time_zone": zone})


def test_together_the_strictest_terms_count_and_of_several_owners_no_cap_that_not_all_have() -> None:
    a, b = terms(config(slowdown=0.02))[0], terms(config(mode="shadow", cap_w=300))[0]

    def both(*settings: SteeringSettings, same_owner: bool) -> tuple[object, ...]:
        merged = merge_workloads(settings, same_owner=same_owner)
        return () if merged is None else (merged.mode, merged.slowdown_ratio, merged.cap_mw, merged.shared)

    assert both(a, b, same_owner=True) == (Mode.SHADOW, 0.02, 300_000, False)
    assert both(a, b, same_owner=False) == (Mode.SHADOW, 0.02, None, False)
    assert both(replace(a, cap_mw=500_000, shared=True), replace(b, shared=True), same_owner=True)[2:] == (300_000, True)
    assert both(replace(a, cap_mw=500_000), b, same_owner=False)[2] == 500_000
    assert both(a, replace(b, policies=("static",)), same_owner=False) == ()
    strict = replace(a, ttft_s=0.2, attainment_ratio=0.999)
    merged = merge_workloads([replace(b, policies=("static",), ttft_s=0.5, itl_s=0.1), strict], same_owner=True)
    assert merged is not None
    assert (merged.policies, merged.ttft_s, merged.itl_s, merged.attainment_ratio) == (("static",), 0.2, 0.1, 0.999)


ORDER = ["observe", "shadow", "enforce"]
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(ORDER), "policy": st.sampled_from(["static", "progress+phase"]),
        "slowdown": st.floats(0.01, 0.5), "cap_w": st.integers(100, 700), "shared": st.booleans(),
        "slo": st.fixed_dictionaries({}, optional={"ttft_ms": st.integers(100, 2000), "itl_ms": st.integers(10, 1000)}),
        "schedule": st.lists(st.sampled_from(["Mon-Fri 08:00-18:00", "22:00-06:00"]), max_size=2),
    },
)  # fmt: skip
OTHERS = st.lists(WORDS.map(DvfsPolicySettings.model_validate), max_size=3)


@given(WORDS, OTHERS, st.floats(0.01, 0.2), st.integers(0, 6), st.integers(0, 1439))
def test_others_only_ever_narrow(
    words: dict[str, object], others: Sequence[DvfsPolicySettings], most: float, day: int, minute: int
) -> None:
    node = Dvfs.model_validate({"auto_groups": True, "slowdown_most": most} | words)
    settings, alone = merge(node, others, day, minute), merge(node, [], day, minute)
    assert ORDER.index(settings.mode) <= ORDER.index(alone.mode) <= ORDER.index(node.mode)
    for one in others:
        assert one.mode is None or ORDER.index(settings.mode) <= ORDER.index(one.mode)
    caps = [one.cap_w for one in (node, *others) if one.cap_w is not None]
    assert settings.cap_mw == (1000 * min(caps) if caps else None)
    assert settings.slowdown_ratio <= max(most, alone.slowdown_ratio)
    if not any(one.slowdown is not None for one in others):
        assert settings.slowdown_ratio == alone.slowdown_ratio
    limits = [one.slo.ttft_ms for one in (node, *others) if one.slo is not None and one.slo.ttft_ms is not None]
    assert settings.ttft_s == (limits[-1] / 1000 if limits else None)


def test_defaults_steer_nothing() -> None:
    assert merge(Dvfs(), [DvfsPolicySettings(mode="enforce")], 0, 0) == SteeringSettings(policies=("progress",), is_auto=True)


def snapshot(holders: dict[str, tuple[str, ...]], mig: str = "", uid: str = "1000") -> Snapshot:
    infos = [DeviceInfo(f"GPU-{i}", i, "H100", "Hopper", "", "", mig_enabled=f"GPU-{i}" == mig) for i in range(4)]
    views = tuple(DeviceView(info, True, "", None, {}, 0, {}, 0.0, 0) for info in infos)
    workloads = sorted({w for users in holders.values() for w in users})
    facts = tuple(WorkloadFacts(w, 0, "process", {"uid": uid}) for w in workloads)
    return Snapshot(1, 0, Identity("c", "n", "b", "v", simulated=True), views, owners=holders, facts=facts)


def groups(holders: dict[str, tuple[str, ...]], ranks: dict[str, JobRanks] | None = None, taken: frozenset[str] = frozenset()):
    return [
        (g.name, tuple(v.info.index for v in g.devices), g.sharers, bool(g.reason))
        for g in automatic(snapshot(holders), taken, ranks or {})
    ]


def test_every_workload_with_gpus_of_its_own_is_a_group() -> None:
    automatic_groups = groups({"GPU-0": ("a",), "GPU-1": ("a",), "GPU-2": ("b",), "GPU-3": ()})
    assert automatic_groups == [("a", (0, 1), (), False), ("b", (2,), (), False)]
    assert groups({"GPU-0": ("a",), "GPU-1": ("b",)}, taken=frozenset({"GPU-0"})) == [("b", (1,), (), False)]


def test_workloads_on_one_gpu_have_to_agree() -> None:
    automatic_groups = groups({"GPU-0": ("a", "b"), "GPU-1": ("b",), "GPU-2": ("c",)})
    assert automatic_groups == [("a+b", (0,), ("a", "b"), False), ("b", (1,), (), False), ("c", (2,), (), False)]


def test_progress_of_sharers_is_measured_by_one_of_them_only_where_one_owner_has_all() -> None:
    one = snapshot({"GPU-0": ("a", "b")})
    others = replace(one, facts=tuple(replace(fact, labels={"uid": fact.workload}) for fact in one.facts))
    (same,), (several,) = (automatic(each, frozenset(), {}) for each in (one, others))
    assert ((same.measured, same.same_owner), (several.measured, several.same_owner)) == (("a", True), ("", False))


def test_pods_of_one_job_are_one_group_and_need_nobodys_consent() -> None:
    ranks = {w: JobRanks("job-7", 2, frozenset({i})) for i, w in enumerate(("a", "b"))}
    for holders in ({"GPU-0": ("a",), "GPU-1": ("b",)}, {"GPU-0": ("a", "b"), "GPU-1": ("b",)}):
        assert groups(holders, ranks) == [("job:uid-1000:job-7", (0, 1), (), False)]


def test_a_job_over_several_nodes_is_refused_unless_its_hook_leads() -> None:
    (group,) = automatic(snapshot({"GPU-0": ("a",)}), frozenset(), {"a": JobRanks("j", 16, frozenset(range(8)))})
    assert "16 ranks, 8 of them here" in group.reason
    (led,) = automatic(snapshot({"GPU-0": ("a",)}), frozenset(), {"a": JobRanks("j", 8, frozenset(range(8)))})
    assert led.reason == ""


def test_mig_is_refused_for_named_groups_and_for_others() -> None:
    one = snapshot({"GPU-0": ("a",)}, mig="GPU-0")
    (auto,) = automatic(one, frozenset(), {})
    (by_name,) = named(config(groups=[{"name": "g", "devices": ["0"]}]).groups, one)
    assert "MIG" in auto.reason
    assert "MIG" in by_name.reason


def test_named_group_lists_other_workloads_on_its_gpus() -> None:
    entry = config(groups=[{"name": "g", "devices": ["0"], "workload": "a"}]).groups
    assert named(entry, snapshot({"GPU-0": ("a",)}))[0].sharers == ()
    assert named(entry, snapshot({"GPU-0": ("a", "b")}))[0].sharers == ("a", "b")
    assert named(entry, snapshot({"GPU-0": ("b",)}))[0].sharers == ("b",)


def test_named_group_with_gpus_of_another_workload_is_not_steered_and_its_mode_is_explained() -> None:
    clock = RealClock()
    dvfs = config(groups=[{"name": "g", "devices": ["0"], "workload": "a"}], auto_groups=False)
    observer = Observer(dvfs, clock, SteeringRequests(clock), TokenPoller(clock))
    assert [one.group for one in observer.observe(snapshot({"GPU-0": ("a",)}))] == ["g"]
    assert observer.observe(snapshot({"GPU-0": ("b",)})) == []
    assert observer.groups[0].reason
    assert "shared" not in observer.groups[0].reason  # consent would not help
    observed = DvfsDevice("GPU-0", "observe", False, facts={"group": "g"})
    assert "schedule" in str(describe_steering("a", [observed], {"GPU-0": ("a",)}, (), None)["reason"])


def test_a_workload_that_names_its_policies_is_not_steered_by_its_requests() -> None:
    clock, asks = RealClock(), SteeringRequests(RealClock())
    asks.take("a", {"sm_clock_max_mhz": 1005})
    for workloads, policies in (({}, ("asked",)), ({"a": {"policy": "slo", "slo": {"ttft_ms": 500}}}, ("slo",))):
        observer = Observer(config(workloads=workloads), clock, asks, TokenPoller(clock))
        assert [one.terms.policies for one in observer.observe(snapshot({"GPU-0": ("a",)}))] == [policies]
    asks.take("a", {"sm_clock_max_mhz": 1005, "power_limit_w": 400})
    assert describe_steering("a", [], {}, (), asks.of("a"))["asked"] == {"sm_clock_max_mhz": 1005, "power_limit_w": 400}


@given(st.sets(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), min_size=1, max_size=8), st.booleans())
def test_no_two_groups_have_the_same_name(workloads: set[str], long: bool) -> None:
    """A workload may be called like a group of the file, like two that share a GPU, or like a job."""
    base = "team-foundation-models-production/" + 180 * "x" if long else ""
    reserved_names = {"a", "b", "a+b", "job:uid-1000:a", "named", "(others)", "a~b"}
    reserved_names |= {f"~{name}" for name in reserved_names} | {f"~~{name}" for name in reserved_names}
    names = sorted(base + w for w in workloads | reserved_names)
    holders = {f"GPU-{n}": (name,) for n, name in enumerate(names)} | {"GPU-s": (base + "a", base + "b")}
    ranks = {base + "b": JobRanks("a", 1, frozenset({0}))}
    infos = [DeviceInfo(uuid, n, "H100", "Hopper", "", "") for n, uuid in enumerate(holders)]
    views = tuple(DeviceView(info, True, "", None, {}, 0, {}, 0.0, 0) for info in infos)
    automatic_groups = automatic(replace(snapshot(holders), devices=views), frozenset(), ranks, ["named"])
    assert len(automatic_groups) == len(holders)
    assert len({group.name for group in automatic_groups} | {"named", "(others)"}) == len(holders) + 2
    assert max(len(group.name) for group in automatic_groups) <= 160
