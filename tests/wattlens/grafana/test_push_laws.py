"""Whatever people, builds and pushes do in whatever order: a push leaves what is built, and no edit is lost unasked."""

import copy
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dashboards.rules.alerts import Alert
from tests.doubles.grafana.service import GrafanaService
from tests.wattlens.grafana.people import Person
from wattlens.grafana.access import GrafanaAccess
from wattlens.grafana.client import Grafana
from wattlens.grafana.push import push
from wattlens.grafana.push_plan import PushRequest

BOARDS, ALERTS = ("one", "two", "three"), ("First", "Second")
boards, alerts = st.sampled_from(BOARDS), st.sampled_from(ALERTS)


@pytest.fixture(scope="module", autouse=True)
def _token_file(tmp_path_factory):
    Machine.token_file = tmp_path_factory.mktemp("token") / "token"


class Machine(RuleBasedStateMachine):
    """The model knows what is built, what a push last wrote, and what a person wrote after it."""

    token_file = None

    def __init__(self):
        super().__init__()
        self.service = GrafanaService()
        self.service.boards.folders["ops"] = {"id": 99, "uid": "ops", "title": "Ops"}
        self.token_file.write_text(self.service.token("Admin"))
        self.person, self.grafana = Person(self.service), Grafana(GrafanaAccess(self.service.url, self.token_file))
        self.fresh = (f"text {n}" for n in itertools.count())
        self.built = {uid: next(self.fresh) for uid in BOARDS}
        self.pending = dict.fromkeys(ALERTS, 1)  # minutes
        self.edits, self.rule_edits, self.moved = {}, {}, set()

    def teardown(self):
        self.service.stop()

    @initialize(upgrades=st.booleans(), keeps=st.booleans(), fills_in=st.booleans(), pushed=st.booleans())
    def what_server_it_is(self, upgrades, keeps, fills_in, pushed):
        self.service.boards.upgrades, self.service.boards.keeps_message = upgrades, keeps
        self.service.rules.fills_in = fills_in
        if pushed:
            self.a_push("stop")

    def push_request(self):
        built = {
            uid: {"uid": uid, "title": uid, "schemaVersion": 41, "panels": [{"title": text, "gridPos": {"w": 12.0}}]}
            for uid, text in self.built.items()
        }
        rules = tuple(Alert(name, "up == 0", f"{minutes}m", "info", "s", "d") for name, minutes in self.pending.items())
        return PushRequest("Wattlens", built, rules, "prometheus", "http://prometheus:9090", editable=True)

    @rule(uid=boards)
    def a_build_changes_a_dashboard(self, uid):
        self.built[uid] = next(self.fresh)

    @rule(name=alerts, minutes=st.integers(1, 5))
    def a_build_changes_an_alert(self, name, minutes):
        self.pending[name] = minutes

    @rule(uid=boards, message=st.sampled_from(["", "better"]))
    def a_person_edits(self, uid, message):
        if uid in self.service.boards.boards:
            text = next(self.fresh)
            self.person.save(uid, lambda board: board["panels"][0].update(title=text), message)
            self.edits[uid] = text

    @rule(uid=boards)
    def a_person_makes_what_is_built(self, uid):
        if uid in self.service.boards.boards:
            text = self.built[uid]
            self.person.save(uid, lambda board: board["panels"][0].update(title=text), "as in the code")
            self.edits[uid] = text

    @rule(uid=boards)
    def a_person_moves_a_dashboard(self, uid):
        if uid in self.service.boards.boards:
            self.person.save(uid, lambda _: None, "moved", folder="ops")
            self.edits.setdefault(uid, self.text(uid))
            self.moved.add(uid)

    @rule(uid=boards)
    def a_person_deletes_a_dashboard(self, uid):
        if uid in self.service.boards.boards:
            self.person.ask("DELETE", f"/api/dashboards/uid/{uid}")
            self.edits.pop(uid, None)
            self.moved.discard(uid)

    @rule(name=alerts, minutes=st.integers(100, 200))
    def a_person_edits_a_rule(self, name, minutes):
        if name in self.service.rules.rules:
            self.service.rules.edit(name, **{"for": f"{minutes}m"})
            self.rule_edits[name] = minutes

    @rule(edits=st.sampled_from(["stop", "stop", "keep", "overwrite"]))
    def a_push(self, edits):
        before, writes = self.snapshot(), self.service.writes
        # If a server upgrades saved dashboards, an upgrade looks like an edit: anything that a person saved counts as an edit.
        unclear = self.service.boards.upgrades
        conflicts = {uid for uid in self.edits if unclear or self.text(uid) != self.built[uid] or uid in self.moved}
        rule_conflicts = {name for name, minutes in self.rule_edits.items() if minutes != self.pending[name]}
        outcome = push(self.grafana, self.push_request(), edits)
        if edits == "stop" and (conflicts or rule_conflicts):
            assert outcome.stopped
            assert {each.uid for each in outcome.refused} == conflicts | rule_conflicts
            assert (self.snapshot(), self.service.writes) == (before, writes), "not a byte was written"
            return
        assert not outcome.stopped
        assert not outcome.refused
        kept = conflicts if edits == "keep" else set()
        kept_rules = rule_conflicts if edits == "keep" else set()
        for uid in BOARDS:
            board = self.service.boards.boards[uid]
            assert self.text(uid) == (self.edits[uid] if uid in kept else self.built[uid])
            assert board.folder == ("ops" if uid in kept and uid in self.moved else "wattlens")
        for name in ALERTS:
            minutes = self.rule_edits[name] if name in kept_rules else self.pending[name]
            assert self.service.rules.rules[name]["for"] == f"{minutes}m"
        self.moved &= kept
        # What a person wrote and a build then says as well is the build's from the next push that writes it; until then theirs.
        self.edits = {uid: text for uid, text in self.edits.items() if uid in kept or (edits != "overwrite" and self.mine(uid))}
        self.rule_edits = {n: m for n, m in self.rule_edits.items() if n in kept_rules or self.rule_is_theirs(n)}
        if not kept and not kept_rules:
            writes = self.service.writes
            again = push(self.grafana, self.push_request())
            assert (again.written, again.refused, self.service.writes) == ([], [], writes), "a second push changes nothing"

    def text(self, uid):
        return self.service.boards.boards[uid].latest.data["panels"][0]["title"]

    def mine(self, uid):
        """Whether the latest version is a person's: no push wrote it."""
        return "wattlens dashboards push" not in self.service.boards.boards[uid].latest.message

    def rule_is_theirs(self, name):
        return self.service.rules.rules[name]["for"] != f"{self.pending[name]}m"

    def snapshot(self):
        return copy.deepcopy(
            ({u: (b.folder, b.latest.data) for u, b in self.service.boards.boards.items()}, self.service.rules.rules)
        )

    @invariant()
    def nobodys_edit_is_lost(self):
        for uid, text in self.edits.items():
            assert self.text(uid) == text
        for name, minutes in self.rule_edits.items():
            assert self.service.rules.rules[name]["for"] == f"{minutes}m"


TestPush = Machine.TestCase
TestPush.settings = settings(max_examples=30, stateful_step_count=12)
