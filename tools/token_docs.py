"""Tables of inference servers in energy_agent/tokens/servers/README.md, from their declarations."""

from collections.abc import Iterator

import energy_agent.tokens.servers
from energy_agent.core import plugin
from energy_agent.tokens.server_spec import FIELDS, Name, TokenServer

_MEANING = {
    "prompt": "prompt tokens, cached ones included",
    "cached": "of them, found in a cache",
    "computed": "of them, computed",
    "generation": "generated tokens",
    "requests": "requests that ended",
    "steps": "engine steps",
    "drafts": "draft tokens of speculative decoding",
    "accepted": "of them, accepted",
    "aborted": "requests that were aborted",
    "running": "requests in the batch",
    "waiting": "requests that wait",
    "ttft": "time to first token",
    "itl": "time between two tokens",
    "tpot": "mean time per output token of a request",
    "prompt_per_request": "prompt tokens per request",
    "computed_per_request": "computed prompt tokens per request",
    "generation_per_request": "generated tokens per request",
    "started": "when counting began",
}
_MOVES = {"step": "with every engine step", "request": "when a request ends"}


def tables() -> str:
    """One table of all servers, and one of names for each."""
    servers: dict[str, TokenServer] = plugin.discover(energy_agent.tokens.servers)
    servers.pop("mapping")
    head = "\n| `server` | what | checked against | token counters move |\n| --- | --- | --- | --- |\n"
    rows = (f"| `{name}` | {s.summary} | {s.checked} | {_MOVES[s.moves]} |\n" for name, s in servers.items())
    return head + "".join(rows) + "".join(_names(name, s) for name, s in servers.items()) + "\n"


def _names(name: str, server: TokenServer) -> str:
    rows = "".join(f"| {_MEANING.get(value, value)} | {cell} |\n" for value, cell in _cells(server))
    return f"\n### {name}\n\n{server.note}\n\n| value | name on the page, the first that is there |\n| --- | --- |\n{rows}"


def _cells(server: TokenServer) -> Iterator[tuple[str, str]]:
    for value in (*FIELDS, "started"):
        names: tuple[Name, ...] = getattr(server, value)
        if names:
            yield value, "; ".join(map(_name, names))
    if server.model_label:
        yield "model", f"label `{server.model_label}`"
    if server.engine_labels:
        yield "engines apart", " ".join(f"label `{label}`" for label in server.engine_labels)
    if server.copies:
        yield "copies, of which the lowest counts", " ".join(f"label `{label}`" for label in server.copies)


def _name(name: Name) -> str:
    text = str(name).replace("|", "\\|")
    return f"`{text}`" + (f" ({name.versions})" if name.versions else "")
