"""What a push makes of what it finds: pure cases that the server double does not reach, and rules in their canonical form."""

import copy
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashboards.push.alert_rules import STAMP, as_pushed, rule, same
from dashboards.push.content import PushedVersion, content, digest, message, read_mark
from dashboards.push.difference import differences
from dashboards.push.plan import GrafanaDashboard, plan_board, plan_rule, plan_source
from dashboards.rules.alerts import alerts

BOARD = {"uid": "b", "title": "Board", "panels": [{"title": "P", "w": 4.0}]}
ALERT = alerts()[0]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.smoke
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_a_digest_is_of_the_content_and_not_of_its_order_or_the_server(board):
    shuffled = dict(reversed(list(board.items())))
    assert digest(shuffled) == digest(board)
    assert digest(content({**board, "id": 7, "version": 9, "iteration": 3})) == digest(content(board))
    assert digest(json.loads(json.dumps(board))) == digest(board)


@example({"\n": 1}, {})
@example({"a\u2028b": {"\r": 1}}, {"a\u2028b": {}})
@given(json_values, json_values)
def test_documents_without_a_difference_are_equal(one, other):
    lines = differences(one, other, most=10**6)
    assert (not lines) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
    assert all(len(line.splitlines()) <= 1 for line in lines)


def test_a_difference_names_the_panel_and_is_bounded():
    remote = copy.deepcopy(BOARD)
    remote["panels"][0]["w"] = 6
    remote["panels"].append({"title": "Mine"})
    assert differences(BOARD, remote) == (
        "panels[0 'P'].w: 6, expected 4.0",
        'panels[1 \'Mine\']: {"title": "Mine"}, expected absent',
    )
    many = differences({"a": list(range(50))}, {"a": list(range(1, 51))})
    assert (len(many), many[-1]) == (21, "and 30 more")


def test_a_mark_is_read_back_and_nothing_else_is():
    pushed = message("0.1.0", 7, digest(BOARD))
    assert len(pushed) <= 500
    assert read_mark(pushed) == PushedVersion(7, digest(BOARD))
    for other in ("", "Restored from version 3", "Wattlens is great", pushed.replace("sha256:", "sha256:x"), f"x {pushed}"):
        assert read_mark(other) is None


def stored(board, version, note, **more):
    return GrafanaDashboard(board, version, "f", "F", message=note, **more)


OURS, OLD = digest(content(BOARD)), digest({"old": 1})
EDITED = {**BOARD, "title": "Edited"}


@pytest.mark.parametrize(
    ("remote", "state"),
    [
        (None, "create"),
        (stored(BOARD, 1, ""), "same"),  # imported, and the same
        (stored(BOARD, 5, None), "same"),
        (stored({**BOARD, "schemaVersion": 42}, 3, message("1", 3, OURS)), "same"),  # the server brought it up
        (stored({**BOARD, "schemaVersion": 42}, 3, message("1", 3, OLD)), "update"),
        (stored({"old": 1}, 3, message("1", 2, OLD)), "update"),  # saved again without a change
        (stored(EDITED, 3, message("1", 2, OURS)), "edited"),  # the message was handed on
        (stored(EDITED, 3, "mine"), "edited"),
        (stored(EDITED, 3, None), "edited"),
        (stored(EDITED, 1, ""), "edited"),
        (stored(EDITED, 3, message("1", 3, OLD), from_file=True), "locked"),
        (stored(BOARD, 3, "", from_file=True), "same"),
        (GrafanaDashboard(BOARD, 1, "g", "G", message=message("1", 1, OURS)), "edited"),  # moved
        (GrafanaDashboard(BOARD, 1, "g", "G", from_file=True), "same"),  # its folder is that of the file
    ],
)
def test_what_is_to_be_done_with_a_dashboard(remote, state):
    change = plan_board(BOARD, remote, "f")
    assert change.state == state
    assert bool(change.reason) == (state in ("edited", "locked"))


def stored(built, **changes):
    """As a server gives a rule back."""
    pushed = copy.deepcopy(built) | {"id": 4, "updated": "2026-11-26T00:00:00Z", "provenance": "api", "isPaused": False}
    return pushed | {"notification_settings": None, "record": None, "keep_firing_for": "0s"} | changes


def test_a_rule_comes_back_as_it_was_pushed_whatever_the_server_fills_in():
    for alert in alerts():
        built = rule(alert, "f", "prometheus")
        assert len(built["uid"]) <= 40
        assert len(built["title"]) <= 190
        remote = stored(built)
        assert same(built, remote)
        assert as_pushed(remote)
        older = stored(built)
        del older["missingSeriesEvalsToResolve"], older["keep_firing_for"]  # a server that does not know them
        assert same(built, older)
        assert as_pushed(older)
        assert plan_rule(built, older).state == "same"
        minutes = stored(built, **{"for": {"5m": "300s", "1h": "60m"}.get(built["for"], built["for"])})
        assert plan_rule(built, minutes).state == "same"


@pytest.mark.parametrize(
    "edit",
    [
        {"for": "7m"}, {"isPaused": True}, {"title": "Other"}, {"noDataState": "Alerting"}, {"execErrState": "OK"},
        {"labels": {"severity": "info", "team": "x"}}, {"notification_settings": {"receiver": "r"}}, {"condition": "any"},
        {"keep_firing_for": "5m"}, {"ruleGroup": "mine"}, {"annotations": {}}, {"missingSeriesEvalsToResolve": 5},
    ],
)  # fmt: skip
def test_every_edit_of_a_rule_is_seen(edit):
    built = rule(ALERT, "f", "prometheus")
    remote = stored(built, **edit)
    if "annotations" in edit:  # its texts are gone, the stamp is not
        remote["annotations"] = {STAMP: built["annotations"][STAMP]}
    assert not same(built, remote)
    assert plan_rule(built, remote).state == "edited"
    for query in range(3):
        remote = stored(built)
        remote["data"][query]["model"]["expr" if query == 0 else "expression"] = "1"
        assert plan_rule(built, remote).state == "edited"


def test_a_rule_that_a_push_wrote_is_brought_up_and_one_from_a_file_is_not():
    older = rule(ALERT, "f", "other-source")
    built = rule(ALERT, "f", "prometheus")
    assert plan_rule(built, stored(older)).state == "update"
    assert plan_rule(built, stored(older, provenance="file")).state == "locked"
    assert plan_rule(built, stored(built, provenance="file")).state == "same"
    assert plan_rule(built, None).state == "create"
    assert plan_rule(built, stored(built, folderUID="g")).state == "edited"


def test_data_source_must_exist_or_have_a_url():
    with pytest.raises(LookupError, match="no data source"):
        plan_source("p", "P", None, None)
    with pytest.raises(LookupError, match="expected type 'prometheus'"):
        plan_source("p", "P", None, {"type": "loki", "name": "Logs"})
    remote = {"type": "prometheus", "name": "P", "url": "http://a/"}
    assert plan_source("p", "P", "http://a", None).state == "create"
    assert plan_source("p", "P", None, remote).state == "same"
    assert plan_source("p", "P", "http://a", remote).state == "same"
    assert plan_source("p", "P", "http://b", remote).state == "edited"
    assert plan_source("p", "P", "http://b", remote | {"readOnly": True}).state == "locked"
