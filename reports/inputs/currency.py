"""ISO 4217 currency codes; a misspelt code would be a currency of its own and missing in every total. Pure."""

from typing import Annotated, Final

from pydantic import AfterValidator

_LISTED: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF
CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF
IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT
MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD
SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS
VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
BGN
"""
CODES: Final = frozenset(_LISTED.split())
"""ISO 4217, list one, as of 2026, without metals, units of account between states, tests and "no currency". BGN became the euro
at the start of 2026: quarters before it are reported still."""


def currency(code: str) -> str:
    """The code of a currency.

    Raises:
        ValueError: it is not an ISO 4217 code.
    """
    if code not in CODES:
        raise ValueError(f"expected an ISO 4217 currency code such as EUR, got {code[:40]!r}")
    return code


Currency = Annotated[str, AfterValidator(currency)]
