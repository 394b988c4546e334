"""`wattlens report verify`: whether a report is as it was made, who signed it, and whether the ledger gives its figures."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wattlens.cli._options import add_store_limits

if TYPE_CHECKING:
    from reports.audit.verification import Changed, Draw, Rebuild, Verification, VerificationStep

_MARK = {True: "ok", False: "FAILED", None: "-"}
_MOST = 40
NO_KEY = (
    "wattlens: warning: without --key nothing shows who signed the report, or that a signature was not removed or replaced; "
    "obtain the signer's public key separately and give it with --key FILE"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `wattlens report verify`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the report")
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="trusted public key (PEM, or 32 bytes in base64); signatures by other keys are then rejected; may be repeated",
    )
    parser.add_argument(
        "--require-signature",
        action="store_true",
        help="fail if the report has no signature; with --key, a signature by one of these keys is always required",
    )
    parser.add_argument(
        "--ledger",
        default=argparse.SUPPRESS,
        metavar="URL",
        help="compacted days: recompute the facts and compare them byte for byte",
    )
    parser.add_argument(
        "--org",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="organisation file that the report was created with; sufficient for a report of invoices alone",
    )
    parser.add_argument(
        "--font-dir",
        type=Path,
        action="append",
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="folder with the fonts of the PDF for other scripts; may be repeated",
    )
    add_store_limits(parser.add_argument, argparse.SUPPRESS, argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(
    args: argparse.Namespace,
    rebuild: "Rebuild | None" = None,
    changed: "Changed | None" = None,
    draw: "Draw | None" = None,
) -> int:
    """Check and say what was found: 0 where everything holds, 1 where something does not."""
    from energy_agent.core.text import printable
    from reports.audit.verification import verify
    from wattlens import __version__

    result = verify(
        args.folder, args.key, rebuild=rebuild, changed=changed, draw=draw, ledger=args.ledger, org=args.org,
        require_signature=args.require_signature, program=f"wattlens {__version__}",
    )  # fmt: skip
    lines = [json.dumps(_as_json(result), indent=2)] if args.json else [printable(line) for line in _lines(result)]
    print("\n".join(lines))
    if not args.key:
        print(NO_KEY, file=sys.stderr)
    return 0 if result.ok else 1


def _lines(result: "Verification") -> list[str]:
    from reports.audit.shown import change_lines, input_lines

    width = max(len(check.name) for check in result.checks)
    lines = [_line(check, width) for check in result.checks]
    if result.inputs is not None:
        lines += ["", "Inputs that differ (report -> reproduced):", *input_lines(result.inputs)]
    if result.changes:
        lines += ["", "Figures that differ:", *change_lines(result.changes[:_MOST])]
    if len(result.changes) > _MOST:
        lines.append(f"and {len(result.changes) - _MOST} more; --json lists all")
    if result.elsewhere:
        lines += ["", f"Other differences: {', '.join(result.elsewhere)}"]
    bad = sum(check.ok is False for check in result.checks)
    return [*lines, "", "All checks passed." if result.ok else f"{bad} of {len(result.checks)} checks FAILED."]


def _line(check: "VerificationStep", width: int) -> str:
    return f"{_MARK[check.ok]:<7} {check.name:<{width}}  {check.detail}".rstrip()


def _as_json(result: "Verification") -> dict[str, object]:
    from dataclasses import asdict

    from reports.audit.shown import change_json

    return {
        "ok": result.ok,
        "checks": [{"check": check.name, "ok": check.ok, "detail": check.detail} for check in result.checks],
        "inputs": None if result.inputs is None else [asdict(each) for each in result.inputs],
        "changes": [change_json(each) for each in result.changes],
        "elsewhere": result.elsewhere,
    }
