"""Writes events as Grafana annotations, each once. Existing annotations are left unchanged."""

from dataclasses import dataclass
from typing import Final

from wattlens.grafana.client import Grafana, GrafanaError
from wattlens.grafana.events import ID, TAG, PlannedAnnotation
from wattlens.grafana.push_plan import Progress

_AT_ONCE: Final = 500
_LIMIT: Final = 2000
_ASKED: Final = 400


@dataclass(slots=True)
class AnnotationCounts:
    """Number of annotations created, and of those that existed."""

    created: int = 0
    unchanged: int = 0


def annotate(
    grafana: Grafana, events: list[PlannedAnnotation], *, dry: bool = False, progress: Progress | None = None
) -> AnnotationCounts:
    """Bring the annotations of these events about.

    Raises:
        GrafanaError: they could not be read or written; running again goes on where it ended.
    """
    grafana.version()
    done, event_count = AnnotationCounts(), 0
    for begin in range(0, len(events), _AT_ONCE):
        some = events[begin : begin + _AT_ONCE]
        event_tags = _fetch_event_tags(grafana, min(e.begin_ms for e in some), max(e.end_ms for e in some))
        for event in some:
            if progress is not None:
                progress(event_count, len(events))
            event_count += 1
            if event.id_tag in event_tags:
                done.unchanged += 1
                continue
            done.created += 1
            if not dry:
                times = {"time": event.begin_ms, "timeEnd": event.end_ms}
                body = {**times, "tags": event.all_tags, "text": event.text}
                grafana.send("create annotations", "POST", "/annotations", body)
    return done


def _fetch_event_tags(grafana: Grafana, begin_ms: int, end_ms: int) -> set[str]:
    """Fetch the id tags of a period's events. A full response may be incomplete, so each half is requested again."""
    id_tags, todo = set[str](), [(begin_ms, end_ms)]
    for _ in range(_ASKED):
        if not todo:
            return id_tags
        first_ms, last_ms = todo.pop()
        period = {"from": first_ms, "to": last_ms}
        annotations = grafana.objects("read annotations", "/annotations", **period, tags=TAG, limit=_LIMIT)
        if len(annotations) >= _LIMIT and last_ms <= first_ms:
            break
        if len(annotations) >= _LIMIT:
            middle_ms = (first_ms + last_ms) // 2
            todo += [(first_ms, middle_ms), (middle_ms + 1, last_ms)]
            continue
        tags = [tag for each in annotations if isinstance(each.get("tags"), list) for tag in each["tags"]]
        id_tags |= {tag for tag in tags if isinstance(tag, str) and tag.startswith(f"{ID}:")}
    raise GrafanaError(f"{grafana.url}: too many annotations tagged {TAG}; select a shorter period with --from and --to")
