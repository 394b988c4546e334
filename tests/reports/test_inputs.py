"""The team of a workload, the charge of its class, and an organisation without entries."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from reports.inputs.organisation import ExpectedDevice, Organisation, embodied_of, price_of, team_of
from reports.inputs.records import EmbodiedDeclaration, GpuHourPrice, TeamRule

WORD = st.text("abc", max_size=3)
LABELS = st.dictionaries(st.sampled_from(["namespace", "team", "project", "class", "partition"]), WORD, max_size=5)
GLOB = st.sampled_from(["*", "a*", "?", "b", ""])
MATCH = st.dictionaries(st.sampled_from(["namespace", "partition", "kind"]), GLOB, max_size=2)
RULE = st.builds(TeamRule.model_construct, match=MATCH, team=WORD, project=WORD, price_class=WORD)


@pytest.mark.parametrize(
    ("labels", "kind", "workload", "wanted"),
    [
        ({"namespace": "nlp-prod"}, "pod", "w1", ("nlp", "search", "")),
        ({"namespace": "nlp-prod", "partition": "spot-a"}, "pod", "w1", ("nlp", "search", "spot")),
        ({"namespace": "vision", "team": "eyes", "project": "p7", "class": "gold"}, "pod", "w1", ("eyes", "p7", "gold")),
        ({"namespace": "vision"}, "pod", "w1", ("", "", "")),
        ({}, "process", "python3", ("by-hand", "", "")),
        # the rule sets no project: the workload keeps its own
        ({"project": "own"}, "process", "python3", ("by-hand", "own", "")),
        ({"account": "nlp-1"}, "slurm", "4711", ("other", "", "")),
    ],
)
def test_team_of_a_workload(labels, kind, workload, wanted):
    rules = (
        TeamRule(match={"partition": "spot*"}, price_class="spot"),
        TeamRule(match={"namespace": "nlp-*"}, team="nlp", project="search"),
        TeamRule(match={"namespace": "nlp-*"}, team="never", project="reached"),
        TeamRule(match={"kind": "process", "workload": "python*"}, team="by-hand"),
        TeamRule(match={"kind": "slurm", "account": "*"}, team="other"),
    )
    assert team_of(labels, kind, workload, rules) == wanted


def test_a_label_that_is_not_there_matches_nothing():
    assert team_of({}, "pod", "w", [TeamRule(match={"owner": "*"}, team="somebody")]) == ("", "", "")
    assert team_of({"owner": ""}, "pod", "w", [TeamRule(match={"owner": "*"}, team="somebody")]) == ("somebody", "", "")


def test_all_labels_of_a_rule_have_to_match():
    rule = TeamRule(match={"namespace": "nlp-*", "kind": "slurm"}, team="search")
    assert team_of({"namespace": "nlp-1"}, "slurm", "w", [rule])[0] == "search"
    assert team_of({"namespace": "nlp-1"}, "pod", "w", [rule])[0] == ""
    assert team_of({"namespace": "web"}, "slurm", "w", [rule])[0] == ""


def test_a_label_called_kind_does_not_stand_in_for_the_kind():
    assert team_of({"kind": "slurm"}, "pod", "w", [TeamRule(match={"kind": "slurm"}, team="wrong")]) == ("", "", "")


@given(LABELS, st.lists(RULE, max_size=5))
def test_a_rule_that_does_not_hold_changes_nothing(labels, rules):
    holding = [rule for rule in rules if rule.holds({**labels, "kind": "pod", "workload": "w"})]
    assert team_of(labels, "pod", "w", rules) == team_of(labels, "pod", "w", holding)


@given(LABELS, st.lists(RULE, max_size=5))
def test_team_and_project_never_come_from_two_rules(labels, rules):
    team, project, _ = team_of(labels, "pod", "w", rules)
    pairs = [(r.team or labels.get("team", ""), r.project or labels.get("project", "")) for r in rules]
    assert (team, project) in [*pairs, (labels.get("team", ""), labels.get("project", ""))]


def test_the_price_of_a_class():
    spot = GpuHourPrice(price_class="spot", currency="EUR", per_gpu_hour=0.40)
    rest = GpuHourPrice(currency="EUR", per_gpu_hour=1.20, electricity_share_percent=100)
    assert price_of("spot", (rest, spot)) is spot
    assert price_of("gold", (rest, spot)) is rest
    assert price_of("", (rest, spot)) is rest
    assert price_of("gold", (spot,)) is None


def test_embodied_by_the_board_s_name():
    rows = [
        EmbodiedDeclaration(sku="*H100*SXM*", low_kg=164, high_kg=575, life_years=5, boundary="board", source="a"),
        EmbodiedDeclaration(sku="*h100*", low_kg=1, high_kg=2, life_years=5, boundary="board", source="b"),
    ]
    matches = [embodied_of(sku, rows) for sku in ("NVIDIA H100 80GB SXM5", "nvidia h100 pcie", "NVIDIA A100")]
    assert [row and row.source for row in matches] == ["a", "b", None]


def test_organisation_of_nothing_has_defaults():
    nothing = Organisation.nothing()
    assert nothing.least_coverage == Fraction(19, 20)
    assert not nothing.sites
    assert not nothing.expected
    assert team_of({"team": "t"}, "pod", "w", nothing.teams) == ("t", "", "")
    assert price_of("spot", nothing.prices) is None
    assert nothing.stays("here").site_of("c", "n", "GPU-1", 0) == "here"
    with pytest.raises(UsageError, match="no site for c/n/GPU-1"):
        nothing.stays().site_of("c", "n", "GPU-1", 0)


def test_the_inventory_places_devices_over_time():
    """A board that moved on the second of January, and a node of which nobody wrote down the boards."""
    day = 86_400 * 10**9
    moved = [
        ExpectedDevice("c", "n1", "GPU-1", "H100", "fra1", 0, day),
        ExpectedDevice("c", "n1", "GPU-1", "H100", "pnq1", day, 2 * day),
    ]
    organisation = Organisation(expected=(*moved, ExpectedDevice("c", "n2", "", "", "fra1", 0, 2 * day)))
    sites = organisation.stays()
    assert [sites.site_of("c", "n1", "GPU-1", t) for t in (0, day - 1, day)] == ["fra1", "fra1", "pnq1"]
    assert sites.site_of("c", "n2", "GPU-9", 5) == "fra1"
    with pytest.raises(UsageError):
        sites.site_of("c", "n1", "GPU-1", 2 * day)
