"""`wattlens doctor`: what this node supports, what is missing and what to do about it; measures its sensors on request."""

import shutil
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_json
from wattlens.cli._options import AGENT_FILES, add_agent_files, add_simulate, agent_access, duration, number, simulated_node
from wattlens.doctor.finding import CheckContext

if TYPE_CHECKING:
    from energy_agent.config.agent import Config


def _configure(add: CommandOptions) -> None:
    measure = add.exclusive()
    measure(
        "--sensors GPU",
        "measure the clocks and windows of the sensors of every GPU, or of one",
        nargs="?",
        type=number(int, 0, 63),
        const=-1,
    )
    measure("--overhead", "measure the power and CPU time that the agent's readings add")
    measure("--capture FILE", "record every NVML reply of this node in FILE")
    measure("--acceptance", "compare the agent with the raw counters; exit code 1 if a criterion fails")
    add("--config FILE", "the agent's YAML file")
    add("--state DIR", "the agent's state folder, if not the default")
    add("--listen ADDR:PORT", "address at which the agent would serve /metrics")
    add_simulate(add, "check the simulated node that runs in DIR (see wattlens sim) instead of this machine")
    add(
        "--for TIME",
        "duration (default: --sensors 1m, --capture 2s, per block of --overhead 10s, --acceptance 10m)",
        dest="seconds",
        type=duration(0.5, 3600),
    )
    add(
        "--out FILE",
        "with --sensors GPU: write a capture file, which the simulator loads; with --acceptance: write the result file",
    )
    add("--pairs N", "with --overhead: number of pairs of blocks (default 6)", type=number(int, 2, 1000))
    add("--seed N", "with --overhead: seed of the order within pairs (default 0)", type=int)
    add("--pseudonyms", "with --capture: replace UUIDs and serial numbers", default=None)
    add("--json", "print JSON")
    _configure_acceptance(add.group("with --acceptance"))


def _configure_acceptance(group: CommandOptions) -> None:
    group("--engine URL", "metrics endpoint of an inference engine, repeatable (default: those in --config)", action="append")
    group("--key FILE", "private key that signs the result (default: signing.key in the state folder)")
    group("--label TEXT", "your own text in the result, such as the name of a cluster")
    group(
        "--url URL",
        "the agent's metrics endpoint (default: --listen; if no agent responds there, or with "
        "--simulate, a private one is started)",
    )
    add_agent_files(group)


def _run(args: Namespace) -> int:
    from energy_agent.config import agent as configuration
    from wattlens.agent.run import simulated_environ

    if args.seconds is not None and not (args.sensors is not None or args.overhead or args.capture or args.acceptance):
        raise UsageError("--for: expected together with --sensors, --overhead, --acceptance or --capture FILE")
    for main_option, is_given, options in (
        ("--overhead", args.overhead, ("pairs", "seed")),
        ("--acceptance", args.acceptance, ("engine", "key", "label", "url", *AGENT_FILES)),
        ("--capture FILE", args.capture, ("pseudonyms",)),
        ("--sensors GPU or --acceptance", args.sensors is not None or args.acceptance, ("out",)),
    ):
        for option in options:
            if getattr(args, option) is not None and not is_given:
                raise UsageError(f"--{option.replace('_', '-')}: expected together with {main_option}")
    args.simulate = simulated_node(args.simulate)
    config = configuration.load(args.config)
    environ = simulated_environ(args.simulate)
    if args.sensors is not None:
        return _sensors(args, environ)
    if args.overhead:
        from wattlens.doctor import overhead

        result = overhead.measure(environ, config.sampling.period_s, args.seconds or 10.0, args.pairs or 6, args.seed or 0)
        _print(args, result, overhead.text(result))
        return 0
    if args.capture is not None:
        from wattlens.doctor import capturing

        summary = capturing.write(args.capture, environ, args.seconds or 2.0, pseudonyms=args.pseudonyms is not None)
        _print(args, summary, capturing.text(summary))
        return 0
    if args.acceptance:
        return _accept(args, config, environ)
    return _examine(args, config, environ)


def _sensors(args: Namespace, environ: dict[str, str]) -> int:
    from wattlens.doctor import capturing, sensor_plot, sensors

    if args.out is not None:
        capturing.check_free(args.out)
    gpu = None if args.sensors < 0 else args.sensors
    measured = sensors.measure(environ, args.seconds or 60.0, gpu, single=args.out is not None)
    if args.out is not None:
        sensors.write_capture(args.out, measured)
    if args.json:
        print_json(measured.as_json())
    else:
        sensor_plot.show(sensors.describe(measured))
    return 0


def _examine(args: Namespace, config: "Config", environ: dict[str, str]) -> int:
    from energy_agent.runtime.clock import clock_for
    from wattlens.agent.run import node_name
    from wattlens.doctor.examine import examine
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
    _print(args, examination.as_json(), page(examination, shutil.get_terminal_size((80, 24)).columns))
    return 0 if examination.can_run else 1


def _accept(args: Namespace, config: "Config", environ: dict[str, str]) -> int:
    from wattlens.doctor import capturing
    from wattlens.doctor.acceptance import command, result_file
    from wattlens.doctor.acceptance.run import AcceptanceOptions, measure
    from wattlens.doctor.acceptance.text import describe

    seconds, label = args.seconds or 600.0, args.label or ""
    command.check(label, args.out, seconds)
    access, may_start = agent_access(args, command.agent_url(args.listen or config.web.listen))
    options = AcceptanceOptions(access, may_start, args.simulate, seconds, args.engine or (), label)
    signer, unsigned = command.open_signer(args.key, args.state)
    data = result_file.encode(measure(options, config, environ), signer)
    result = result_file.decode(data, "the result").result
    if args.out is not None:
        capturing.write_new(args.out, data)
    _print(args, asdict(result), describe(result, unsigned, args.out))
    return 0 if result.accepted else 1


def _print(args: Namespace, document: dict[str, Any], text: str) -> None:
    if args.json:
        print_json(document)
    else:
        print(text)


SPEC = Command("check what this node supports, what is missing, and how to fix it", _configure, _run)
