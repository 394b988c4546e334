"""Measured windows as spans of a real tracer, on a simulated node; without one nothing of OpenTelemetry is imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.energy_agent.nodes import environ_of, make_plant

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otlp")

PRELUDE = """
import json, os, sys, time
from energy_agent.sdk.measure import connection
from wattlens import measure
connection.START_S = connection.ANSWER_S = 60.0
"""
TRACED = (
    PRELUDE
    + """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
class Prints(SpanExporter):
    def export(self, spans):
        for s in spans:
            os.write(1, json.dumps({
                "name": s.name, "span": s.context.span_id, "trace": s.context.trace_id, "parent": s.parent and s.parent.span_id,
                "start": s.start_time, "end": s.end_time, "status": s.status.status_code.name, "attributes": dict(s.attributes),
            }).encode() + b"\\n")
        return SpanExportResult.SUCCESS
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Prints()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("test")
"""
)


def run(folder: Path, code: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environ_of(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def node(tmp_path: Path):  # type: ignore[no-untyped-def]
    with make_plant(tmp_path / "node", 1):
        yield tmp_path / "node"


def test_a_window_is_a_child_span_with_its_energy_and_its_own_times(node: Path) -> None:
    lines = run(node, TRACED + """
with tracer.start_as_current_span("job"):
    with measure("step") as m: time.sleep(0.2)
    joules, low, high = m.joules, m.low, m.high
print(json.dumps({"joules": joules, "low": low, "high": high, "seconds": m.seconds}))
""")  # fmt: skip
    (window,) = [line for line in lines if "joules" in line]
    by_name = {line["name"]: line for line in lines if "name" in line}
    step, job = by_name["step"], by_name["job"]
    assert (step["parent"], step["trace"]) == (job["span"], job["trace"])
    attributes = step["attributes"]
    assert isinstance(attributes, dict)
    assert attributes["wattlens.energy.joules"] == window["joules"]
    assert attributes["wattlens.energy.lower_joules"] == window["low"]
    assert attributes["wattlens.energy.upper_joules"] == window["high"]
    assert attributes["wattlens.simulated"] is True
    assert (step["end"] - step["start"]) / 1e9 == pytest.approx(window["seconds"], abs=0.05)  # type: ignore[operator]


def test_span_of_a_failed_block_has_the_error_and_its_energy(node: Path) -> None:
    (step,) = [span for span in run(node, TRACED + """
with tracer.start_as_current_span("job"):
    try:
        with measure("step"):
            time.sleep(0.1)
            raise ValueError("of the block")
    except ValueError: pass
""") if span["name"] == "step"]  # fmt: skip
    assert step["status"] == "ERROR"
    assert step["attributes"]["wattlens.energy.joules"] > 0  # type: ignore[index]


def test_a_window_that_is_entered_again_has_a_reason_instead_of_the_energy_of_another(node: Path) -> None:
    spans = run(node, TRACED + """
with tracer.start_as_current_span("job"):
    m = measure("step").prepare()
    for _ in range(3):
        with m: pass
""")  # fmt: skip
    steps = [span["attributes"] for span in spans if span["name"] == "step"]
    assert len(steps) == 3
    assert "entered again" in str(steps[0])
    assert "wattlens.energy.joules" in str(steps[-1])


def test_without_a_span_there_is_none_and_nothing_is_imported(node: Path) -> None:
    assert run(node, PRELUDE + """
with measure() as m: time.sleep(0.1)
m.joules
print(json.dumps({"imported": [name for name in sys.modules if name.startswith("opentelemetry")]}))
""") == [{"imported": []}]  # fmt: skip


def test_a_training_run_is_a_child_of_the_current_span_and_has_its_energy(node: Path) -> None:
    code = (
        TRACED
        + """
import wattlens
from energy_agent.sdk.training import reporter
reporter._PATIENCE_S = 0.0
with tracer.start_as_current_span("job"):
    with wattlens.training(model="llama") as run:
        for _ in range(100):
            wattlens.step(tokens=10)
            time.sleep(0.05)
            if run.status(wait=False).joules:
                break
with wattlens.training(model="alone"):
    wattlens.step()
"""
    )
    spans = run(node, code)
    assert [span["name"] for span in spans] == ["llama", "job"]
    assert spans[0]["parent"] == spans[1]["span"]
    attributes = spans[0]["attributes"]
    assert isinstance(attributes, dict)
    assert attributes["wattlens.energy.joules"] > 0
    assert attributes["wattlens.energy.lower_joules"] < attributes["wattlens.energy.joules"]
    assert attributes["wattlens.simulated"] is True
    assert attributes["wattlens.tokens"] == 10 * attributes["wattlens.steps"]
