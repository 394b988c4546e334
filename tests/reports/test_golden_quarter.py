"""The golden quarter (`golden`): every formula worked out here, and figures equal to the last digit.

Expected values are products of the energies in golden's table, written out as integers and fractions. Wh, kWh and J are exact;
a quotient is rounded once to nine significant digits, half to even, its bounds outwards (`nine`).
"""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import pytest

from reports.figures.evidence import PeriodEvidence
from reports.figures.facts import Facts
from reports.figures.figure import plain
from reports.figures.measures.comparison import side
from reports.ledger.days import Day
from reports.period import PeriodRequest
from tests.reports import chains, golden
from wattlens.report.inputs.org import load_organisation

pytestmark = pytest.mark.timeout(360)

J = 3_600_000
"""In a kWh."""
ROUND = {"": ROUND_HALF_EVEN, "low": ROUND_FLOOR, "high": ROUND_CEILING}


@pytest.fixture(scope="module")
def gathered(golden_days: Path) -> tuple[PeriodEvidence, Sequence[Day]]:
    return chains.evidence(golden_days, golden.organisation(), PeriodRequest("2026Q3"))


@pytest.fixture(scope="module")
def facts(gathered: tuple[PeriodEvidence, Sequence[Day]]) -> Facts:
    return chains.facts_of(*gathered)


def nine(exact: Fraction | int, way: str = "") -> str:
    """Nine significant digits, as decimal text without an exponent."""
    exact = Fraction(exact)
    context = Context(prec=9, rounding=ROUND[way])
    text = f"{context.divide(Decimal(exact.numerator), Decimal(exact.denominator)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def value(facts: Facts, identity: str) -> str:
    figure = facts.figures[identity]
    assert figure.value is not None, figure.reason
    return figure.text


def bounds(facts: Facts, identity: str) -> tuple[str | None, str | None]:
    figure = facts.figures[identity]
    return plain(figure.low) or None, plain(figure.high) or None


def joules(kwh: str) -> str:
    exact = Fraction(kwh) * J
    assert exact.denominator == 1
    return str(exact)


def test_gpu_energy_and_its_bounds(facts: Facts) -> None:
    """alfa 3.92 + 1.96 + 0.392 + 3.92 + 0.392 + 0.49 = 11.074; beta 1.96 + 0.98 + 0.196 = 3.136; together 14.21 kWh.

    Gain: a 49th of it, 0.29 kWh = 1,044,000 J. Edges: six intervals (two of a2's GPU, one of each other GPU) of 1 J at either
    end, 12 J. Unseen: at most 0.1 kWh = 360,000 J, which only the upper bound includes.
    """
    assert value(facts, "energy.gpu") == joules("14.21") == "51156000"
    assert bounds(facts, "energy.gpu") == (str(51_156_000 - 1_044_000 - 12), str(51_156_000 + 1_044_000 + 12 + 360_000))
    assert value(facts, "energy.gpu/site/alfa") == joules("11.074")
    assert value(facts, "energy.gpu/site/beta") == joules("3.136")
    assert value(facts, "uncertainty/systematic") == "1044000"
    assert value(facts, "uncertainty/edges") == "12"
    assert value(facts, "uncertainty/unseen") == "360000"


def test_every_joule_is_in_one_bucket(facts: Facts) -> None:
    """Active 3.92 + 1.96 + 3.92 + 1.96 + 0.98 = 12.74; idle 0.392 + 0.196; unallocated 0.392; unattributed 0.49: 14.21 kWh."""
    assert value(facts, "energy.gpu.active") == joules("12.74")
    assert value(facts, "energy.gpu.idle") == joules("0.588")
    assert value(facts, "energy.gpu.unheld") == joules("0.392")
    assert value(facts, "energy.gpu.unattributed") == value(facts, "energy.gpu.unattributed/reason/gap") == joules("0.49")
    assert Fraction("12.74") + Fraction("0.588") + Fraction("0.392") + Fraction("0.49") == Fraction("14.21")
    assert facts.conservation.holds
    assert facts.conservation.device_uj == 51_156_000_000_000


def test_groups(facts: Facts) -> None:
    """chat 6.272 (nlp, assist, Llama fp8), mix 1.96 (nlp, assist, several models), train 3.92 (vision), solo 1.176 (nobody)."""
    expected = {
        "team": {"nlp": "8.232", "vision": "3.92", "": "1.176"},
        "project": {"nlp/assist": "8.232", "vision/resnet": "3.92", "": "1.176"},
        "model": {"Llama (fp8)": "6.272", "qwen": "1.176", "": "5.88"},
        "kind": {"pod": "9.408", "slurm": "3.92"},
        "site": {"alfa": "10.192", "beta": "3.136"},
    }
    for dimension, names in expected.items():
        assert {f.dims[dimension]: f.text for f in facts.of("energy.held", dimension)} == {
            n: joules(k) for n, k in names.items()
        }
        assert sum(Fraction(kwh) for kwh in names.values()) == Fraction("13.328")
    assert value(facts, "energy.held") == joules("13.328")
    hours = {f.dims["team"]: f.text for f in facts.of("gpu_hours", "team")}
    assert hours == {"nlp": "5", "vision": "2", "": "2"}


def test_node_energy_has_the_hosts_and_their_error(facts: Facts) -> None:
    """alfa's GPUs 11.074, hosts 1.96 + 1.176 + 0.196 = 3.332: 14.406 kWh. beta has no meter of a node, so there is no total.

    A host is its node's meter less the GPUs: its gain error is that of the meter on all 14.406 kWh and that of the GPUs on
    11.074, a 49th each: 0.52 kWh of 3.332, so 0.52/(3.332 + 0.52) = 134,994.8 ppm, rounded up 134,995; which is of each host
    E x 134,995/865,005, rounded up to whole uJ. On Saturday a2's GPU was bridged for a cell in which nobody read its host, and
    no gap says what it can have drawn: there is no upper bound.
    """
    assert value(facts, "energy.node/site/alfa") == joules("14.406")
    assert facts.figures["energy.node/site/beta"].reason == "no node of beta has a whole-node meter"
    assert facts.figures["energy.node"].value is None
    assert Fraction("14.406") / 49 + Fraction("11.074") / 49 == Fraction("0.52")
    assert -(-1_000_000 * Fraction("0.52") // Fraction("3.852")) == 134_995
    host = sum(-(-golden.uj(kwh) * 134_995 // 865_005) for kwh in ("1.96", "1.372"))
    # The GPUs' own: 11.074/49 of gain; edges of alfa's four intervals 8 J.
    low = golden.uj("14.406") - golden.uj("0.226") - 8_000_000 - host
    assert bounds(facts, "energy.node/site/alfa") == (nine(Fraction(low, 1_000_000), "low"), None)


def test_the_building(facts: Facts) -> None:
    """In an hour 40 kWh from the grid and 8 of its own; 32 of IT; 4.8 delivered for reuse; 2,208 hours.

    PUE 48/32 = 1.5; REF of what is made here 8/48 = 1/6; ERF 4.8/48 = 0.1; WUE 127,180.8 L / 70,656 kWh = 1.8.
    """
    assert value(facts, "energy.facility/site/alfa") == str(48 * 2208 * J) == "381542400000"
    assert value(facts, "energy.it/site/alfa") == str(32 * 2208 * J)
    assert value(facts, "energy.part/alfa/not explained by a meter") == str(16 * 2208 * J)
    assert value(facts, "pue/site/alfa") == "1.5"
    assert bounds(facts, "pue/site/alfa") == ("1.5", "1.5")
    assert facts.figures["pue/site/alfa"].dims["kind"] == "iPUE"
    assert value(facts, "ref.site/site/alfa") == nine(Fraction(1, 6)) == "0.166666667"
    assert value(facts, "erf.site/site/alfa") == "0.1"
    assert value(facts, "wue/site/alfa") == "1.8"
    assert value(facts, "water/site/alfa") == "127180.8"
    assert facts.figures["energy.facility"].value is None
    assert facts.figures["pue"].value is None
    assert "less than 90% of the window" in str(facts.figures["pue.trailing/site/alfa"].reason)


def test_location_based(facts: Facts) -> None:
    """alfa: half of its 88,320 kWh at 200 g and half at 400: 26,496,000 g. beta: 3.136 kWh at 700: 2,195.2 g. CUE 375 g/kWh."""
    assert 88_320 == 40 * 2208
    assert value(facts, "co2e.location/site/alfa") == str(88_320 * (200 + 400) // 2) == "26496000"
    assert value(facts, "co2e.location/site/beta") == nine(Fraction("3.136") * 700) == "2195.2"
    assert value(facts, "co2e.location") == "26498195.2"
    assert value(facts, "grid_intensity/site/alfa") == "300"
    assert value(facts, "cue/site/alfa") == nine(Fraction(26_496, 70_656)) == "0.375"
    assert facts.figures["cue/site/alfa"].dims["interim"] == "less than twelve months"
    assert (facts.figures["co2e.location/site/alfa"].boundary, facts.figures["co2e.location"].boundary) == ("facility", "mixed")


def test_market_based(facts: Facts) -> None:
    """The PPA brings 50 kWh into each of 6 x 92 hours that use 40: 22,080 kWh at 10 g, and 5,520 too many.

    Of the guarantees of origin for 36,500 kWh of 2026 the quarter has 92/365: 9,200 kWh at 0 g. Those that were kept, and those
    of another market, cover nothing. The other 57,040 kWh take the residual mix, 600 g: together 220,800 + 34,224,000 g.
    """
    rest = 88_320 - 22_080 - 9_200
    assert rest == 57_040
    assert value(facts, "co2e.market/site/alfa") == str(22_080 * 10 + rest * 600) == "34444800"
    assert value(facts, "co2e.market/site/beta") == "2195.2"
    assert "grid's average" in facts.figures["co2e.market/site/beta"].method
    covered = {f.dims["contract"]: f for f in facts.by_prefix("contract/alfa/")}
    assert {name: f.text for name, f in covered.items()} == {"wind": "22080", "go": "9200", "go-kept": "0", "go-abroad": "0"}
    assert covered["wind"].dims["unused: more than was consumed in its period"] == "5520"
    assert covered["go-kept"].dims["unused: not retired"] == str(7_300 * 92 // 365)
    assert covered["go-abroad"].dims["unused: another market"] == str(3_650 * 92 // 365)


def test_matching(facts: Facts) -> None:
    """Of 960 kWh per day. As bought: the PPA 6 x 40, the certificates of the year 100: 340.

    By the hour only the PPA has time stamps: six hours are full, 240. By the quarter of an hour nothing has. REF: generated on
    site 17,664 and renewable energy bought 31,280, of 105,984.
    """
    assert value(facts, "matched.as_bought/site/alfa") == nine(Fraction(340, 960))
    assert value(facts, "matched.hourly/site/alfa") == nine(Fraction(240, 960))
    why = facts.figures["matched.quarter_hourly/site/alfa"].reason
    assert why == "no contract has deliveries of clean electricity by the quarter of an hour"
    assert value(facts, "ref/site/alfa") == nine(Fraction(8 * 2208 + 31_280, 48 * 2208))
    assert value(facts, "energy.total_renewable/site/alfa") == str((17_664 + 31_280) * J)


def test_grams_of_workloads(facts: Facts) -> None:
    """chat's node energy 6.272 + 1.96 = 8.232 kWh at 200 g, times PUE 1.5, of which 40/48 came from the grid: 2,058 g.

    train 5.096: 1,274 in the same way; mix 1.96 at 700: 1,372; solo 823.2. Market-based figures are in proportion to alfa's
    34,444,800 g.
    """
    grid = Fraction(40, 48)
    chat, train = Fraction("8.232") * 200 * Fraction(3, 2) * grid, Fraction("5.096") * 200 * Fraction(3, 2) * grid
    mix, solo = Fraction("1.96") * 700, Fraction("1.176") * 700
    assert (chat, train, mix, solo) == (2058, 1274, 1372, Fraction("823.2"))
    assert value(facts, "co2e.held.location/team/nlp") == nine(chat + mix)
    assert value(facts, "co2e.held.location/team/vision") == nine(train)
    assert value(facts, "co2e.held.location/team/") == nine(solo)
    assert value(facts, "co2e.held.location") == nine(chat + train + mix + solo)
    market = Fraction(34_444_800, 26_496_000)
    assert value(facts, "co2e.held.market/team/nlp") == nine(chat * market + mix)
    assert value(facts, "co2e.held.market/team/vision") == nine(train * market)


def test_joules_per_token_in_four_rows(facts: Facts) -> None:
    """Llama fp8, 7,000,000 tokens: busy 5.88 kWh, with idle 6.272, with the host 8.232, with the building 12.348.

    qwen, 1,000,000: 0.98 and 1.176 kWh; its node is not metered. mix serves two models: neither has energy of its own.
    """
    for name, kwh in (("busy", "5.88"), ("gpu", "6.272"), ("node", "8.232"), ("facility", "12.348")):
        assert value(facts, f"j_per_token.{name}/model/Llama (fp8)") == nine(Fraction(kwh) * J / 7_000_000)
    assert value(facts, "j_per_token.busy/model/Llama (fp8)") == "3.024"
    assert value(facts, "j_per_token.busy/model/qwen") == nine(Fraction("0.98") * J / 1_000_000) == "3.528"
    assert value(facts, "j_per_token.gpu/model/qwen") == nine(Fraction("1.176") * J / 1_000_000)
    assert facts.figures["j_per_token.node/model/qwen"].reason == "no node of beta has a whole-node meter"
    assert "several models" in str(facts.figures["j_per_token.gpu/model/"].reason)
    assert not {i for i in facts.figures if i.startswith("j_per_token") and ("mix-a" in i or "mix-b" in i)}
    assert value(facts, "j_per_token.gpu") == nine(Fraction("9.408") * J / 8_150_000)
    assert value(facts, "tokens.generation/model/mix-a") == "100000"
    # Bounds: a 49th, and 1 J at either end of the intervals of two GPUs, active and idle together.
    low, high = Fraction("6.272") * 48 / 49 * J - 4, Fraction("6.272") * 50 / 49 * J + 4
    assert bounds(facts, "j_per_token.gpu/model/Llama (fp8)") == (nine(low / 7_000_000, "low"), nine(high / 7_000_000, "high"))


def test_training(facts: Facts) -> None:
    """train: 3.92 kWh on the GPU, 1.176 around it, times 1.5; 1,000 steps."""
    run = "/run/vision/resnet" if "training.energy/run/vision/resnet" in facts.figures else "/run/vision, resnet"
    assert value(facts, f"training.energy{run}") == joules("3.92")
    assert value(facts, f"training.energy.node{run}") == joules("5.096")
    assert value(facts, f"training.energy.facility{run}") == joules("7.644")
    assert facts.figures[f"training.energy{run}"].dims["steps"] == "1000"


def test_cost_by_time_of_use(facts: Facts) -> None:
    """alfa: 0.30 on 66 weekdays for 12 hours of 40 kWh, 31,680 kWh, 9,504 EUR; 0.10 for 56,640 kWh, 5,664 EUR. beta 0.6272."""
    weekdays = sum((date(2026, 7, 1) + timedelta(n)).weekday() < 5 for n in range(92))
    assert weekdays == 66
    peak = weekdays * 12 * 40
    alfa = peak * Fraction("0.30") + (88_320 - peak) * Fraction("0.10")
    assert value(facts, "cost/site/alfa") == nine(alfa) == "15168"
    assert value(facts, "cost/site/beta") == nine(Fraction("3.136") * Fraction("0.20")) == "0.6272"
    assert value(facts, "cost") == nine(alfa + Fraction("0.6272")) == "15168.6272"
    # chat: 8.232 kWh x 1.5 x 40/48 at 0.30; mix: 1.96 at 0.20.
    chat, mix = Fraction("10.29") * Fraction("0.30"), Fraction("1.96") * Fraction("0.20")
    assert value(facts, "cost/team/nlp") == nine(chat + mix) == "3.479"
    assert value(facts, "cost/team/vision") == nine(Fraction("6.37") * Fraction("0.30")) == "1.911"
    assert value(facts, "cost_per_million_tokens/model/Llama (fp8)") == nine(chat / 7) == "0.441"
    assert value(facts, "cost_per_million_tokens/team/nlp") == nine((chat + mix) / Fraction("7.15"))
    assert "cost_per_million_tokens/team/vision" not in facts.figures
    assert "cost_per_million_tokens/model/" not in facts.figures  # mix serves several


def test_price_classes(facts: Facts) -> None:
    """spot 1 EUR/h: vision 2 h. Others 2 EUR/h and half of the electricity: nlp 5 h, 10 + 3.479/2; no team 2 h, 4.1176."""
    assert value(facts, "charged/team/vision") == "2"
    assert value(facts, "charged/team/nlp") == nine(10 + Fraction("3.479") / 2) == "11.7395"
    assert value(facts, "charged/team/") == nine(4 + Fraction("0.2352") / 2)


def test_embodied_and_sci(facts: Facts) -> None:
    """10.25 h metered and 0.25 h unseen of boards of 100 to 200 kg over 5 years of 8,760 h.

    SCI of Llama fp8: (E x I + M) / R with E its facility energy, I = 2,058 g / 12.348 kWh, so that E x I is 2,058 g, M the part
    of the boards' by the 4 hours that it held of 10.5, R 7,000,000. Its span is that of M.
    """
    low, high = Fraction(100_000) * Fraction("10.5") / 43_800, Fraction(200_000) * Fraction("10.5") / 43_800
    assert bounds(facts, "embodied") == (nine(low, "low"), nine(high, "high"))
    assert {f.dims["life"] for f in facts.of("embodied", "sku") if f.low is not None} == {"5 years"}
    figure = facts.figures["sci_per_token/model/Llama (fp8)"]
    ends = (("low", 100_000), ("high", 200_000))
    spans = [nine((2058 + Fraction(embodied_g * 4, 43_800)) / 7_000_000, way) for way, embodied_g in ends]
    assert [plain(figure.low), plain(figure.high)] == spans
    assert figure.boundary == "facility"
    # SCI for AI counts processed tokens: 1,000,000 of prompts in addition.
    figure = facts.figures["sci_per_processed_token/model/Llama (fp8)"]
    spans = [nine((2058 + Fraction(embodied_g * 4, 43_800)) / 8_000_000, way) for way, embodied_g in ends]
    assert [plain(figure.low), plain(figure.high)] == spans
    # Of the other model nobody counted the prompts.
    reason = facts.figures["sci_per_processed_token/model/qwen"].reason
    assert reason is not None
    assert "no tokens were counted (R)" in reason


def test_coverage_against_the_inventory(facts: Facts) -> None:
    """Six boards of 2,208 h; metered 2 + 2 + 3.25 + 1 + 2 = 10.25 h; one never answered."""
    assert value(facts, "coverage") == nine(Fraction("10.25") / (6 * 2208), "low")
    assert value(facts, "coverage/site/alfa") == nine(Fraction("7.25") / (4 * 2208), "low")
    dead = facts.figures["missed/01"]
    assert (dead.dims["device"], dead.text) == ("GPU-dead", str(2208 * 3600))


def test_bridge_from_the_quarter_before(facts: Facts) -> None:
    """2026Q2: 3.43 kWh of nodes (beta: of GPUs) in 1.25 GPU hours of pods; 2026Q3: pods 11.368 in 7 h, slurm 5.096 in 2.

    Energy = hours x sum over kinds of share x kWh per hour. An effect is the mean of what its factor does over all orders.
    """
    then = {"volume": Fraction("1.25"), "mix": {"pod": Fraction(1), "slurm": Fraction(0)}}
    now = {"volume": Fraction(9), "mix": {"pod": Fraction(7, 9), "slurm": Fraction(2, 9)}}
    slurm = Fraction("5.096") / 2  # what one quarter does not have is taken as in the other: it is mix
    then["efficiency"] = {"pod": Fraction("3.43") / Fraction("1.25"), "slurm": slurm}
    now["efficiency"] = {"pod": Fraction("11.368") / 7, "slurm": slurm}

    def energy(of: dict) -> Fraction:
        return of["volume"] * sum(of["mix"][kind] * of["efficiency"][kind] for kind in ("pod", "slurm"))

    effects = dict.fromkeys(then, Fraction(0))
    for order in permutations(then):
        state = dict(then)
        for factor in order:
            before = energy(state)
            state[factor] = now[factor]
            effects[factor] += (energy(state) - before) / 6
    assert (energy(then), energy(now)) == (Fraction("3.43"), Fraction("16.464"))
    assert sum(effects.values()) == Fraction("13.034")
    for effect, kwh in effects.items():
        assert value(facts, f"bridge.energy/before/{effect}") == nine(kwh * J)
    assert value(facts, "bridge.energy/before/from") == joules("3.43")
    assert value(facts, "bridge.energy/before/to") == joules("16.464")
    assert facts.figures["bridge.energy/before/to"].boundary == "mixed"
    assert facts.figures["bridge.co2e/before"].reason == "the boundary of alfa was node then, and is facility now"
    # 2,000,000 tokens for 2.94 kWh then, 7,000,000 for 8.232 now.
    assert value(facts, "j_per_token.same_mix/before/then") == nine(Fraction("2.94") * J / 2_000_000)
    assert value(facts, "j_per_token.same_mix/before/now") == nine(Fraction("8.232") * J / 7_000_000)


def test_what_the_bridge_of_grams_is_made_of(gathered: tuple[PeriodEvidence, Sequence[Day]]) -> None:
    """Energy of nodes times PUE times grams are the grams of what was held, as co2e.held.location has them.

    PUE by what was held: alfa 13.328 kWh at 1.5, beta 3.136 of GPUs alone. Grams over 13.328 x 1.5 + 3.136 = 23.128 kWh.
    """
    now = side(gathered[0])
    assert now.pue == (Fraction("13.328") * Fraction(3, 2) + Fraction("3.136")) / Fraction("16.464")
    assert now.g_per_kwh == (2058 + 1274 + 1372 + Fraction("823.2")) / Fraction("23.128")  # test_grams_of_workloads
    assert now.volumes == {"pod": 7, "slurm": 2}


@pytest.mark.smoke
def test_a_users_files_give_the_same(facts: Facts, golden_days: Path, tmp_path: Path) -> None:
    """Through org.yaml and all that it names; but for the bill's error, which is 1 % there, each number is the same."""
    asked, ends = PeriodRequest("2026Q3"), (golden.YEAR - 366 * chains.DAY, golden.NEXT)
    file_facts = chains.facts(golden_days, load_organisation(golden.files(tmp_path), *ends, golden.NEXT), asked)
    for identity, figure in facts.figures.items():
        other = file_facts.figures[identity]
        assert (other.value, other.unit, other.boundary) == (figure.value, figure.unit, figure.boundary), identity
        if "wue" not in identity and "water" not in identity:
            assert (other.low, other.high) == (figure.low, figure.high), identity
    assert file_facts.figures.keys() == facts.figures.keys()
    assert bounds(file_facts, "wue/site/alfa") == ("1.782", "1.818")
    named = {Path(name).name for name, _ in file_facts.files}
    whose = {(s.publisher, s.licence, s.quality) for s in file_facts.grid_series}
    assert whose == {("the operator", "ours", 3)}  # of every series that a figure is made with
    assert {s.id for s in file_facts.grid_series} == {
        i for f in file_facts.figures.values() for i in f.factor_ids if i.startswith("series.")
    }
    assert named >= {"org.yaml", "alfa.yaml", "wind.csv", "inventory.csv"}


def test_the_period_of_each_site(facts: Facts) -> None:
    """beta's quarter begins at 00:00 in Kolkata; the cell before it is not in it."""
    beta = facts.sites["beta"]
    assert (beta.start, beta.end) == ("2026-07-01T00:00:00+05:30", "2026-10-01T00:00:00+05:30")
    assert int(beta.start_ns) == golden.NIGHT
    assert facts.status == "final"
    assert value(facts, "largest/01") == joules("6.272")
