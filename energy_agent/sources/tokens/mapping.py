"""Any page in Prometheus text format: the names are in the configuration."""

from energy_agent.config_tokens import TokenMapping, selector
from energy_agent.sources.tokens._server import Name, TokenServer

SPEC = TokenServer(
    summary="any server, its names under `mapping`",
    checked="what the configuration says",
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
        summary="the server that `mapping` describes",
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
        running=names("running"),
        waiting=names("waiting"),
        ttft=names("ttft", latency=True),
        itl=names("itl", latency=True),
    )
