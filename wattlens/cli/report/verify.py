"""`wattlens report verify`: whether a report is as it was made, who signed it, and whether the ledger gives its figures."""

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from wattlens.cli._command import CommandOptions, print_json, print_lines
from wattlens.cli._options import add_store_limits

if TYPE_CHECKING:
    from reports.audit.verification import Changed, Draw, Rebuild, Verification, VerificationStep

SUMMARY = "check a report's files and signature, and reproduce its figures from the ledger"
_MARK = {True: "ok", False: "FAILED", None: "-"}
_MOST = 40
NO_KEY = (
    "wattlens: warning: without --key nothing shows who signed the report, or that a signature was not removed or replaced; "
    "obtain the signer's public key separately and give it with --key FILE"
)


def configure(add: CommandOptions) -> None:
    """Arguments of `wattlens report verify`."""
    add("folder DIR", "folder of the report")
    add(
        "--key FILE",
        "trusted public key (PEM, or 32 bytes in base64); signatures by other keys are then rejected; may be repeated",
        action="append",
        default=[],
    )
    add(
        "--require-signature",
        "fail if the report has no signature; with --key, a signature by one of these keys is always required",
    )
    add("--ledger URL", "compacted days: recompute the facts and compare them byte for byte")
    add("--org FILE", "organisation file that the report was created with; sufficient for a report of invoices alone")
    add("--font-dir DIR", "folder with the fonts of the PDF for other scripts; may be repeated", action="append", default=[])
    add_store_limits(add)
    add("--json", "print JSON")


def run(
    args: Namespace,
    rebuild: "Rebuild | None" = None,
    changed: "Changed | None" = None,
    draw: "Draw | None" = None,
) -> int:
    """Check and say what was found: 0 where everything holds, 1 where something does not."""
    from reports.audit.verification import verify
    from wattlens import __version__

    result = verify(
        args.folder, args.key, rebuild=rebuild, changed=changed, draw=draw, ledger=args.ledger, org=args.org,
        require_signature=args.require_signature, program=f"wattlens {__version__}",
    )  # fmt: skip
    if args.json:
        print_json(_as_json(result))
    else:
        print_lines(_lines(result))
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
