"""The node's annotation against an API server: its content, its last value while the server is away, and refused requests."""

import json

import pytest

from energy_agent.owners.kubernetes import node_annotation
from energy_agent.owners.kubernetes.api_client import Api
from energy_agent.owners.kubernetes.node_annotation import NodeNote
from energy_agent.runtime.clock import clock_for
from energy_agent.sim.cluster.api_server import ApiServer
from tests.energy_agent.runtime.test_poller import Waits
from tests.support import eventually


@pytest.fixture
def server(tmp_path):
    server = ApiServer(tmp_path, "n1")
    yield server
    server.stop()


@pytest.fixture
def note(server, tmp_path, monkeypatch):
    monkeypatch.setattr(node_annotation, "EVERY_S", 0.05)
    node_note = NodeNote(Api.simulated(tmp_path), "n1", clock_for({}))
    node_note.start()
    yield node_note
    node_note.stop()


def annotate(server, text):
    (server.folder / "annotations").write_text(json.dumps({"node": {node_annotation.ANNOTATION: text}}))


def test_a_word_is_heard_kept_while_the_server_is_away_and_taken_back(server, note):
    eventually(lambda: note.health().up)
    assert note.text() == ""
    annotate(server, "off")
    eventually(lambda: note.text() == "off")
    (server.folder / "fault").write_text("error")
    eventually(lambda: not note.health().up)
    assert note.text() == "off"  # a switch that is off stays off
    (server.folder / "fault").unlink()
    (server.folder / "annotations").unlink()
    eventually(lambda: note.text() == "" and note.health().up)
    assert set(server.asked) == {"/api/v1/nodes/n1"}


def test_a_text_that_is_too_long_or_none_is_no_word(server, note):
    annotate(server, "x" * 5000)
    eventually(lambda: note.text().endswith("…"))
    (server.folder / "fault").write_text("garbage")
    eventually(lambda: not note.health().up)
    assert len(note.text()) == 513


def test_a_role_that_is_missing_is_named(server, note):
    (server.folder / "fault").write_text("forbidden")
    eventually(lambda: "get on nodes" in note.health().reason)


def test_missing_role_is_retried_within_half_a_minute(server, tmp_path):
    (server.folder / "fault").write_text("forbidden")
    clock = Waits()
    note = NodeNote(Api.simulated(tmp_path), "n1", clock)
    note.start()
    try:
        eventually(lambda: len(clock.waits_s) > 5)
        assert clock.waits_s[:5] == [5, 10, 20, 30, 30]
    finally:
        note.stop()
