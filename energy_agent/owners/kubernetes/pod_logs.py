"""Uids of pods by the folder of their logs, where the kubelet makes one folder NAMESPACE_NAME_UID per pod that it starts.

This proves which pod a uid is: the kubelet makes the folders as root, no pod chooses their names, and neither a namespace nor a
pod's name may contain an underscore. Only names are read, never a log.
"""

import logging
import os
import re
import stat
from pathlib import Path

log = logging.getLogger("wattlens.holders")

DEFAULT_FOLDER = Path("/var/log/pods")
_MAX_FOLDERS = 20_000  # a kubelet runs some hundred pods; those of ended ones stay for a while
_NAME = re.compile(r"([a-z0-9.-]+)_([a-z0-9.-]+)_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32})")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class PodLogs:
    """The folders as they were when last read."""

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self._folder = folder
        self._pods: dict[str, tuple[str, str]] = {}  # namespace and name, by uid
        self._uids: dict[tuple[str, str], list[str]] = {}  # the other way round
        self._reason = ""

    def read(self) -> str:
        """Read the folder's names. Where that fails no uid is known: returns the reason, which the log has once, else ""."""
        try:
            self._pods, reason = self._list(), ""
        except OSError as error:
            self._pods, reason = {}, error.strerror or str(error)
        uids: dict[tuple[str, str], list[str]] = {}
        for uid, key in self._pods.items():
            uids.setdefault(key, []).append(uid)
        self._uids = uids
        if reason and reason != self._reason:
            message = "cannot read pod UIDs in %s: %s; workloads of pods are named pod-UID; see docs/attribution.md#kubernetes"
            log.warning(message, self._folder, reason)
        self._reason = reason
        return reason

    def uid(self, namespace: str, pod: str) -> str:
        """The uid of a pod; "" where it has no folder. Where several pods had the name one after the other, the last one's."""
        uids = self._uids.get((namespace, pod), [])
        return uids[0] if len(uids) == 1 else max(uids, key=lambda uid: self._made_ns(namespace, pod, uid), default="")

    def pod_of(self, uid: str) -> tuple[str, str] | None:
        """Namespace and name of a pod, of which the folder may be new; None: it has none."""
        if uid not in self._pods:
            self.read()
        return self._pods.get(uid)

    def _list(self) -> dict[str, tuple[str, str]]:
        owner = self._folder.stat()
        if owner.st_uid not in (0, os.geteuid()) or owner.st_mode & _WRITABLE_BY_OTHERS:
            raise PermissionError(0, "not trusted, because users other than root can write there")
        names = os.listdir(self._folder)[:_MAX_FOLDERS]  # noqa: PTH208 - names alone
        return {match[3]: (match[1], match[2]) for name in names if (match := _NAME.fullmatch(name)) is not None}

    def _made_ns(self, namespace: str, pod: str, uid: str) -> int:
        """When a container of the pod last got its folder; 0 where it is gone."""
        try:
            return (self._folder / f"{namespace}_{pod}_{uid}").stat().st_mtime_ns
        except OSError:
            return 0
