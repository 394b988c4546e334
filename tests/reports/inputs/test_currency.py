"""Codes of currencies: those in use, and none that somebody mistyped."""

import pytest

from reports.inputs.currency import CODES, currency
from tests.support import need_module


@pytest.mark.parametrize("code", ["EUR", "USD", "CNY", "INR", "JPY", "CHF", "CLF", "XOF", "XCG", "BGN"])
def test_a_currency_in_use(code: str) -> None:
    assert currency(code) == code


@pytest.mark.parametrize("code", ["ZZZ", "EURO", "eur", "EU", "", "DEM", "XXX", "XTS", "XAU", "\u20ac", "EUR "])
def test_no_currency(code: str) -> None:
    with pytest.raises(ValueError, match=r"expected an ISO 4217 currency code such as EUR"):
        currency(code)


def test_the_codes_are_those_of_a_peer() -> None:
    """pycountry has the list as Debian's iso-codes keep it, with what nobody pays in: metals, tests, units between states."""
    need_module("pycountry")
    import pycountry

    listed = {each.alpha_3 for each in pycountry.currencies}
    nobody_pays_in = {code for code in listed - CODES if not code.startswith("X")}
    assert nobody_pays_in == set()
    assert CODES - listed <= {"BGN"}
    assert listed - CODES == {
        "XAD", "XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"
    }  # fmt: skip
