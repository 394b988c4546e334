"""Serial numbers: ranges as registries print them, and no certificate that counts twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.inputs.serials import Retirement, SerialRange, overlap, parse_serials, refuse_double_use


def test_ranges_are_as_registries_print_them() -> None:
    """Two ends and a single number; spaces and case do not matter, leading zeros do not change a number."""
    assert parse_serials(" de-0101 .. DE-0104; DE-200 ;") == (SerialRange("DE-", 101, 104), SerialRange("DE-", 200, 200))
    assert [r.count for r in parse_serials("643002406801000001..643002406801000250")] == [250]
    assert parse_serials("") == ()
    for wrong in ("A-1..B-2", "A-4..A-1", "A", "A-1..A-2..A-3", ".."):
        with pytest.raises(ValueError, match="expected serial numbers such as"):
            parse_serials(wrong)
    with pytest.raises(ValueError, match="A-4 to A-4 are listed twice"):
        parse_serials("A-1..A-4; A-4..A-9")


def of(owner: str, retirement: str, serials: str = "", registry: str = "R") -> Retirement:
    return Retirement(owner, retirement, registry, parse_serials(serials))


def test_one_retirement_counts_once() -> None:
    refuse_double_use([of("a", "X 1"), of("b", "X 2"), of("c", ""), of("d", "")])
    for serials in (("", ""), ("A-1", ""), ("", "A-1")):
        with pytest.raises(ValueError, match="a and b have the same retirement 'x1': a certificate counts only once"):
            refuse_double_use([of("a", "X 1", serials[0]), of("b", "x1", serials[1])])


def test_one_statement_of_retirement_serves_two_months_with_certificates_of_their_own() -> None:
    refuse_double_use([of("july", "X 1", "A-1..A-5"), of("august", "X 1", "A-6..A-9"), of("abroad", "Y", "A-1..A-5", "other")])
    for retirement in ("X 1", "X 2"):
        with pytest.raises(ValueError, match="july and august have the same certificates A-5 to A-5"):
            refuse_double_use([of("july", "X 1", "A-1..A-5"), of("august", retirement, "A-5..A-9", " r ")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("HKNR", "DE-1..DE-4"), ("NECS", "DE-4")),  # certificates keep their numbers between European registries
        (("HKNR", "DE-4"), ("Umweltbundesamt (HKNR)", "DE-4")),
        (("M-RETS", "7-4"), ("m rets", "7-4")),
        (("M-RETS", "US-MN-4"), ("MRETS", "US_MN-4")),
        (("M-RETS", "US4"), ("M-RETS", "us-4")),
        (("HKNR", "DE-4"), ("Herkunftsnachweisregister (UBA)", "DE-4")),
        (("WREGIS", "W-4"), ("WREGIS (WECC)", "W-4")),
        (("WECC, WREGIS", "W-4"), ("WREGIS (WECC)", "W-4")),
        (("WREGIS", "W-4"), ("Western Renewable Energy Generation Information System", "W-4")),
        (("Midwest Renewable Energy Tracking System (M-RETS)", "W-4"), ("M-RETS", "W-4")),
    ],
)
def test_another_spelling_of_registry_or_serial_number_is_the_same_certificate(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    with pytest.raises(ValueError, match="a and b have the same certificates"):
        refuse_double_use([of("a", "1", one[1], one[0]), of("b", "2", other[1], other[0])])


def test_same_numbers_in_other_registries_are_warned_of_and_other_prefixes_are_not() -> None:
    warnings = refuse_double_use(
        [of("a", "1", "7-4", "M-RETS"), of("b", "2", "7-4", "WREGIS"), of("c", "3", "7-4", "HKNR"), of("d", "4", "1-1-5", "X"),
         of("e", "5", "11-5", "X"), of("f", "6", "7-4", "")]
    )  # fmt: skip
    assert [text.split(" have ")[0] for text in warnings] == [
        f"{one} and {other}" for one, other in ("ab", "ac", "bc", "af", "bf", "cf")
    ]
    assert warnings[0] == (
        "a and b have the same serial numbers 7-4 to 7-4, in registries 'M-RETS' and 'WREGIS'; "
        "check that these are two registries"
    )


NUMBERS = st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda x: SerialRange("A-", x[0], x[0] + x[1]))


@given(st.lists(NUMBERS, max_size=4), st.lists(NUMBERS, max_size=4))
def test_ranges_overlap_exactly_if_they_share_a_number(some: list[SerialRange], others: list[SerialRange]) -> None:
    sets = [{n for r in ranges for n in range(r.first, r.last + 1)} for ranges in (some, others)]
    assert bool(overlap(some, others)) == bool(sets[0] & sets[1])
