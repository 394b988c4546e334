"""`wattlens doctor`: what this node supports, what is missing and what to do about it; measures its sensors on request."""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command
from wattlens.cli._options import AGENT_FILES, add_agent_files, add_simulate, duration, number, simulated_node

if TYPE_CHECKING:
    from energy_agent.config.agent import Config


def _configure(parser: argparse.ArgumentParser) -> None:
    measure = parser.add_mutually_exclusive_group()
    measure.add_argument("--sensors", nargs="?", type=number(int, 0, 63), const=-1, metavar="GPU",
                         help="measure the clocks and windows of the sensors of every GPU, or of one")  # fmt: skip
    measure.add_argument("--overhead", action="store_true",
                         help="measure the power and CPU time that the agent's readings add")  # fmt: skip
    measure.add_argument("--capture", type=Path, metavar="FILE",
                         help="record every NVML reply of this node in FILE")  # fmt: skip
    measure.add_argument("--acceptance", action="store_true",
                         help="compare the agent with the raw counters; exit code 1 if a criterion fails")  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="the agent's YAML file")
    parser.add_argument("--state", type=Path, metavar="DIR", help="the agent's state folder, if not the default")
    parser.add_argument("--listen", metavar="ADDR:PORT", help="address at which the agent would serve /metrics")
    add_simulate(parser, "check the simulated node that runs in DIR (see wattlens sim) instead of this machine")
    parser.add_argument("--for", dest="seconds", type=duration(0.5, 3600), metavar="TIME",
                        help="duration (default: --sensors 1m, --capture 2s, per block of --overhead 10s, "
                        "--acceptance 10m)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="with --sensors GPU: write a capture file, which the simulator loads; with --acceptance: "
                        "write the result file")  # fmt: skip
    parser.add_argument("--pairs", type=number(int, 2, 1000), metavar="N",
                        help="with --overhead: number of pairs of blocks (default 6)")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="with --overhead: seed of the order within pairs (default 0)")
    parser.add_argument("--pseudonyms", action="store_true",
                        help="with --capture: replace UUIDs and serial numbers")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    _configure_acceptance(parser.add_argument_group("with --acceptance"))


def _configure_acceptance(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", action="append", metavar="URL",
                       help="metrics endpoint of an inference engine, repeatable (default: those in --config)")  # fmt: skip
    group.add_argument("--key", type=Path, metavar="FILE",
                       help="private key that signs the result (default: signing.key in the state folder)")  # fmt: skip
    group.add_argument("--label", metavar="TEXT", default="", help="your own text in the result, such as the name of a cluster")
    group.add_argument("--url", metavar="URL",
                       help="the agent's metrics endpoint (default: --listen; if no agent responds there, or with "
                       "--simulate, a private one is started)")  # fmt: skip
    add_agent_files(group)


def _run(args: argparse.Namespace) -> int:
    from energy_agent.config import agent as configuration
    from wattlens.agent.run import simulated_environ

    if args.seconds is not None and not (args.sensors is not None or args.overhead or args.capture or args.acceptance):
        raise UsageError("--for: expected together with --sensors, --overhead, --acceptance or --capture FILE")
    for option in ("pairs", "seed"):
        if getattr(args, option) is not None and not args.overhead:
            raise UsageError(f"--{option}: expected together with --overhead")
    for option in ("engine", "key", "label", "url", *AGENT_FILES):
        if getattr(args, option) and not args.acceptance:
            raise UsageError(f"--{option.replace('_', '-')}: expected together with --acceptance")
    if args.pseudonyms and args.capture is None:
        raise UsageError("--pseudonyms: expected together with --capture FILE")
    if args.out is not None and args.sensors is None and not args.acceptance:
        raise UsageError("--out: expected together with --sensors GPU or --acceptance")
    args.simulate = simulated_node(args.simulate)
    config = configuration.load(args.config)
    environ = simulated_environ(args.simulate)
    if args.sensors is not None:
        return _sensors(args, environ)
    if args.overhead:
        from wattlens.doctor import overhead

        result = overhead.measure(environ, config.sampling.period_s, args.seconds or 10.0, args.pairs or 6, args.seed or 0)
        print(json.dumps(result, indent=2) if args.json else overhead.text(result), end="\n" if args.json else "")
        return 0
    if args.capture is not None:
        return _capture(args, environ)
    if args.acceptance:
        return _accept(args, config, environ)
    return _examine(args, config, environ)


def _sensors(args: argparse.Namespace, environ: dict[str, str]) -> int:
    from wattlens.doctor import capturing, sensor_plot, sensors

    if args.out is not None:
        capturing.check_free(args.out)
    gpu = None if args.sensors < 0 else args.sensors
    measured = sensors.measure(environ, args.seconds or 60.0, gpu, single=args.out is not None)
    if args.out is not None:
        sensors.write_capture(args.out, measured)
    if args.json:
        print(json.dumps(measured.as_json(), indent=2))
    else:
        sensor_plot.show(sensors.describe(measured))
    return 0


def _examine(args: argparse.Namespace, config: "Config", environ: dict[str, str]) -> int:
    from energy_agent.runtime.clock import clock_for
    from wattlens.agent.run import node_name
    from wattlens.doctor.examine import examine
    from wattlens.doctor.facts import CheckContext
    from wattlens.doctor.page import page
    from wattlens.doctor.probing import probe
    from wattlens.state_folder import default_state_dir

    clock = clock_for(environ)
    began = clock.utc_ns(), clock.boot_ns()
    facts = CheckContext(
        config,
        args.state or default_state_dir(),
        args.listen or config.web.listen,
        args.simulate,
        environ,
        clock,
        args.simulate / "proc" if args.simulate is not None else config.node.procfs,
        probe(environ),
        *began,
    )
    examination = examine(facts, node_name(config))
    if args.json:
        print(json.dumps(examination.as_json(), indent=2))
    else:
        sys.stdout.write(page(examination, shutil.get_terminal_size((80, 24)).columns))
    return 0 if examination.can_run else 1


def _accept(args: argparse.Namespace, config: "Config", environ: dict[str, str]) -> int:
    from wattlens.agent_access import AgentAccess
    from wattlens.doctor import capturing
    from wattlens.doctor.acceptance import command, result_file
    from wattlens.doctor.acceptance.run import AcceptanceOptions, measure
    from wattlens.doctor.acceptance.text import describe

    seconds = args.seconds or 600.0
    command.check(args.label, args.out, seconds)
    files = [getattr(args, name) for name in AGENT_FILES]
    url = args.url or command.agent_url(args.listen or config.web.listen)
    may_start = args.url is None and not any(files)
    access = AgentAccess(url, *files)
    options = AcceptanceOptions(access, may_start, args.simulate, seconds, args.engine or (), args.label)
    signer, unsigned = command.open_signer(args.key, args.state)
    data = result_file.encode(measure(options, config, environ), signer)
    result = result_file.decode(data, "the result").result
    if args.out is not None:
        capturing.write_new(args.out, data)
    print(json.dumps(asdict(result), indent=2) if args.json else describe(result, unsigned, args.out))
    return 0 if result.accepted else 1


def _capture(args: argparse.Namespace, environ: dict[str, str]) -> int:
    from wattlens.doctor import capturing

    said = capturing.write(args.capture, environ, args.seconds or 2.0, pseudonyms=args.pseudonyms)
    print(json.dumps(said, indent=2) if args.json else capturing.text(said), end="\n" if args.json else "")
    return 0


SPEC = Command("check what this node supports, what is missing, and how to fix it", _configure, _run)
