"""The Grafana double against what Grafana's HTTP API reference says: statuses, bodies, and what it refuses."""

import pytest

from tests.doubles.grafana.service import GrafanaService
from tests.wattlens.grafana.people import Person


@pytest.fixture
def service():
    service = GrafanaService()
    yield service
    service.stop()


@pytest.fixture
def admin(service):
    person = Person(service, "Admin")
    assert person.ask("POST", "/api/folders", {"title": "Ops", "uid": "ops"})[0] == 200
    return person


def board(**more):
    return {"dashboard": {"uid": "b", "title": "Board", **more}, "folderUid": "ops", "overwrite": False}


def rule(**more):
    query = {"refId": "A", "relativeTimeRange": {"from": 600, "to": 0}, "datasourceUid": "prom", "model": {"expr": "up"}}
    fields = {"uid": "r", "title": "R", "folderUID": "ops", "ruleGroup": "g", "condition": "A", "data": [query], "for": "5m"}
    return {**fields, "noDataState": "OK", "execErrState": "Error", **more}


def test_health_needs_no_token_and_everything_else_does(service):
    nobody = Person(service)
    nobody.token = "worth-nothing"
    assert nobody.ask("GET", "/api/health") == (200, {"commit": "double", "database": "ok", "version": "12.2.0"})
    for path in ("/api/folders", "/api/search", "/api/dashboards/uid/b", "/api/annotations", "/api/no-such"):
        assert nobody.ask("GET", path)[0] == 401


def test_a_folder_has_a_uid_and_one_title(admin):
    assert admin.ask("GET", "/api/folders/ops")[1]["title"] == "Ops"
    assert admin.ask("GET", "/api/folders/nowhere")[0] == 404
    assert admin.ask("POST", "/api/folders", {"title": "Ops"})[0] == 409
    assert admin.ask("POST", "/api/folders", {"title": "Other", "uid": "ops"})[0] == 409
    assert admin.ask("POST", "/api/folders", {"title": ""})[0] == 400
    assert admin.ask("POST", "/api/folders", {"title": "X", "uid": "a b"})[0] == 400


def test_a_dashboard_is_saved_over_the_version_that_was_seen(admin):
    status, reply = admin.ask("POST", "/api/dashboards/db", board())
    assert (status, reply["status"], reply["version"], reply["uid"]) == (200, "success", 1, "b")
    mismatch = {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
    assert admin.ask("POST", "/api/dashboards/db", board(title="New")) == (412, mismatch)
    assert admin.ask("POST", "/api/dashboards/db", board(title="New", version=1))[1]["version"] == 2
    assert admin.ask("POST", "/api/dashboards/db", board(title="Old", version=1)) == (412, mismatch)
    assert admin.ask("POST", "/api/dashboards/db", board(title="Won") | {"overwrite": True})[1]["version"] == 3
    response = admin.ask("GET", "/api/dashboards/uid/b")[1]
    assert (response["dashboard"]["title"], response["dashboard"]["version"], response["meta"]["version"]) == ("Won", 3, 3)
    assert (response["meta"]["folderUid"], response["meta"]["folderTitle"], response["meta"]["provisioned"]) == (
        "ops",
        "Ops",
        False,
    )


def test_the_history_has_messages(admin):
    admin.ask("POST", "/api/dashboards/db", board() | {"message": "first"})
    admin.ask("POST", "/api/dashboards/db", board(title="Two", version=1))
    versions = admin.ask("GET", "/api/dashboards/uid/b/versions?limit=2")[1]["versions"]
    assert [(v["version"], v["message"]) for v in versions] == [(2, ""), (1, "first")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (board(title=" "), 400),
        (board(uid="x" * 41), 400),
        (board(uid="a/b"), 400),
        (board(uid="ops"), 400),
        (board() | {"message": "m" * 501}, 400),
        (board() | {"folderUid": "nowhere"}, 404),
        (board(id=77), 404),
        ({"dashboard": 5}, 400),
        ([], 400),
    ],
)
def test_a_dashboard_that_grafana_refuses(admin, body, status):
    assert admin.ask("POST", "/api/dashboards/db", body)[0] == status
    assert admin.ask("GET", "/api/search?type=dash-db")[1] == []


def test_two_dashboards_of_one_title_in_a_folder_are_refused(admin):
    admin.ask("POST", "/api/dashboards/db", board())
    status, reply = admin.ask("POST", "/api/dashboards/db", board(uid="c"))
    assert (status, reply["status"]) == (412, "name-exists")


def test_what_comes_from_a_file_cannot_be_saved_or_deleted(service, admin):
    service.boards.provision({"uid": "f", "title": "F"}, "ops")
    assert admin.board("f")["meta"]["provisioned"] is True
    response = admin.ask("POST", "/api/dashboards/db", board(uid="f", version=1) | {"overwrite": True})
    assert response == (400, {"message": "Cannot save provisioned dashboard"})
    assert admin.ask("DELETE", "/api/dashboards/uid/f")[0] == 400


def test_what_each_role_may(service, admin):
    viewer, editor = Person(service, "Viewer"), Person(service, "Editor")
    assert viewer.ask("GET", "/api/folders")[0] == 200
    status, reply = viewer.ask("POST", "/api/dashboards/db", board())
    assert (status, reply["title"]) == (403, "Access denied")
    assert "dashboards:write" in reply["message"]
    assert viewer.ask("GET", "/api/dashboards/uid/b/versions")[0] == 403
    assert viewer.ask("POST", "/api/annotations", {"text": "x"})[0] == 403
    assert editor.ask("POST", "/api/dashboards/db", board())[0] == 200
    assert editor.ask("POST", "/api/v1/provisioning/alert-rules", rule())[0] == 403
    assert editor.ask("GET", "/api/datasources/uid/x")[0] == 403
    assert admin.ask("POST", "/api/v1/provisioning/alert-rules", rule())[0] == 201


def test_a_rule_has_a_provenance_that_is_not_given_up(service, admin):
    path = "/api/v1/provisioning/alert-rules"
    assert admin.ask("POST", path, rule())[1]["provenance"] == "api"
    assert admin.ask("PUT", f"{path}/r", rule(), **{"X-Disable-Provenance": "true"})[0] == 409
    free = rule(uid="free", title="Free")
    assert "provenance" not in admin.ask("POST", path, free, **{"X-Disable-Provenance": "true"})[1]
    service.rules.edit("free", **{"for": "9m"})
    assert service.rules.rules["free"]["for"] == "9m"
    assert admin.ask("PUT", f"{path}/free", free)[1]["provenance"] == "api"
    service.rules.provision(rule(uid="filed", title="Filed"))
    assert admin.ask("PUT", f"{path}/filed", rule(uid="filed", title="Filed"))[0] == 409
    assert admin.ask("PUT", f"{path}/nobody", rule())[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""}, {"title": "x" * 191}, {"ruleGroup": ""}, {"folderUID": "nowhere"}, {"condition": "Z"}, {"data": []},
        {"for": "soon"}, {"noDataState": "Maybe"}, {"execErrState": ""}, {"labels": {"a": 1}}, {"uid": "a b"},
    ],
)  # fmt: skip
def test_a_rule_that_grafana_refuses(admin, wrong):
    assert admin.ask("POST", "/api/v1/provisioning/alert-rules", rule(**wrong))[0] == 400


def test_two_rules_of_one_title_or_uid_are_refused(admin):
    path = "/api/v1/provisioning/alert-rules"
    admin.ask("POST", path, rule())
    assert admin.ask("POST", path, rule(title="Other"))[0] == 400
    assert admin.ask("POST", path, rule(uid="other"))[0] == 400


def test_data_sources_go_by_uid_and_keep_their_secrets(service, admin):
    source = {"uid": "prom", "name": "Prom", "type": "prometheus", "access": "proxy", "url": "http://p:9090"}
    assert admin.ask("POST", "/api/datasources", {**source, "secureJsonData": {"basicAuthPassword": "x"}})[0] == 200
    response = admin.ask("GET", "/api/datasources/uid/prom")[1]
    assert (response["url"], response["version"], response["secureJsonFields"]) == (
        "http://p:9090",
        1,
        {"basicAuthPassword": True},
    )
    assert admin.ask("POST", "/api/datasources", {**source, "uid": "b"})[0] == 409
    assert admin.ask("POST", "/api/datasources", {**source, "name": "B"})[0] == 409
    assert admin.ask("PUT", "/api/datasources/uid/prom", {**source, "url": "http://q:9090", "version": 1})[0] == 200
    assert admin.ask("PUT", "/api/datasources/uid/prom", {**source, "version": 1})[0] == 409
    assert service.sources.secrets["prom"] == {"basicAuthPassword": "x"}
    assert admin.ask("GET", "/api/datasources/1")[0] == 404
    service.sources.provision("filed", "Filed", "http://f:9090")
    assert admin.ask("PUT", "/api/datasources/uid/filed", source)[0] == 403
    assert admin.ask("GET", "/api/datasources/uid/none")[0] == 404


def test_annotations_are_found_by_time_and_all_of_their_tags(admin):
    for begin, end, tags in [(1000, 0, ["a", "b"]), (2000, 5000, ["a"]), (9000, 9000, ["b"])]:
        response = admin.ask("POST", "/api/annotations", {"time": begin, "timeEnd": end, "tags": tags, "text": "t"})
        assert response[1]["message"] == "Annotation added"
    find = lambda query: [each["time"] for each in admin.ask("GET", f"/api/annotations?{query}")[1]]  # noqa: E731
    assert find("") == [9000, 2000, 1000]
    assert find("tags=a&tags=b") == [1000]
    assert find("from=3000&to=4000") == [2000]
    assert find("from=1000&to=2000") == [2000, 1000]
    assert find("limit=1") == [9000]
    assert admin.ask("POST", "/api/annotations", {"text": ""})[0] == 400


def test_annotations_default_limit_is_100(admin):
    for i in range(101):
        admin.ask("POST", "/api/annotations", {"time": 1 + i, "text": "t"})
    assert len(admin.ask("GET", "/api/annotations")[1]) == 100
    assert len(admin.ask("GET", "/api/annotations?limit=500")[1]) == 101


def test_what_is_no_request_is_refused(service, admin):
    assert admin.ask("GET", "/api/no/such/path")[0] == 404
    assert admin.ask("POST", "/api/dashboards/db", "text")[0] == 400
    assert admin.ask("GET", "/api/search?limit=5001")[0] == 422
