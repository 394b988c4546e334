"""Any server with Prometheus text format: the configuration maps the names."""

from collections.abc import Iterable

from energy_agent.config.tokens import TokenMapping, TokenSource, selector
from energy_agent.tokens.reading import ModelReading
from energy_agent.tokens.server_spec import FIELDS, Name, TokenServer

SPEC = TokenServer(
    summary="any server, with its metric names under `mapping`",
    checked="the configuration",
    moves="request",
    note="See below.",
)


def of(mapping: TokenMapping) -> TokenServer:
    """The server that a configuration describes."""

    def names(key: str, *, latency: bool = False) -> tuple[Name, ...]:
        text = getattr(mapping, key)
        if text is None:
            return ()
        metric, where = selector(text)
        return (Name(metric, where=where, unit=mapping.unit if latency else "s"),)

    return TokenServer(
        summary="the server configured in `mapping`",
        checked=SPEC.checked,
        moves=mapping.moves,
        model_label=mapping.model_label,
        engine_labels=(mapping.engine_label,) if mapping.engine_label else (),
        prompt=names("prompt"),
        cached=names("cached"),
        computed=names("computed"),
        generation=names("generation"),
        requests=names("requests"),
        steps=names("steps"),
        drafts=names("drafts"),
        accepted=names("accepted"),
        aborted=names("aborted"),
        running=names("running"),
        waiting=names("waiting"),
        ttft=names("ttft", latency=True),
        itl=names("itl", latency=True),
        tpot=names("tpot", latency=True),
        prompt_per_request=names("prompt_per_request"),
        computed_per_request=names("computed_per_request"),
        generation_per_request=names("generation_per_request"),
    )


def missing_names(source: TokenSource, readings: Iterable[ModelReading]) -> frozenset[str]:
    """Keys of a source's `mapping` whose name is not on the page that was read; none of a server that is known."""
    names = source.mapping
    if names is None:
        return frozenset()
    readings = tuple(readings)
    present_keys = {key for reading in readings for key in reading.names}
    if source.model or any(reading.model for reading in readings):
        present_keys.add("model_label")
    if any(engine.engine for reading in readings for engine in reading.engines):
        present_keys.add("engine_label")
    return frozenset(key for key in (*FIELDS, "model_label", "engine_label") if getattr(names, key) and key not in present_keys)


def missing(source: TokenSource, key: str) -> str:
    """What to say of a key whose name the page has never had."""
    name = getattr(source.mapping, key)
    return f"mapping.{key}: " + (
        f"no series has the label {name}" if key.endswith("_label") else f"the response has no metric {name}"
    )
