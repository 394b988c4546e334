"""Signed heads: who keeps them sees that a chain was rewritten, cut short or replaced, also by somebody with the node's key."""

import builtins
import json
import shutil

import pytest

from energy_agent.core.extras import install_hint
from energy_agent.ledger.fleet import heads
from energy_agent.ledger.segments import segment
from energy_agent.ledger.signing import KEY_FILE
from tests.energy_agent.ledger.shared_folder import book, shared, signer_of
from wattlens.cli import main

__all__ = ["shared"]
DAYS = ("2026-01-01", "2026-01-02")


def run(capsys, *arguments):
    """(exit status, standard output, standard error) of a ledger command."""
    code = main(["ledger", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def unsigned(shared):
    """Two nodes with two days of segments, signed, and the site's key."""
    for name in ("a", "b"):
        book(shared, name, [0, 5, 30], signer=signer_of(shared.parent / name))
    signer_of(shared.parent / "site")
    return shared


def sign(folder, capsys, *options, day=DAYS[0], key="site"):
    path = folder.parent / key / KEY_FILE
    out = folder.parent / "days"
    return run(capsys, "compact", folder, "--out", out, "--day", day, "--site", "fra1", "--sign-heads", path, *options)


@pytest.fixture
def site(unsigned, capsys):
    """The first day's heads are signed as well."""
    assert sign(unsigned, capsys)[0] == 0
    return unsigned


def heads_of(folder, day=DAYS[0], statement=0):
    return folder.parent / "days" / "fra1" / day / f"r{statement:04d}" / heads.NAME


def segments_of(folder, name):
    return [path for path in segment.list_files(folder) if path.name.startswith(f"lab_{name}_")]


def rewrite(folder, name, hours):
    """Another chain of the node, by its own key: what somebody with the node's folder can write."""
    shutil.rmtree(folder.parent / "states" / f"lab-{name}")
    for path in segments_of(folder, name):
        path.unlink()
    book(folder, name, hours, signer=signer_of(folder.parent / name), device=f"GPU-{name}-other")


def cut_short(folder, name, count):
    """The chain without its end."""
    for path in segments_of(folder, name)[count:]:
        path.unlink()


def verify(folder, capsys, *options):
    return run(capsys, "verify", folder, "--heads", folder.parent / "days", *options)


def test_a_day_gets_the_last_segment_of_each_chain_that_it_was_made_of(unsigned, capsys):
    code, out, err = sign(unsigned, capsys)
    key = signer_of(unsigned.parent / "site").key
    assert (code, err.count("\n"), f"heads: signed by {key}\n" in out) == (0, 1, True)  # no keys are enrolled
    path = heads_of(unsigned)
    signed = heads.read(path)
    sha256 = {p.name: segment.sha256(segment.load(p)) for p in segment.list_files(unsigned)}
    expected = [heads.ChainHead("lab", name, 1, sha256[segment.file_name("lab", name, 1)]) for name in ("a", "b")]
    assert (list(signed.heads), signed.key, signed.site, signed.day.isoformat()) == (expected, key, "fra1", DAYS[0])
    before = path.read_bytes()
    assert sign(unsigned, capsys)[0] == 0
    assert path.read_bytes() == before
    path.unlink()  # a day that was compacted before it was signed
    assert sign(unsigned, capsys)[0] == 0
    assert path.read_bytes() == before
    manifest = json.loads((path.parent / "manifest.json").read_text())
    assert heads.NAME not in manifest["files"]  # the manifest is the same whether or not heads are signed


@pytest.mark.smoke
def test_processes_that_share_the_days_sign_the_same_heads(unsigned, capsys):
    for day in DAYS:
        assert sign(unsigned, capsys, day=day)[0] == 0
    one = [heads_of(unsigned, day).read_bytes() for day in DAYS]
    shutil.rmtree(unsigned.parent / "days")
    key = unsigned.parent / "site" / KEY_FILE
    arguments = ("compact", unsigned, "--out", unsigned.parent / "days", "--site", "fra1", "--jobs", 2, "--sign-heads", key)
    code, out, _ = run(capsys, *arguments, "--json")
    assert (code, [(s["day"], s["heads"]) for s in json.loads(out)]) == (0, [(day, 2) for day in DAYS])
    assert [heads_of(unsigned, day).read_bytes() for day in DAYS] == one


def test_a_chain_that_goes_on_contains_its_heads(site, capsys):
    for day in DAYS:
        sign(site, capsys, day=day)
    book(site, "a", [60, 70], signer=signer_of(site.parent / "a"))
    key = signer_of(site.parent / "site").key
    code, out, err = verify(site, capsys, "--heads-key", key)
    assert (code, err) == (0, "")
    assert out.count(f"2 signed heads match, the latest of {DAYS[1]}: ok [simulated]\n") == 2
    assert f"heads: 2 files signed with key {key}\n" in out
    code, out, _ = verify(site, capsys, "--json")
    answer = json.loads(out)
    assert (code, answer["ok"], answer["faults"], len(answer["heads"])) == (0, True, [], 2)
    expected = [{"day": DAYS[0], "sequence": 1}, {"day": DAYS[1], "sequence": 2}]
    assert [chain["heads"] for chain in answer["chains"]] == [expected, expected]


@pytest.mark.parametrize(
    ("change", "argument"),
    [(rewrite, [0, 5, 30]), (rewrite, [0]), (cut_short, 1), (cut_short, 0)],
    ids=["rewritten", "replaced by a shorter one", "truncated", "removed"],
)
def test_a_chain_that_is_not_what_was_signed_is_named_although_its_own_key_signed_it(site, capsys, change, argument):
    change(site, "a", argument)
    assert run(capsys, "verify", site)[0] == 0  # nothing else shows it
    code, out, err = verify(site, capsys)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("wattlens: head: lab/a: segment 1, ")
    verdicts = {line[:5]: line.rsplit(": ", 1)[1] for line in out.splitlines() if line.startswith("lab/")}
    assert verdicts == {"lab/a": "1 fault [simulated]" if segments_of(site, "a") else "1 fault", "lab/b": "ok [simulated]"}
    code, out, _ = verify(site, capsys, "--json")
    faults = {chain["node"]: [fault["kind"] for fault in chain["faults"]] for chain in json.loads(out)["chains"]}
    assert (code, faults) == (1, {"a": ["head"], "b": []})


def test_a_first_segment_that_was_rewritten_breaks_the_chain_to_the_head(site, capsys):
    kept = {path.name: path.read_bytes() for path in segment.list_files(site)}
    rewrite(site, "a", [0])
    for name, data in kept.items():
        if not (site / name).exists():
            (site / name).write_bytes(data)
    code, _, err = verify(site, capsys)
    assert (code, err.count("\n"), "wattlens: previous: " in err) == (1, 1, True)


def test_a_head_that_cannot_be_read_or_is_not_here_is_named(site, capsys):
    first, second, *_ = segment.list_files(site)
    second.write_bytes(second.read_bytes()[:-9])
    code, _, err = verify(site, capsys)
    assert (code, err.count("wattlens: corrupted: "), err.count("wattlens: head: lab/a: segment 1, ")) == (1, 1, 1)
    second.unlink()
    first.unlink()  # as where old segments were moved away: nobody can say that they are the ones that were signed
    code, _, err = verify(site, capsys)
    assert (code, err.count("\n"), err.count("wattlens: head: lab/a: segment 1, ")) == (1, 1, 1)


@pytest.mark.parametrize("change", ["head", "key", "signature", "day"])
def test_heads_that_were_changed_show_nothing(site, capsys, change):
    path = heads_of(site)
    signed, other = heads.read(path), signer_of(site.parent / "other")
    before, after = {
        "head": (signed.heads[0].sha256, "0" * 64),
        "key": (signed.key, other.key),
        "signature": (signed.signature.hex(), "0" * 128),
        "day": (DAYS[0], DAYS[1]),
    }[change]
    path.write_text(path.read_text().replace(before, after))
    code, out, err = verify(site, capsys)
    assert (code, err.count("\n"), err.startswith(f"wattlens: head: {path}: ")) == (1, 1, True)
    assert "signed heads match" not in out


def test_heads_by_another_key_than_the_sites_show_nothing(unsigned, capsys):
    signer_of(unsigned.parent / "evil")
    sign(unsigned, capsys, key="evil")
    key, evil = signer_of(unsigned.parent / "site").key, signer_of(unsigned.parent / "evil").key
    code, _, err = verify(unsigned, capsys, "--heads-key", key)
    assert (code, err.count("\n"), err.startswith(f"wattlens: head: {heads_of(unsigned)}: ")) == (1, 1, True)
    assert evil[:16] in err
    assert key[:16] in err
    assert verify(unsigned, capsys)[0] == 0  # nobody named the key


def test_a_state_folder_is_checked_against_the_heads_of_its_own_node(site, capsys):
    state = site.parent / "states" / "lab-a"
    for path in segments_of(site, "a"):
        shutil.copy(path, state / "segments")
    code, out, err = run(capsys, "verify", state, "--heads", heads_of(site))
    assert (code, err) == (0, "")
    assert "1 signed heads match" in out
    segment.list_files(state / "segments")[2].unlink()
    segment.list_files(state / "segments")[1].unlink()
    code, _, err = run(capsys, "verify", state, "--heads", heads_of(site))
    assert (code, "head: lab/a: segment 1" in err, "lab/b" in err) == (1, True, False)


def test_a_site_signs_no_head_that_contradicts_one_that_it_signed(site, capsys):
    rewrite(site, "a", [0, 5, 30])
    code, out, err = sign(site, capsys, "--accept-faults")
    assert (code, "statement 1" in out) == (1, True)
    assert f"wattlens: head: {heads_of(site)}: segment 1 of lab/a is " in err
    assert not heads_of(site, statement=1).exists()


def test_late_segments_are_signed_with_the_next_statement(site, capsys):
    book(site, "c", [3], signer=signer_of(site.parent / "c"))
    assert sign(site, capsys)[0] == 0
    assert [head.node for head in heads.read(heads_of(site, statement=1)).heads] == ["a", "b", "c"]
    assert verify(site, capsys)[0] == 0


@pytest.mark.parametrize("content", ["junk", "other heads", "unsigned"])
def test_what_is_there_instead_of_a_days_heads_is_named_and_kept(site, capsys, content):
    sign(site, capsys, day=DAYS[1])
    path = heads_of(site)
    if content == "junk":
        path.write_bytes(b"\xff")
    elif content == "other heads":
        shutil.copy(heads_of(site, DAYS[1]), path)
    else:
        path.write_text(path.read_text().replace(heads.read(path).signature.hex(), "0" * 128))
    before = path.read_bytes()
    code, out, err = sign(site, capsys)
    assert (code, err.count("\n"), str(path) in err, "unchanged" in out) == (1, 2, True, True)
    assert path.read_bytes() == before


def test_a_changed_key_signs_later_days_alone(site, capsys):
    before = heads_of(site).read_bytes()
    signer_of(site.parent / "new")
    for day in DAYS:
        assert sign(site, capsys, day=day, key="new")[0] == 0
    assert heads_of(site).read_bytes() == before
    assert heads.read(heads_of(site, DAYS[1])).key == signer_of(site.parent / "new").key


@pytest.mark.parametrize(
    "options",
    [
        ("--heads", "nothing"),
        ("--heads", "segments"),
        ("--heads-key", "0" * 64),
        ("--heads", "days", "--heads-key", "x"),
        ("--heads", "days", "--heads-key", "A" * 64),
    ],
)
def test_wrong_usage_of_verify_exits_2_with_one_line(site, capsys, options, monkeypatch):
    monkeypatch.chdir(site.parent)
    code, _, err = run(capsys, "verify", site, *options)
    assert (code, err.count("\n"), err.startswith("wattlens: ")) == (2, 1, True)


@pytest.mark.parametrize("key", ["missing", "folder", "junk", "public"])
def test_a_key_that_cannot_sign_exits_2_with_one_line_and_nothing_is_written(unsigned, capsys, key):
    path = unsigned.parent / "site" / KEY_FILE
    path.unlink()
    if key == "folder":
        path.mkdir()
    elif key != "missing":
        path.write_text("-----BEGIN PUBLIC KEY-----\n" if key == "public" else "junk")
    code, _, err = sign(unsigned, capsys)
    assert (code, err.count("\n"), str(path) in err) == (2, 1, True)
    assert not (unsigned.parent / "days").exists()


def test_a_key_of_a_secret_is_a_link_and_signs(unsigned, capsys):
    path = unsigned.parent / "site" / KEY_FILE
    path.rename(path.with_name("..data"))
    path.symlink_to("..data")
    assert sign(unsigned, capsys)[0] == 0


def test_a_file_that_is_no_heads_is_named(site, capsys):
    path = heads_of(site)
    for data in (b"", b"\n", b"{}\n", b"[]\n" * 3, path.read_bytes()[:-1], path.read_bytes() * 2, b"\xff\n"):
        path.write_bytes(data)
        code, out, err = verify(site, capsys)
        assert (code, out, err.count("\n"), str(path) in err) == (1, "", 1, True)


def test_without_the_library_heads_are_neither_signed_nor_checked(site, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    for code, out, err in (sign(site, capsys), verify(site, capsys)):
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert install_hint("signing") in err
