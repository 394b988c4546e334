"""Verification of a report's folder: files, signature, and whether the ledger still gives the same facts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError
from reports.audit import folder as files
from reports.audit.difference import FigureChange, difference, elsewhere, input_changes
from reports.audit.edition import Edition, edition
from reports.audit.inputs import LedgerDay
from reports.audit.manifest import Manifest, Output, library_versions, read_manifest, sha256
from reports.audit.signing import SignatureStatus, public_key, verify_signature
from reports.figures.facts import ChangedInput
from reports.period import PeriodRequest

_MOST: Final = 20
"""Files of a ledger that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class VerificationStep:
    """One verified property. `ok` None: not checked, or the result proves nothing."""

    name: str
    ok: bool | None
    detail: str


Rebuild = Callable[[Manifest, str, Path | None], bytes]
"""Makes facts.json again from a manifest, the ledger and the organisation's file; WattlensError where that cannot be."""
Changed = Callable[[Sequence[LedgerDay], str], list[str] | None]
"""Looks at every file of the ledger that a report names: `reports.audit.ledger.changed_files`."""
Draw = Callable[[Path, Manifest, bytes], list[VerificationStep]]
"""Makes the forms of a report again from its facts and compares them: `reports.reproduce.drawn_again`."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of all checks.

    Args:
        checks: the checks in order.
        inputs: the inputs that have changed, if the reproduced facts differ.
        changes: the figures that differ, if the reproduced facts differ.
        elsewhere: other keys that differ, if the reproduced facts differ.
    """

    checks: list[VerificationStep]
    inputs: tuple[ChangedInput, ...] | None = None
    changes: list[FigureChange] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok is not False for check in self.checks)


def verify(
    folder: Path,
    trusted_keys: Sequence[Path] = (),
    *,
    rebuild: Rebuild | None = None,
    changed: Changed | None = None,
    draw: Draw | None = None,
    ledger: str | None = None,
    org: Path | None = None,
    require_signature: bool = False,
    program: str | None = None,
) -> Verification:
    """Check a report: its files, its manifest against the facts, its signature, and its forms and facts after reproducing them.

    Args:
        folder: folder of the report.
        trusted_keys: public keys of accepted signers; if any are given, no other signature counts.
        rebuild: reproduces the facts; required with `ledger`.
        changed: checks all files of the days that the report uses, including files that no figure uses.
        draw: renders the forms again from the facts in the folder.
        ledger: folder or URL of the compacted days; not required with `org` for a report of invoices alone.
        org: the organisation's file.
        require_signature: whether a report without a signature fails.
        program: name and version of the running program, which reproduces the facts.

    Raises:
        UsageError: the folder does not exist, a trusted key is not a valid key, or `org` is given without the ledger that the
            report has.
    """
    file_names = files.names(folder)
    for key in trusted_keys:
        public_key(key)
    if files.MANIFEST not in file_names:
        return Verification([VerificationStep(files.MANIFEST, False, "no manifest: the report is incomplete; create it again")])
    try:
        manifest = read_manifest(folder)
    except WattlensError as error:
        return Verification([VerificationStep(files.MANIFEST, False, str(error))])
    checks = [
        VerificationStep(
            files.MANIFEST,
            True,
            f"edition {manifest.edition + 1} of {manifest.label or 'an unnamed period'}, created by {manifest.program}",
        )
    ]
    checks += _outputs(folder, file_names, manifest)
    checks.append(_signature(folder, trusted_keys, required=require_signature))
    stated, agree = _facts(folder, manifest)
    checks.append(agree)
    checks += _libraries(manifest)
    if draw is not None and stated is not None:
        checks += draw(folder, manifest, files.read(folder / files.FACTS, files.FACTS_MAX_B))
    if ledger is None and org is not None:
        if manifest.inputs.days:
            raise UsageError("--org: expected together with --ledger")
        ledger = ""
    if ledger is None or rebuild is None:
        return Verification([*checks, VerificationStep("rebuilt", None, "not rebuilt: requires --ledger")])
    if changed is not None:
        checks.append(_ledger(changed(list(manifest.inputs.days.values()), ledger), manifest))
    try:
        raw = rebuild(manifest, ledger, org)
    except UsageError:
        raise
    except WattlensError as error:
        return Verification([*checks, VerificationStep("rebuilt", False, f"cannot be rebuilt: {error}")])
    digest = sha256(raw)
    same = digest == manifest.outputs[files.FACTS].sha256
    source = "the ledger gives" if manifest.inputs.days else "the invoices give"
    text = f"{source} {'the same' if same else 'different'} facts, {len(raw)} bytes"
    if stated is None or digest == stated.sha256:
        return Verification([*checks, VerificationStep("rebuilt", same, text)])
    again = edition(raw, f"{files.FACTS} as rebuilt", program or manifest.program, manifest.command)
    inputs = input_changes(stated, again)
    changes = difference(stated, again)
    beside = elsewhere(stated, again)
    figures = [f"{len(changes)} figure{'' if len(changes) == 1 else 's'}"] if changes else []
    where = ", ".join([*figures, *beside]) or ("inputs" if inputs else "format")
    text = f"{text}; they differ from those in the folder in {where}"
    return Verification([*checks, VerificationStep("rebuilt", same, text)], inputs, changes, beside)


def _outputs(folder: Path, file_names: Sequence[str], manifest: Manifest) -> list[VerificationStep]:
    """Each file of the report against its hash, then what is not of the report."""
    checks = {
        name: _compare(folder / name, wanted) if name in file_names else (False, "is missing")
        for name, wanted in sorted(manifest.outputs.items())
    }
    for name in file_names:
        if name not in (*manifest.outputs, *files.AROUND) and not files.SCRATCH.fullmatch(name):
            checks[name] = False, "does not belong to this report; remove it from the folder"
    return [VerificationStep(name, *outcome) for name, outcome in checks.items()]


def _compare(path: Path, wanted: Output) -> tuple[bool, str]:
    """Whether a file has the content that the manifest states, and its size or the fault."""
    try:
        digest, size = files.digest(path)
    except WattlensError as error:
        return False, str(error)
    if digest != wanted.sha256:
        is_same_size = size == wanted.size_b
        fault = (
            f"its SHA-256 differs ({size} bytes, as expected)" if is_same_size else f"{size} bytes, expected {wanted.size_b}"
        )
        return False, f"was changed: {fault}"
    if size != wanted.size_b:
        return False, f"{size} bytes, but the manifest states {wanted.size_b} for this content"
    return True, f"{size} bytes"


def _ledger(wrong: list[str] | None, manifest: Manifest) -> VerificationStep:
    if wrong is None:
        return VerificationStep(
            "ledger", None, "not checked by file: days are rebuilt from segments and compared by their facts"
        )
    if wrong:
        more = f"; and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        return VerificationStep("ledger", False, "; ".join(wrong[:_MOST]) + more)
    days = manifest.inputs.days.values()
    return VerificationStep("ledger", True, f"{sum(len(day.files) for day in days)} files of {len(days)} days are unchanged")


def _signature(folder: Path, trusted_keys: Sequence[Path], *, required: bool = False) -> VerificationStep:
    outcome = verify_signature(folder, trusted_keys)
    text = ": ".join(filter(None, (outcome.signed, outcome.detail)))
    text += f" (key {outcome.fingerprint})" if outcome.fingerprint else ""
    ok: bool | None = None
    if outcome.signed is SignatureStatus.TRUSTED:
        ok = True
    elif outcome.signed is SignatureStatus.BROKEN or trusted_keys:
        ok = False
    elif outcome.signed is SignatureStatus.UNKNOWN:
        text += "; give --key"
    elif required:
        ok, text = False, f"{text}, but a signature is required"
    return VerificationStep("signature", ok, text)


def _facts(folder: Path, manifest: Manifest) -> tuple[Edition | None, VerificationStep]:
    """The facts, which have to say of themselves what the manifest says of them."""
    path = folder / files.FACTS
    try:
        stated = edition(files.read(path, files.FACTS_MAX_B), str(path), manifest.program, manifest.command)
    except WattlensError as error:
        return None, VerificationStep("inputs", False, str(error))
    pairs = {
        "program": (manifest.program if stated.version is None else f"wattlens {stated.version}", manifest.program),
        "label": (stated.label, manifest.label),
        "edition": (stated.number, manifest.edition),
        "restates": (stated.restates, manifest.restates),
        "days": (stated.inputs.days, manifest.inputs.days),
        "factors": (_hashes(stated), {name: each.sha256 for name, each in manifest.inputs.factors.items()}),
        "files": (stated.inputs.files, manifest.inputs.files),
    }
    wrong = [name for name, (a, b) in pairs.items() if a != b]
    if wrong:
        return stated, VerificationStep("inputs", False, f"facts and manifest differ in {', '.join(wrong)}")
    if odd := _odd(stated, manifest):
        return stated, VerificationStep("inputs", False, odd)
    days = len(manifest.inputs.days)
    return stated, VerificationStep("inputs", True, f"{days} ledger days, root {manifest.inputs.ledger_root}")


def _odd(stated: Edition, manifest: Manifest) -> str:
    """What facts and manifest say alike and cannot be so together; "": nothing."""
    if (stated.number > 0) != (stated.restates is not None):
        what = f"{stated.restates[:16]} is restated" if stated.restates else "nothing is restated"
        return f"edition {stated.number + 1}, and {what}: every edition except the first restates an earlier one"
    label = PeriodRequest.from_arguments(manifest.command).label
    if "quarter" in manifest.command and label != manifest.label:
        return f"the manifest's arguments request {label or 'no period'}, but the report covers {manifest.label or 'none'}"
    return ""


def _libraries(manifest: Manifest) -> list[VerificationStep]:
    """Report libraries whose installed version differs: rendered forms may then have other bytes, facts cannot."""
    here = library_versions(manifest.libraries)
    other = [
        f"{name} {v} ({here.get(name, 'none')} here)" for name, v in sorted(manifest.libraries.items()) if here.get(name) != v
    ]
    return (
        [VerificationStep("libraries", None, f"created with {', '.join(other)}; formats created here may differ")]
        if other
        else []
    )


def _hashes(stated: Edition) -> dict[str, str]:
    return {name: each.sha256 for name, each in stated.inputs.factors.items()}
