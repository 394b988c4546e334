"""The glossary: every term of the design and of the report, one sentence each, in both languages."""

import re
from pathlib import Path

import pytest

from reports.page.sections.glossary import glossary, terms, used_in

OF_THE_DESIGN = {
    "device", "sample", "interval", "cell", "ledger", "workload", "holder", "attribution", "group", "boundary", "policy",
    "governor", "actuator", "lease", "knee", "slowdown", "slo", "ttft", "itl", "prefill", "decode", "pue", "ipue",
    "location-based", "market-based", "coverage",
}  # fmt: skip
OF_THE_REPORT = {
    "category", "wue", "cue", "ref", "erf", "residual mix", "sci", "embodied", "cfe", "certificate", "scope 2", "bridge",
    "mix-adjusted", "restatement", "interim", "simulated", "manifest", "equivalent", "training energy", "imputation",
    "systematic", "random", "quality score", "joules per token",
}  # fmt: skip


def test_the_words_of_design_and_report_are_there() -> None:
    assert set(terms()) >= OF_THE_DESIGN | OF_THE_REPORT


def test_each_is_one_sentence_in_both_languages() -> None:
    for term, of in terms().items():
        assert set(of) == {"en", "zh"}, term
        for language, end in (("en", "."), ("zh", "。")):
            name, sentence = of[language]
            assert name, term
            assert sentence.endswith(end), term
            assert sentence.count(end + " ") == 0, term
            assert sentence[:-1].count("。") == 0, term
        assert re.search("[\u4e00-\u9fff]", of["zh"][0]), term
        assert re.search("[\u4e00-\u9fff]", of["zh"][1]), term
        assert not re.search("[\u4e00-\u9fff]", "".join(of["en"])), term
        assert not re.search("[\u4e00-\u9fff][,;:]", of["zh"][1]), f"{term}: half-width punctuation"


def test_no_name_stands_for_two_terms() -> None:
    for language in ("en", "zh"):
        names = [name for name, _ in glossary(language)]
        assert len(set(names)) == len(names) == len(terms())


def test_english_terms_are_sorted_alphabetically() -> None:
    names = [name.lower() for name, _ in glossary()]
    assert names == sorted(names)


def test_a_report_has_the_terms_that_it_uses() -> None:
    rows = (("cell", "A."), ("sample", "B."), ("ITL, TPOT", "C."), ("CO2e", "D."), ("direct", "E."))
    assert used_in("Two CELLS of the ledger, p95 of TPOT; 3 t CO2e, indirect", rows) == (rows[0], rows[2], rows[3])
    assert used_in("账本的单元格", (("单元格", "A。"), ("采样", "B。"))) == (("单元格", "A。"),)


@pytest.mark.smoke
def test_the_sample_report_explains_only_words_of_its_own() -> None:
    page = (Path(__file__).parents[3] / "docs/sample-report/report.html").read_text()
    assert '<th scope="row">residual mix</th>' in page
    assert '<th scope="row">knee</th>' not in page
