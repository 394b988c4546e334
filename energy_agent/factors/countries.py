"""Country factors for location-based CO2e: the annual grid averages that CodeCarbon ships, copied as dated data.

Copied, not read from the installed package, so that a report of a closed period can be rebuilt to the same bytes whatever
CodeCarbon release is installed later; a contract test compares the copy with the package it came from.
"""

import csv
import difflib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.factors.record import Factor

EDITION = "codecarbon-3.3.2"
PUBLISHED = "2026-09-09"
FETCHED = "2026-11-26"
SOURCE_PATH = "data/private_infra/global_energy_mix.json"
SOURCE_SHA256 = "8f1053800210aa07cc6019cc422b0d34f47dd092f6351dd873445c2b8199a107"
ISO3: Final = {
    pair[:2]: pair[2:]
    for pair in """\
ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE BABIH BBBRB BDBGD
BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT BWBWA BYBLR BZBLZ CACAN
CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR CYCYP CZCZE DEDEU
DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA GAGAB
GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS GTGTM GUGUM GWGNB GYGUY HKHKG
HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM JOJOR JPJPN
KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU
LULUX LVLVA LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR
MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU NZNZL
OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB
RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD STSTP
SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR TTTTO TVTUV TWTWN
TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF
ZMZMB ZWZWE""".split()  # noqa: SIM905
} | {"EL": "GRC", "UK": "GBR"}
"""ISO 3166-1 alpha-2 codes, and two of European tables -> alpha-3 codes."""


@cache
def country_factors() -> Mapping[str, Factor]:
    """Every country's factor by its ISO 3166-1 alpha-3 code, in g CO2e per kWh."""
    text = files("energy_agent.factors").joinpath("data/codecarbon_countries.csv").read_text(encoding="ascii")
    return {row["code"]: _factor(row) for row in csv.DictReader(text.splitlines())}


def country_factor(code: str) -> Factor:
    """The grid factor of the country `code` (ISO 3166-1 alpha-3, any case).

    Raises:
        UsageError: no such country (the line names the nearest codes), or its published value is zero, which no grid has over
            its life cycle: it is a missing value, and absent is never 0.
    """
    factors = country_factors()
    factor = factors.get(code.upper())
    if factor is None:
        raise UsageError(f"--country {code[:40]}: no grid factor for this code; {_nearest(code, factors)}")
    if not factor.value:
        raise UsageError(
            f"--country {factor.zone}: {factor.edition} states 0 g/kWh for {factor.zone_name}, which means that the "
            "value is missing; omit --country, and the report states why CO2e is absent"
        )
    return factor


def _factor(row: Mapping[str, str]) -> Factor:
    return Factor(
        id=f"grid.location.{row['code']}.{row['year']}.{EDITION}",
        value=Decimal(row["g_per_kwh"]),
        unit="g CO2e/kWh",
        zone=row["code"],
        zone_name=row["name"],
        year=int(row["year"]),
        gases="CO2e",
        gwp_set="AR5",
        boundary="life-cycle",
        basis="production",
        accounting="location-based",
        publisher="Our World in Data (Ember, Energy Institute), as compiled by CodeCarbon",
        edition=EDITION,
        published=PUBLISHED,
        source=f"PyPI codecarbon 3.3.2, codecarbon/{SOURCE_PATH}",
        source_sha256=SOURCE_SHA256,
        fetched=FETCHED,
        evidence="package",
        licence="CC BY 4.0 (data), MIT (compilation)",
        attribution="Our World in Data and Ember, carbon intensity of electricity; CodeCarbon, global_energy_mix.json",
        uncertainty="not stated by the publisher",
        quality=5,
    )


def _nearest(code: str, factors: Mapping[str, Factor]) -> str:
    """A hint: the codes whose spelling or country name is nearest to what was typed."""
    wanted = code.strip().lower()
    by_name = {f.zone_name.lower(): c for c, f in factors.items()}
    prefixed = [c for c in sorted(factors) if len(wanted) > 1 and c.lower().startswith(wanted)]
    starts = [c for name, c in sorted(by_name.items()) if len(wanted) > 1 and name.startswith(wanted)]
    names = [by_name[n] for n in difflib.get_close_matches(wanted, by_name, n=2, cutoff=0.8)]
    codes = difflib.get_close_matches(wanted.upper(), factors, n=3, cutoff=0.5)
    hits = list(dict.fromkeys([*prefixed, *names, *starts, *codes]))[:3]
    if not hits:
        return "use an ISO 3166-1 alpha-3 code such as DEU"
    return "nearest: " + ", ".join(f"{c} ({factors[c].zone_name})" for c in hits)
