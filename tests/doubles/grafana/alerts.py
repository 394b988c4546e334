"""Alert rules of the Grafana double, by the provisioning API: validation, provenance, defaults that it fills in."""

import copy
import re
from typing import Any, Final

from tests.doubles.grafana.api import Act, Asked, Needed, RefusedError, Route, now_text, uid_or_new
from tests.doubles.grafana.dashboards import Boards

_READ: Final = Needed("Viewer", "alert.provisioning:read or alert.rules:read")
_WRITE: Final = Needed("Admin", "alert.provisioning:write or alert.rules.provisioning:write")
_SPAN: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|0")
_NO_DATA: Final = ("Alerting", "NoData", "OK", "KeepLast")
_FAILED: Final = ("OK", "Alerting", "Error", "KeepLast")
_LIMIT: Final = 190
_TWICE: Final = "a conflicting alert rule is found"


class AlertRules:
    """Rules by uid. `provenance`: "" may be edited by hand, "api" only by the API, "file" only by the file."""

    def __init__(self, boards: Boards) -> None:
        self.rules: dict[str, dict[str, Any]] = {}
        self.fills_in = True  # what the server adds to each query of a rule
        self._boards = boards

    def route(self, method: str, parts: list[str]) -> Route | None:
        """What serves a path; None: nothing here does."""
        match method, parts:
            case "GET", ["v1", "provisioning", "alert-rules"]:
                return _READ, lambda _: (200, list(self.rules.values()))
            case "POST", ["v1", "provisioning", "alert-rules"]:
                return _WRITE, self._add
            case "PUT", ["v1", "provisioning", "alert-rules", uid]:
                return _WRITE, self._update(uid)
        return None

    def edit(self, uid: str, **changes: Any) -> None:
        """What a person changes in the page of a rule.

        Raises:
            RefusedError: the rule is provisioned, so its page has no button to save.
        """
        if self._rule(uid).get("provenance"):
            raise RefusedError(403, "cannot update provisioned rule")
        self.rules[uid] |= copy.deepcopy(changes) | {"updated": now_text()}

    def provision(self, rule: dict[str, Any]) -> None:
        """A rule from a file."""
        self._add(Asked(body=rule, headers={}))
        self.rules[rule["uid"]]["provenance"] = "file"

    def _rule(self, uid: str) -> dict[str, Any]:
        if uid not in self.rules:
            raise RefusedError(404, "")
        return self.rules[uid]

    def _add(self, asked: Asked) -> tuple[int, Any]:
        body = self._valid(copy.deepcopy(asked.object()), "")
        uid = uid_or_new(body.get("uid"), len(self.rules) + 1)
        if uid in self.rules:
            raise RefusedError(400, f"{_TWICE}: rule UID under the same organisation should be unique")
        self.rules[uid] = self._stored(body, uid, len(self.rules) + 1, _provenance(asked))
        return 201, self.rules[uid]

    def _update(self, uid: str) -> Act:
        def act(asked: Asked) -> tuple[int, Any]:
            now = self._rule(uid)
            body, given = self._valid(copy.deepcopy(asked.object()), uid), _provenance(asked)
            stored = now.get("provenance", "")
            if stored not in (given, ""):
                raise RefusedError(409, f"cannot change provenance from '{stored}' to '{given}'")
            self.rules[uid] = self._stored(body, uid, now["id"], given)
            return 200, self.rules[uid]

        return act

    def _stored(self, body: dict[str, Any], uid: str, number: int, provenance: str) -> dict[str, Any]:
        rule = body | {"id": number, "uid": uid, "orgID": 1, "updated": now_text()}
        rule.pop("provenance", None)
        if provenance:
            rule["provenance"] = provenance
        if self.fills_in:
            rule |= {"notification_settings": rule.get("notification_settings"), "record": None, "keep_firing_for": "0s"}
            rule.setdefault("isPaused", False)
            for query in rule["data"]:
                query.setdefault("queryType", "")
                query["model"] = {"intervalMs": 1000, "maxDataPoints": 43200} | query["model"]
        return rule

    def _valid(self, body: dict[str, Any], rule_uid: str) -> dict[str, Any]:
        def wrong(why: str) -> RefusedError:
            return RefusedError(400, f"invalid alert rule: {why}")

        for key in ("title", "ruleGroup", "folderUID", "condition"):
            if not isinstance(body.get(key), str) or not body[key]:
                raise wrong(f"{key} is empty")
        if max(len(body["title"]), len(body["ruleGroup"])) > _LIMIT:
            raise wrong("name length should not be greater than 190")
        if body["folderUID"] not in self._boards.folders:
            raise wrong("folder does not exist")
        if body.get("noDataState") not in _NO_DATA or body.get("execErrState") not in _FAILED:
            raise wrong("unknown state option")
        if not isinstance(body.get("for"), str) or not _SPAN.fullmatch(body["for"]):
            raise wrong("not a valid duration string")
        queries = body.get("data")
        if not isinstance(queries, list) or not queries:
            raise wrong("no queries or expressions are found")
        if body["condition"] not in [query.get("refId") for query in queries]:
            raise wrong(f"condition {body['condition']} does not exist")
        for each in (body.get("labels", {}), body.get("annotations", {})):
            if not isinstance(each, dict) or not all(isinstance(value, str) for value in each.values()):
                raise wrong("labels and annotations are texts")
        for uid, rule in self.rules.items():
            if uid != rule_uid and (rule["folderUID"], rule["title"]) == (body["folderUID"], body["title"]):
                raise RefusedError(400, f"{_TWICE}: rule title under the same organisation and folder should be unique")
        return body


def _provenance(asked: Asked) -> str:
    return "" if asked.headers.get("X-Disable-Provenance") is not None else "api"
