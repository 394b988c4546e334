"""Folders and dashboards of the Grafana double: uids, versions with their messages, conflicts, files that lock."""

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from tests.doubles.grafana.api import Act, Asked, Needed, RefusedError, Route, now_text, uid_or_new

_READ: Final = Needed("Viewer", "dashboards:read")
_HISTORY: Final = Needed("Editor", "dashboards:write")
_SAVE: Final = Needed("Editor", "dashboards:write or dashboards:create")
_FOLDERS: Final = Needed("Viewer", "folders:read")
_NEW_FOLDER: Final = Needed("Editor", "folders:create")
_MESSAGE_LIMIT: Final = 500
_KEPT: Final = 20
"""`versions_to_keep` of Grafana's configuration."""


@dataclass(slots=True)
class Saved:
    """A version of a dashboard."""

    version: int
    data: dict[str, Any]
    message: str
    author: str = "sa-1-double"


@dataclass(slots=True)
class StoredBoard:
    """A dashboard: all its versions that are kept, the newest last."""

    id: int
    uid: str
    folder: str
    history: list[Saved] = field(default_factory=list)
    from_file: bool = False
    newer: bool = False  # saved in schema v2
    creator: str = "sa-1-double"

    @property
    def latest(self) -> Saved:
        """What is shown."""
        return self.history[-1]


class Boards:
    """Folders at the root, and dashboards in them.

    Attributes:
        upgrades: whether the server upgrades stored dashboards to a newer schema, as newer servers do.
        keeps_message: whether a save without a message keeps the previous message, as a store can that writes it separately.
    """

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.boards: dict[str, StoredBoard] = {}
        self.upgrades = self.keeps_message = False
        self._ids = 0

    def route(self, method: str, parts: list[str]) -> Route | None:
        """What serves a path; None: nothing here does."""
        match method, parts:
            case "GET", ["folders"]:
                return _FOLDERS, self._list_folders
            case "POST", ["folders"]:
                return _NEW_FOLDER, self._add_folder
            case "GET", ["folders", uid]:
                return _FOLDERS, lambda _: (200, self._folder(uid))
            case "GET", ["search"]:
                return _READ, self._search
            case "POST", ["dashboards", "db"]:
                return _SAVE, self._save
            case "GET", ["dashboards", "uid", uid]:
                return _READ, lambda _: (200, self._full(uid))
            case "GET", ["dashboards", "uid", uid, "versions"]:
                return _HISTORY, self._versions(uid)
            case "DELETE", ["dashboards", "uid", uid]:
                return Needed("Editor", "dashboards:delete"), self._delete(uid)
        return None

    def provision(self, data: dict[str, Any], folder: str) -> None:
        """A dashboard from a file: the API may not change it."""
        stored = self._store(copy.deepcopy(data), data["uid"], folder, "")
        stored.from_file = True

    def _list_folders(self, asked: Asked) -> tuple[int, Any]:
        limit, page = min(asked.number("limit", 1000), 1000), max(1, asked.number("page", 1))
        listed = [{key: f[key] for key in ("id", "uid", "title")} for f in self.folders.values()]
        return 200, listed[(page - 1) * limit : page * limit]

    def _folder(self, uid: str) -> dict[str, Any]:
        if uid not in self.folders:
            raise RefusedError(404, "folder not found", status="not-found")
        return self.folders[uid]

    def _add_folder(self, asked: Asked) -> tuple[int, Any]:
        body = asked.object()
        title = body.get("title")
        if not isinstance(title, str) or not title:
            raise RefusedError(400, "folder title cannot be empty")
        self._ids += 1
        uid = uid_or_new(body.get("uid"), self._ids)
        if uid in self.folders or uid in self.boards:
            raise RefusedError(409, "a folder/dashboard with the same uid already exists")
        if any(folder["title"] == title for folder in self.folders.values()):
            raise RefusedError(409, "a folder with the same name already exists in the current location")
        self.folders[uid] = {
            "id": self._ids, "uid": uid, "title": title, "url": f"/dashboards/f/{uid}/", "hasAcl": False, "canSave": True,
            "created": now_text(), "updated": now_text(), "version": 1,
        }  # fmt: skip
        return 200, self.folders[uid]

    def _search(self, asked: Asked) -> tuple[int, Any]:
        wanted, limit, page = asked.query.get("folderUIDs", []), asked.number("limit", 1000), max(1, asked.number("page", 1))
        if limit > 5000:
            raise RefusedError(422, "limit is above maximum allowed (5000), use page parameter to access hits beyond limit")
        kind = asked.query.get("type", ["dash-db"])[0]
        hits = [
            {
                "id": b.id, "uid": b.uid, "title": b.latest.data["title"], "type": "dash-db", "url": f"/d/{b.uid}",
                "tags": b.latest.data.get("tags", []), "folderUid": b.folder,
            }
            for b in self.boards.values()
            if (not wanted or b.folder in wanted) and kind == "dash-db"
        ]  # fmt: skip
        return 200, hits[(page - 1) * limit : page * limit]

    def _board(self, uid: str) -> StoredBoard:
        if uid not in self.boards:
            raise RefusedError(404, "Dashboard not found", status="not-found")
        return self.boards[uid]

    def _full(self, uid: str) -> dict[str, Any]:
        board = self._board(uid)
        if board.newer:
            path = f"/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/{uid}"
            raise RefusedError(406, f"dashboard api version not supported, use {path} instead")
        meta = {
            "type": "db", "canSave": True, "canEdit": True, "hasAcl": False, "slug": uid, "url": f"/d/{uid}",
            "version": board.latest.version, "created": now_text(), "updated": now_text(), "createdBy": board.creator,
            "updatedBy": board.latest.author, "folderUid": board.folder,
            "folderTitle": self.folders[board.folder]["title"] if board.folder else "Dashboards",
            "provisioned": board.from_file, "provisionedExternalId": f"{uid}.json" if board.from_file else "",
        }  # fmt: skip
        return {"dashboard": board.latest.data | {"id": board.id, "version": board.latest.version}, "meta": meta}

    def _save(self, asked: Asked) -> tuple[int, Any]:
        body = asked.object()
        data, folder, message = body.get("dashboard"), body.get("folderUid") or "", body.get("message") or ""
        overwrite = body.get("overwrite") is True
        if not isinstance(data, dict):
            raise RefusedError(400, "bad request data")
        if not isinstance(data.get("title"), str) or not data["title"].strip():
            raise RefusedError(400, "Dashboard title cannot be empty", status="empty-name")
        if len(message) > _MESSAGE_LIMIT:
            raise RefusedError(400, "message too long, max 500 characters")
        if folder and folder not in self.folders:
            raise RefusedError(404, "Folder not found")
        uid = uid_or_new(data.get("uid"), self._ids + 1)
        if uid in self.folders:
            raise RefusedError(400, "Dashboard cannot be changed to a folder")
        existing = self.boards.get(uid)
        if data.get("id") and (existing is None or existing.id != data["id"]):
            raise RefusedError(404, "Dashboard not found", status="not-found")
        if existing is not None:
            if existing.from_file:
                raise RefusedError(400, "Cannot save provisioned dashboard")
            if not overwrite and data.get("version", 0) != existing.latest.version:
                raise RefusedError(412, "The dashboard has been changed by someone else", status="version-mismatch")
        elif not overwrite and any(
            b.folder == folder and b.latest.data["title"] == data["title"] for b in self.boards.values()
        ):
            raise RefusedError(412, "A dashboard with the same name in the folder already exists", status="name-exists")
        stored = self._store(copy.deepcopy(data), uid, folder, message)
        reply = {"id": stored.id, "uid": uid, "url": f"/d/{uid}", "status": "success", "slug": uid, "folderUid": folder}
        return 200, reply | {"version": stored.latest.version}

    def _store(self, data: dict[str, Any], uid: str, folder: str, message: str) -> StoredBoard:
        if uid not in self.boards:
            self._ids += 1
            self.boards[uid] = StoredBoard(self._ids, uid, folder)
        board = self.boards[uid]
        board.folder = folder
        if self.upgrades:
            data["schemaVersion"] = max(42, int(data.get("schemaVersion", 0)))
            data.setdefault("preload", False)
        data |= {"uid": uid}
        data.pop("id", None)
        data.pop("version", None)
        if self.keeps_message and not message and board.history:
            message = board.latest.message
        board.history.append(Saved(board.latest.version + 1 if board.history else 1, data, message))
        del board.history[:-_KEPT]
        return board

    def _versions(self, uid: str) -> Act:
        def act(asked: Asked) -> tuple[int, Any]:
            versions = self._board(uid).history[::-1][: asked.number("limit", 1000)]
            return 200, {"continueToken": "", "versions": [self._describe(uid, saved) for saved in versions]}

        return act

    def _describe(self, uid: str, saved: Saved) -> dict[str, Any]:
        return {
            "id": saved.version, "dashboardId": self.boards[uid].id, "uid": uid, "version": saved.version,
            "parentVersion": saved.version - 1, "restoredFrom": 0, "created": now_text(), "createdBy": saved.author,
            "message": saved.message,
        }  # fmt: skip

    def _delete(self, uid: str) -> Act:
        def act(_: Asked) -> tuple[int, Any]:
            if self._board(uid).from_file:
                raise RefusedError(400, "provisioned dashboard cannot be deleted")
            title = self.boards.pop(uid).latest.data["title"]
            return 200, {"title": title, "message": f"Dashboard {title} deleted"}

        return act
