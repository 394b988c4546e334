"""`wattlens measure -- CMD`: what `time` is for seconds, for the joules of the GPUs that a program may use.

The exit code is the program's; as in a shell 127 where there is no such program, and 126 where it cannot be executed.
"""

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import REMAINDER, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import wattlens
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import list_first, printable, quoted_address
from wattlens.cli._command import Command, CommandOptions
from wattlens.cli._options import Pairs, add_simulate, enter_simulated_node, strip_separator

if TYPE_CHECKING:
    from energy_agent.config.otlp import Otlp
    from energy_agent.sdk.measure.token_endpoints import TokenEndpoints
    from energy_agent.sdk.training.step_reports import ReportedSteps
    from wattlens.gpus.selection import MeasuredGpus, NeighbourMonitor

_NO_PROGRAM, _NOT_EXECUTABLE = 127, 126
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class NotRunError(UsageError):
    """The program could not be started."""

    def __init__(self, program: str, error: OSError) -> None:
        super().__init__(f"measure: cannot run {program!r}: {error.strerror}")
        self.exit_code = _NO_PROGRAM if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE


def _configure(add: CommandOptions) -> None:
    add.parser.usage = ("\n" + " " * 24).join(
        (
            "wattlens measure [-h] [--gpus LIST | --workload NAME]",
            "[--out FILE] [--name NAME]",
            "[--tokens-from URL]... [--token-server NAME]",
            "[--label KEY=VALUE]...",
            "[--otlp URL [--otlp-headers FILE]]",
            "[--simulate [DIR]] -- CMD ...",
        )
    )
    which = add.exclusive()
    which(
        "--gpus LIST",
        "GPUs to measure: indices, ranges and UUIDs, such as 0,4-5 (default: with --tokens-from the GPUs of its "
        "server, otherwise all in CUDA_VISIBLE_DEVICES or all of the machine)",
    )
    which("--workload NAME", "measure the GPUs of this workload, as wattlens top names it")
    add("--out FILE", "write the result as JSON, as input of wattlens compare")
    add("--name NAME", "name of the run (default: the program)")
    add("--tokens-from URL", "metrics endpoint of the inference server on these GPUs", action="append", default=[])
    add("--tokens-ca-file FILE", "CA certificates of https:// endpoints (default: the system's)")
    add("--token-server NAME", "kind of server (docs/tokens.md; default: vllm)", default="vllm")
    add("--label KEY=VALUE", "label of the run, such as precision=int8 or batch=32", action=Pairs, default={})
    add("--otlp URL", "also send the result to this OpenTelemetry receiver, such as http://localhost:4318")
    add("--otlp-headers FILE", "file with headers for --otlp, a line `Name: value` each")
    add_simulate(add, "measure the simulated node that runs in DIR (see wattlens sim) instead of this machine's GPUs")
    add("command CMD", "the program and its arguments", nargs=REMAINDER)


def _run(args: Namespace) -> int:
    command = strip_separator(args.command)
    if not command:
        raise UsageError(f"measure: no command given; usage: wattlens measure -- COMMAND{_misread(args.simulate)}")
    node = enter_simulated_node(args.simulate)
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise UsageError(f"measure: --out {args.out}: no such folder")
    receiver_of_run = _otlp(args.otlp, args.otlp_headers)
    from energy_agent.sdk.measure.measurement import measure
    from energy_agent.sdk.measure.saved import saved
    from energy_agent.sdk.measure.window_tokens import WindowTokens
    from energy_agent.sdk.training.step_reports import StepReceiver
    from wattlens.gpus.selection import NeighbourMonitor, open_processes, select

    labels, tokens = _labels(args.label), None
    pages = _pages(args.tokens_from, args.token_server, args.tokens_ca_file)
    if pages is not None and (reason := pages.check()):
        raise WattlensError(f"measure: --tokens-from: {reason}; the program was not started")
    processes = open_processes(node)
    selection = select(processes, args.gpus, args.workload, args.tokens_from)
    window = measure(args.name or Path(command[0]).name, sync=False, gpus=selection.gpus or None).prepare()
    neighbours = NeighbourMonitor(processes, list(window.gpu_indices), selection)
    with neighbours, StepReceiver() as receiver, pages or contextlib.nullcontext():
        with window:
            code = _execute(command, receiver.environ, neighbours.add if not args.tokens_from else lambda _: None)
        end_ns = time.time_ns()
        if pages is not None:
            tokens = pages.read_window(window.seconds or 0.0, window.opened_ns)
    steps = receiver.total()
    if pages is None and steps is not None and steps.tokens:
        tokens = WindowTokens("program", processed=steps.tokens)
    notes = _Notes(neighbours, window.gpu_indices, len(processes.uuids) if processes is not None else 0)
    result = saved(window, tokens=tokens, labels=labels, command=command, exit_code=code, shared=notes.shared, steps=steps)
    result |= {"gpus": notes.name(result["gpus"], selection), "other_workloads": sorted(neighbours.others)}
    result |= {"other_ports": list(selection.ports)} if selection.ports else {}
    if args.out is not None:
        import json

        try:
            args.out.write_text(json.dumps(result, indent=2) + "\n")
        except OSError as error:
            raise WattlensError(f"measure: cannot write {args.out}: {error.strerror}") from None
    sent = [] if receiver_of_run is None else [_send(result, end_ns, receiver_of_run)]
    _print(result, [*notes.lines(steps, result["reason"] or ""), *sent])
    return code


def _misread(simulate: Path | None) -> str:
    """What became of a command without `--` after `--simulate`."""
    read = simulate is not None and simulate != Path() and not simulate.is_dir()
    return f" ({simulate} was read as the folder of --simulate)" if read else ""


@dataclass(frozen=True, slots=True)
class _Notes:
    """What a person has to know of the GPUs that were measured: `indices` by UUID, of `count` GPUs."""

    neighbours: "NeighbourMonitor"
    indices: Mapping[str, int]
    count: int

    @property
    def shared(self) -> str:
        """Why the joules are not those of one workload; "" where they are."""
        others = self.neighbours.others
        if not others:
            return ""
        return f"other workloads used {self._words(set().union(*others.values()))}: {list_first(sorted(others), 5)}"

    def name(self, gpus: str, selection: "MeasuredGpus") -> str:
        """The GPUs in words, with where they are from."""
        if selection.why:
            return f"{gpus}, {selection.why}"
        return f"{gpus} of this machine" if gpus.startswith("all ") else gpus

    def lines(self, steps: "ReportedSteps | None", reason: str) -> list[str]:
        """Warnings and notes, a line each.

        Args:
            steps: of the program.
            reason: why there is no energy; "" if there is.
        """
        neighbours, lines = self.neighbours, []
        if self.shared:
            free = self._describe_free()
            lines.append(
                f"warning: {self.shared}; the joules include their energy: select GPUs with --gpus or --workload"
                + (f" (no process uses {free})" if free else "")
            )
        if ports := neighbours.selection.ports:
            lines.append(
                f"warning: processes of the server also listen on port {list_first(list(map(str, ports)), 5)}: if another "
                "server is there, the joules and J/token include its energy; select GPUs with --gpus, or add it with "
                "--tokens-from"
            )
        if neighbours.unseen:
            lines.append(
                f"note: some processes on {self._words(neighbours.unseen)} are hidden (another pid namespace, hidepid): "
                "other workloads may have used these GPUs"
            )
        if neighbours.processes is None and "LIBRARY_NOT_FOUND" in reason:
            lines.append("note: no NVIDIA driver found; without a GPU: wattlens sim start h100-node, then measure --simulate")
        unused = set(self.indices) - neighbours.used
        if not neighbours.selection.gpus and neighbours.used and unused:
            lines.append(
                f"note: no process used {self._words(unused)}; select the other GPUs with --gpus to exclude their energy"
            )
        if steps is not None and steps.ranks < steps.world:
            lines.append(
                f"note: {steps.ranks} of {steps.world} ranks ran on this node: joules, steps and tokens do not include "
                "the others"
            )
        return lines

    def _describe_free(self) -> str:
        """GPUs of this machine that no process uses, so that they could be measured instead; "" for none."""
        from energy_agent.sdk.measure.visible import describe_gpus

        processes, free = self.neighbours.processes, self.neighbours.free or set()
        if processes is None or not free:
            return ""
        return describe_gpus([i for i, uuid in enumerate(processes.uuids) if uuid in free], self.count)

    def _words(self, uuids: set[str]) -> str:
        from energy_agent.sdk.measure.visible import describe_gpus

        return describe_gpus((self.indices[uuid] for uuid in uuids if uuid in self.indices), self.count)


def _execute(command: list[str], environ: Mapping[str, str], started: Callable[[int], None]) -> int:
    """Run it in the foreground; its exit code, 128 + N where signal N ended it, as a shell has it.

    Args:
        command: the program and its arguments.
        environ: what it has in its environment in addition to ours.
        started: called with its pid.

    Raises:
        NotRunError: there is no such program, or it cannot be executed.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if child is not None:
            child.send_signal(number)
        else:
            early.append(number)

    # Before the program starts, so that no signal finds us without a handler while it runs.
    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    # The terminal sends Ctrl-C to both; the program decides, and what it used until then is still shown.
    before |= {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        try:
            child = subprocess.Popen(command, env={**os.environ, **environ})
        except OSError as error:
            raise NotRunError(command[0], error) from None
        for number in early:
            child.send_signal(number)
        started(child.pid)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _otlp(url: str | None, headers: Path | None) -> "Otlp | None":
    """The receiver of `--otlp`, checked before the program runs.

    Raises:
        UsageError: the URL or the file is wrong, or the exporter is not installed.
    """
    if url is None:
        if headers is not None:
            raise UsageError("measure: --otlp-headers is used only with --otlp")
        return None
    from pydantic import ValidationError

    from energy_agent.config.otlp import Otlp
    from energy_agent.otlp.sender import read_headers

    try:
        receiver = Otlp(endpoint=url, headers_file=headers, timeout_s=5)
    except ValidationError:
        expected = "expected http(s)://HOST[:PORT][/PATH] without user and password"
        raise UsageError(f"measure: --otlp: {expected}, got {quoted_address(url)}") from None
    read_headers(headers, "measure: --otlp-headers")
    try:
        importlib.import_module("opentelemetry.exporter.otlp.proto.http")
    except ImportError as error:
        raise UsageError(f"measure: --otlp needs an extra: {install_hint('otlp')} ({error})") from None
    return receiver


def _send(result: Mapping[str, Any], end_ns: int, receiver: "Otlp") -> str:
    """Send the result; a line about it. A receiver that fails changes neither result nor exit code."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    from energy_agent.otlp.run import export_run

    ours = Resource({"service.name": "wattlens", "service.version": wattlens.__version__, "host.name": socket.gethostname()})
    failure = export_run(result, end_ns, receiver, ours.merge(OTELResourceDetector().detect()), os.environ)
    return f"warning: --otlp {receiver.endpoint}: not sent: {failure}" if failure else f"sent to {receiver.endpoint}"


def _labels(labels: dict[str, str]) -> dict[str, str]:
    from energy_agent.sdk.measure.saved import checked_labels

    try:
        return checked_labels(labels)
    except ValueError as error:
        raise UsageError(f"measure: --label: {error}") from None


def _pages(urls: list[str], server: str, ca_file: Path | None) -> "TokenEndpoints | None":
    if not urls:
        return None
    from energy_agent.runtime.clock import clock_for
    from energy_agent.sdk.measure.token_endpoints import TokenEndpoints

    return TokenEndpoints(urls, server, clock_for(os.environ), ca_file)


def _print(result: dict[str, Any], notes: list[str]) -> None:
    """On standard error, as `time` does: standard output is the program's."""
    rows = [f"{'seconds':8}{result['seconds']:>14.3f}"]
    if result["joules"] is None:
        rows.append(f"{'joules':8}{'-':>14}  not measured: {result['reason']}")
    else:
        rows.append(f"{'joules':8}{result['joules']:>14.1f}  ({result['lower']:.1f} to {result['upper']:.1f}) {result['gpus']}")
        rows.append(f"{'watts':8}{result['mean_watts']:>14.1f}  mean")
    devices = result["devices"] if len(result["devices"]) > 1 else {}
    for uuid, device in devices.items():
        name = uuid[:12] if device["gpu"] is None else f"GPU {device['gpu']}"
        if device["joules"] is None:
            rows.append(f"  {name:12}{'-':>8} J  {device['reason']}")
        else:
            rows.append(f"  {name:12}{device['joules']:>8.1f} J  ({device['lower']:.1f} to {device['upper']:.1f})")
    rows += [*_step_rows(result), *_token_rows(result)]
    if result["method"]:
        rows.append(f"method  {result['method']}" + ("; simulated GPUs" if result["simulated"] else ""))
    print("\n" + "\n".join(map(printable, [*rows, *notes])), file=sys.stderr)


def _step_rows(result: dict[str, Any]) -> list[str]:
    steps = result.get("steps")
    if steps is None:
        return []
    return [_per_row("J/step", result["joules_per_step"], f"{steps['steps']} steps", "steps")]


def _token_rows(result: dict[str, Any]) -> list[str]:
    tokens = result.get("tokens")
    if tokens is None:
        return []
    counts = {"generated": tokens["generation"], "processed": tokens["processed"]}
    if tokens["source"] == "program":
        counts = {"processed": tokens["processed"]}
    rows = [
        _per_row("J/token", result["joules_per_token"][what], f"{what}, {count} tokens", what) for what, count in counts.items()
    ]
    if tokens["running"] is not None:
        rows.append(f"{'batch':8}{tokens['running']:>14.1f} running requests, mean")
    if tokens["moves"] == "request":
        rows.append("tokens counted by the server when a request ends")
    return rows


def _per_row(name: str, per: dict[str, Any], counted: str, what: str) -> str:
    if per["joules"] is None:
        if per["reason"].startswith("not measured"):  # the row of the joules has the reason
            return f"{name:8}{'-':>14}  {counted}"
        return f"{name:8}{'-':>14}  {what}: {per['reason']}"
    return f"{name:8}{per['joules']:>14.4g}  ({per['lower']:.4g} to {per['upper']:.4g}) {counted}"


SPEC = Command("run a command and report the energy its GPUs used, like `time` for joules", _configure, _run)
