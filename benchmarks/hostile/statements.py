"""Attacks on a report and its audit: names in any script and with any invisible character, and a folder that was changed.

A signed report verifies as long as nobody touches it; after one change of one of its files, it never does.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

from wattlens.cli import main

_ODD = (  # spaces and marks that nobody sees, accents and scripts, what is no character, controls, and what formats use
    "\xa0\xad\u202e\u2067\u200b\u200d\u200c\u3000\u2028\u2029\x85\u2060\ufeff"
    "\u0301\ufe0f\U000e0061\xe9\u0628\u6f22\u0e33\U0001f4a9\u03c2"
    "\ufffc\ufffd\ue000\ufdd0\ud800\udfff"
    "\0\a\b\t\n\r\x1b\x7f '\"\\/%{}[]<>&=@+-#|`$;:,.*_~"
)


def run(rng: Random, base: Path) -> Iterator[tuple[str, str]]:
    """Yield (attack, what fell or ''), again and again."""
    key = base / "report.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    key.chmod(0o600)
    while True:
        place = base / "round"
        place.mkdir()
        has_report, fell = _make(rng, place, key)
        yield "names", fell
        if has_report:
            for _ in range(15):
                yield "changed files", _change(rng, place)
        shutil.rmtree(place)


def _name(rng: Random) -> str:
    letters = "".join(
        rng.choice(_ODD if rng.random() < 0.3 else "abcXYZ 019") for _ in range(rng.choice((1, 3, 8, 20, 90, 3000)))
    )
    return letters or "x"


def _main(words: list[str]) -> tuple[int, str]:
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            code = main(words)
        except Exception as error:  # noqa: BLE001 - what a user would see as a traceback
            return -1, f"Traceback: {error!r}"
    return code, errors.getvalue()


def _make(rng: Random, place: Path, key: Path) -> tuple[bool, str]:
    """Make a report with drawn names; (whether there is one, what fell)."""
    odd = rng.sample(("organisation", "contact", "site", "number", "supplier", "none"), k=rng.randint(1, 2))
    name = {each: _name(rng) for each in odd}
    bill = {"number": name.get("number", "R1"), "start": "2026-07-01", "end": "2026-09-30", "kwh": rng.randint(1, 10**6)}
    if "supplier" in name:
        bill["meter"] = name["supplier"]
    organisation = {"name": name.get("organisation", "Company"), "contact": name.get("contact", "a@b.example")}
    site = {"site": {"name": name.get("site", "colo")}, "invoices": [bill]}
    org = place / "org.yaml"  # JSON is YAML
    org.write_text(
        json.dumps({"organisation": organisation, "sites": [site]}, ensure_ascii=rng.random() < 0.5), errors="surrogatepass"
    )
    forms = rng.choice(("html", "html,csv", "csv,json"))
    words = ["--org", str(org), "--quarter", "2026Q3", "--formats", forms, "--out", str(place / "o"), "--sign-key", str(key)]
    code, error = _main(["report", *words])
    if code not in (0, 1, 2) or "Traceback" in error or (code and not error.strip()):
        return False, f"{name}: report: exit code {code}: {error[-300:]}"
    if code:
        return False, ""
    code, error = _main(["report", "verify", str(place / "o"), "--org", str(org)])
    return code == 0, "" if code == 0 else f"{name}: verify of an untouched report: exit code {code}: {error[-300:]}"


def _change(rng: Random, place: Path) -> str:
    """Change one file of a copy of the report; what fell."""
    copy = place / "copy"
    shutil.copytree(place / "o", copy)
    path = rng.choice(sorted(path for path in copy.iterdir() if path.is_file()))
    data = bytearray(path.read_bytes())
    how = rng.choice(("flip", "cut", "add", "digit", "link", "removed", "pipe", "swapped"))
    if how == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[rng.randrange(len(data.rstrip())) :]  # a file without its last line end says the same
    elif how == "add":
        data += rng.choice((b"{}", b"\0", b"x"))
    elif how == "digit":
        places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
        i = rng.choice(places)
        data[i] = ord(str((int(chr(data[i])) + rng.randint(1, 9)) % 10))
    path.unlink()
    if how == "link":
        path.symlink_to(place / "o" / path.name)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "swapped":
        others = [each for each in copy.iterdir() if each.is_file()]
        path.write_bytes(rng.choice(others).read_bytes())
    elif how != "removed":
        path.write_bytes(bytes(data))
    code, error = _main(["report", "verify", str(copy), "--org", str(place / "org.yaml"), "--require-signature"])
    shutil.rmtree(copy)
    if code == 0:
        return f"{path.name}: {how}: verifies"
    return f"{path.name}: {how}: traceback" if "Traceback" in error else ""
