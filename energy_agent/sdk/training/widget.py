"""A live view of a training run in a notebook: power, energy so far, J/token, J/step, loss. Needs the extra `notebook`.

    run = wattlens.training(model="llama-8b")
    run.widget()          # the last line of a cell

Without JavaScript (a terminal, a saved notebook, a screen reader) the widget shows the same values as a line of text.
"""

import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from energy_agent.core.extras import install_hint
from energy_agent.runtime.threads import start_thread
from energy_agent.sdk.training.progress import Status

PERIOD_S = 1.0
_KEPT = 240
_FORGOTTEN_S = 10 * 60.0  # a run without steps for so long is over: its view is drawn no further


def number(value: float | None) -> str:
    """Four digits of a number, or "-" where it is not known."""
    if value is None:
        return "-"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def text(status: Status, name: str) -> str:
    """The view as one line."""
    parts = [
        f"{number(status.power_w)} W",
        f"{number(status.joules)} J so far",
        f"{number(status.joules_per_token)} J/token",
        f"{number(status.joules_per_step)} J/step",
        f"loss {number(status.loss)}",
        f"{status.steps:,} steps, {status.tokens:,} tokens",
    ]
    return f"{name or 'training'}: {', '.join(parts)}" + (f" ({status.reason})" if status.reason else "")


def format_status(status: Status, name: str) -> dict[str, str]:
    """What the view shows, as texts."""
    sources = {
        "agent": f"measured by the agent: all of {status.workload} on this node",
        "nvml": "measured by this process: the whole visible GPUs",
    }
    return {
        "title": f"{name or 'training'}: {status.steps:,} steps, {status.tokens:,} tokens",
        "power": number(status.power_w),
        "energy": number(status.joules),
        "per_token": number(status.joules_per_token),
        "per_step": number(status.joules_per_step),
        "loss": number(status.loss),
        "note": status.reason or sources.get(status.source, ""),
    }


def live_view(status: Callable[[], Status], name: str = "") -> Any:
    """An anywidget that follows `status` once a second.

    Raises:
        ImportError: the extra `notebook` is not installed.
    """
    try:
        anywidget: Any = import_module("anywidget")
        traitlets: Any = import_module("traitlets")
    except ImportError:
        raise ImportError(f"the live view requires the extra `notebook`: {install_hint('notebook')}") from None

    class View(anywidget.AnyWidget):  # type: ignore[misc]
        _esm = Path(__file__).with_name("widget.js")
        _css = Path(__file__).with_name("widget.css")
        shown_values = traitlets.Dict().tag(sync=True)
        history = traitlets.Dict().tag(sync=True)
        text = traitlets.Unicode().tag(sync=True)

        def __repr__(self) -> str:
            return text(status(), name)

        def refresh(self) -> Status:
            current = status()
            power, loss = (
                [*self.history.get(k, []), v][-_KEPT:] for k, v in (("power", current.power_w), ("loss", current.loss))
            )
            with self.hold_sync():
                self.text, self.history, self.shown_values = (
                    text(current, name),
                    {"power": power, "loss": loss},
                    format_status(current, name),
                )
            return current

        def follow(self) -> None:
            steps, moved_s = -1, time.monotonic()
            while time.monotonic() - moved_s < _FORGOTTEN_S and self.comm is not None:
                current = self.refresh()
                if current.steps != steps:
                    steps, moved_s = current.steps, time.monotonic()
                time.sleep(PERIOD_S)

    view = View()
    view.refresh()
    start_thread(threading.Thread(target=view.follow, name="wattlens-view", daemon=True))
    return view
