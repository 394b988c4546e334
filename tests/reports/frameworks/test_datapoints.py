"""The framework index: what answers a datapoint, what is missing named once, and data that say what is not verified."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from reports.frameworks import datapoints
from reports.frameworks.datapoints import frameworks, group_missing, index, inputs

BY_ID = {f.id: f for f in frameworks()}

# The ids of figures that a report can have; a pattern that fits none of them would never be answered.
STEMS = (
    "energy.facility", "energy.it", "energy.total_renewable", "energy.total_renewable.certificates",
    "energy.total_renewable.ppa", "energy.total_renewable.on_site", "energy.reused_heat", "water", "pue", "pue.trailing",
    "wue", "cue", "ref", "erf", "co2e.location", "co2e.market", "co2e.market.instruments", "co2e.market.residual",
    "cfe.hourly", "matched.hourly", "matched.quarter_hourly", "ref.site", "erf.site", "grid_intensity", "contract", "embodied",
    "declared.it_kw", "declared.floor_m2", "sci_per_token",
    "tokens.generation", "j_per_token.gpu", "j_per_token.node", "j_per_token.facility", "dvfs.saved", "coverage",
)  # fmt: skip
IDS = [*STEMS, *(f"{s}/{by}/x" for s in STEMS for by in ("site", "model")), "training.energy/run"]


def test_every_framework_of_the_report_is_there_with_its_state_and_date() -> None:
    assert {f.id: f.state for f in frameworks()} == {
        "ghg-protocol": "in force",
        "ghg-protocol-scope-2-revision": "draft",
        "esrs-e1-set-1": "in force",
        "esrs-e1-2026": "pending",
        "gri-302-305": "in force, for periods before 2027",
        "gri-103-102": "for periods from 1 January 2027, earlier by choice",
        "ifrs-s2": "in force",
        "eed-2024-1364": "in force",
        "iso-30134": "in force",
        "iso-21031": "in force",
        "eu-ai-act-annex-xi": "in force since 2 August 2025",
    }
    assert all(re.fullmatch(r"20[0-9]{2}(-[01][0-9](-[0-3][0-9])?)?", f.date) for f in frameworks())
    assert all(f.source and f.edition and f.note for f in frameworks())


def test_what_was_not_found_in_a_source_says_so() -> None:
    unverified = {(f.id, p.id) for f in frameworks() for p in f.datapoints if not p.verified}
    assert unverified == {
        ("eed-2024-1364", "SDC, SCR"), ("eed-2024-1364", "grid functions, CBtG"), ("eed-2024-1364", "TWH"),
        ("eed-2024-1364", "TIN"), ("eed-2024-1364", "refrigerants"), ("eed-2024-1364", "CDD"),
        ("eed-2024-1364", "BIN, BOUT and traffic"), ("esrs-e1-2026", "E1-7"),
        ("esrs-e1-2026", "E1-8, Scope 2 location-based"), ("esrs-e1-2026", "E1-8, Scope 2 market-based"),
    }  # fmt: skip
    assert all(row.verified == ((row.framework, row.datapoint) not in unverified) for row in index({}))


def test_each_pattern_fits_a_figure_and_each_id_is_there_once() -> None:
    names = sorted(path.stem for path in (Path(datapoints.__file__).parent / "data").glob("*.json"))
    assert sorted(framework.id for framework in frameworks()) == names
    for framework in frameworks():
        assert all(p.id and p.text and p.text_zh for p in framework.datapoints)
        ids = [p.id for p in framework.datapoints]
        assert len(set(ids)) == len(ids), framework.id
        for point in framework.datapoints:
            for pattern in point.figures:
                assert any(fnmatchcase(i, pattern) for i in IDS), (framework.id, point.id, pattern)


def test_no_input_is_idle_and_both_languages_are_there() -> None:
    assert set(inputs()) == {p.needs for f in frameworks() for p in f.datapoints}
    assert all(set(words) == {"en", "zh"} and all(words.values()) for words in inputs().values())
    chinese = re.compile("[\u4e00-\u9fff]")
    for framework in frameworks():
        assert chinese.search(framework.note_zh)
        for point in framework.datapoints:
            assert chinese.search(point.text_zh) or point.text_zh == point.text == "(E x I + M) / R"


def rows(
    figures: dict[str, str], framework: str, language: str = "en"
) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return {r.datapoint: (r.state, r.answered_by, r.missing) for r in index(figures, language) if r.framework == framework}


def test_a_figure_with_a_value_answers_every_framework_that_asks_for_it() -> None:
    answered = {(r.framework, r.datapoint) for r in index({"co2e.location": ""}) if r.state == "answered"}
    assert answered == {
        ("ghg-protocol", "Scope 2, location-based"), ("esrs-e1-set-1", "E1-6, Scope 2 location-based"),
        ("esrs-e1-2026", "E1-8, Scope 2 location-based"), ("gri-302-305", "305-2 a"), ("gri-103-102", "102-6, location-based"),
        ("ifrs-s2", "29(a), Scope 2"),
    }  # fmt: skip


def test_one_site_with_a_pue_and_one_without_answer_in_part() -> None:
    found = rows({"pue/site/north": "", "pue/site/south": "no meter of role it", "pue.trailing": "3 of 12 months"}, "iso-30134")
    assert found["30134-2, interim PUE"] == ("partly", ("pue/site/north",), ("no meter of role it",))
    assert found["30134-2, PUE"] == ("missing", (), ("3 of 12 months",))
    assert found["30134-9, WUE"] == ("missing", (), ("a meter of the water that the site takes in",))


def test_a_pattern_is_not_a_prefix() -> None:
    assert rows({"pue.trailing": "", "pue_of_a_room": ""}, "eed-2024-1364")["PUE"][0] == "missing"
    assert rows({"training.energy/llm-7b": ""}, "eu-ai-act-annex-xi")["section 1, 2(e)"][1] == ("training.energy/llm-7b",)


def test_what_is_missing_is_named_once() -> None:
    of = group_missing(index({"wue": "water: no meter", "wue/site/a": "water: no meter"}))
    assert of["water: no meter"] == [("EU Energy Efficiency Directive, data centres", "WUE"), ("ISO/IEC 30134", "30134-9, WUE")]
    scope_1 = [d for _, d in of["the fuel that the site burnt"]]
    assert scope_1 == ["E1-6, Scope 1", "Scope 1", "102-5", "302-1 a", "302-1 b", "305-1", "29(a), Scope 1"]
    counts = list(map(len, group_missing(index({})).values()))
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == len(index({}))


def test_nothing_is_missing_where_nothing_is_asked() -> None:
    assert group_missing([]) == {}
    declared = [p.id for p in BY_ID["eed-2024-1364"].datapoints if p.needs == "declared" and not p.figures]
    assert len(declared) == 7
    asked = [(BY_ID["eed-2024-1364"].title, d) for d in declared]
    assert group_missing(index(dict.fromkeys(IDS, "")))["a declaration of the operator"] == asked


def test_in_chinese_texts_and_inputs_are_chinese() -> None:
    assert rows({}, "iso-30134", "zh")["30134-9, WUE"] == ("missing", (), ("场地取水量水表",))
    assert {r.title for r in index({}, "zh") if r.framework == "iso-21031"} == {"软件碳强度（SCI）"}
    on_site = next(r for r in index({}, "zh") if r.datapoint == "E1-5，场地自产")
    assert (on_site.framework, on_site.unit) == ("esrs-e1-set-1", "MWh")
    assert {r.unit for r in index({}, "zh") if r.datapoint == "E1-6，强度"} == {"t CO2e/货币单位"}


def test_no_english_word_is_left_in_chinese() -> None:
    """But for codes, which have no small letters, and units of physics."""
    words = {word for r in index({}, "zh") for word in re.findall(r"[A-Za-z]*[a-z]{3,}|per", f"{r.datapoint} {r.unit}")}
    assert words == set()
