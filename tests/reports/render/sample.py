"""A report for the tests of the renderers: as long, as crooked and as hostile as real ones get."""

from dataclasses import replace
from fractions import Fraction

from reports.language import say_in
from reports.page.document import DocumentSection, ReportDocument
from reports.page.section import (
    Bars,
    Block,
    CheckedStatement,
    Heat,
    IntervalChart,
    IntervalMark,
    Lines,
    Note,
    ReportTable,
    StackedBar,
    Tile,
    Tiles,
    Waterfall,
    WaterfallStep,
)

WORDS = say_in("en").renderer

LONG = "platform-engineering-and-shared-inference-services-emea/retrieval-augmented-generation-evaluation-nightly"
F = Fraction
CHINESE = "自然语言处理与多模态推理平台联合实验室(北京)"
HOSTILE = '#read("/etc/passwd") *x* $y$ `z` <script>alert(1)</script>{{ 7*7 }} \\u{41} @label [b] // "q" & \u202eevil'
TEAMS = [
    "search-ranking",
    "ads-llm",
    "speech",
    LONG,
    "vision",
    "robotics",
    "foundation-models",
    "safety",
    "tools",
    "unallocated",
]

KINDS = {
    "active": "GPU, running kernels",
    "idle": "GPU, held but idle",
    "unheld": "GPU, held by nobody",
    "unattributed": "unattributed",
    "host": "host (CPU, memory, fans)",
    "overhead": "building overhead",
    "other": "other IT",
}

TILES = Tiles(
    (
        Tile(
            "Energy of the facility",
            "20.4 GWh",
            "±2.1 % (95 %); quality 2 of 5",
            "energy.facility.total",
            "−4.1 % on 2026Q2, +18 % on 2025Q3",
        ),
        Tile(
            "CO₂e, location-based", "6 812 t", "6 590 to 7 040 t; 41 % by the hour", "co2e.location.total", "−9.8 % on 2026Q2"
        ),
        Tile(
            "CO₂e, market-based",
            "2 140 t",
            "hourly matching 63.2 %; the rest at the residual mix",
            "co2e.market.total",
            "+2.0 % on 2026Q2",
        ),
        Tile(
            "Energy per token",
            "0.412 J",
            "0.38 to 0.45 J; largest model, facility boundary",
            "joules_per_token",
            "−12 % on 2026Q2",
        ),
        Tile("PUE of the quarter", "1.21", "category 2; trailing twelve months 1.23", "pue.quarter", ""),
        Tile("Coverage", "> 99.9 %", "of the inventory's device time", "quality.coverage", ""),
    )
)


def bars(count: int = 9) -> Bars:
    """Bars of teams, with a nought, a sliver, Chinese and a name that is too long."""
    names = [TEAMS[n % len(TEAMS)] + ("" if n < len(TEAMS) else f" {n}") for n in range(count)]
    team_bars = [
        StackedBar(
            name,
            f"{4200 // (n + 1)} MWh, {40 / (n + 1):.1f} %",
            (
                ("active", 9 * 10**20 // (n + 1)),
                ("idle", 3 * 10**20 // (n + 2)),
                ("host", 10**20 // (n + 1)),
                ("overhead", 2 * 10**19),
            ),
        )
        for n, name in enumerate(names)
    ]
    extra = [
        StackedBar(CHINESE, "12.1 MWh, 0.1 %", (("active", 2 * 10**18), ("unattributed", 10**18))),
        StackedBar("nothing at all", "0 Wh, 0 %", (("active", 0),)),
        StackedBar("nobody (idle device)", "310 MWh, 2.9 %", (("unheld", 10**20),)),
    ]
    return Bars("Energy by team", KINDS, (*team_bars, *extra))


ONE_BAR = Bars(
    "Energy by kind of work", {"active": "running"}, (StackedBar("inference", "1.2 GWh, 100 %", (("active", 1_200_000),)),)
)
NO_BARS = Bars("Energy of nothing", KINDS, ())

BRIDGE = Waterfall(
    "From 2026Q2 to 2026Q3",
    "t CO₂e",
    (
        WaterfallStep("2026Q2", F(7552), "7 552 t", level=True),
        WaterfallStep("more tokens", F(910), "+910 t"),
        WaterfallStep("efficiency of models and clocks", F(-830), "−830 t"),
        WaterfallStep("grid", F(-640), "−640 t"),
        WaterfallStep("PUE", F(-180), "−180 t"),
        WaterfallStep("2026Q3", F(6812), "6 812 t", level=True),
    ),
)
BELOW = Waterfall(
    "Signed saving of steering",
    "kWh",
    (
        WaterfallStep("prefill", F(-120), "−120 kWh"),
        WaterfallStep("decode", F(310), "+310 kWh"),
        WaterfallStep("training", F(-400), "−400 kWh"),
        WaterfallStep("sum", F(-210), "−210 kWh", level=True),
    ),
)
LAYERS = Waterfall(
    "From the running GPU to the meter",
    "MWh",
    (
        WaterfallStep("GPU running", F(9100), "9.10 GWh", level=True),
        WaterfallStep("GPU held idle", F(2300), "+2.30 GWh"),
        WaterfallStep("GPU held by nobody", F(310), "+0.31 GWh"),
        WaterfallStep("host (CPU, memory, network cards, fans)", F(3200), "+3.20 GWh"),
        WaterfallStep("other IT", F(1900), "+1.90 GWh"),
        WaterfallStep("building overhead", F(3590), "+3.59 GWh"),
        WaterfallStep("facility meter", F(20400), "20.4 GWh", level=True),
    ),
)
MANY_STEPS = Waterfall(
    "Energy by month and cause",
    "MWh",
    (
        WaterfallStep("July", F(100), "100", level=True),
        *(WaterfallStep(f"cause {n} " + "of change " * (n % 3), F((-1) ** n * n), f"{(-1) ** n * n:+d}") for n in range(1, 11)),
    ),
)

RANGES = IntervalChart(
    "Energy per generated token, by model and precision",
    "J/token",
    (
        IntervalMark("llama-4-maverick-17b-128e-instruct, fp8", F("0.41"), F("0.38"), F("0.45"), "0.41 (0.38 to 0.45)"),
        IntervalMark("qwen3-235b-a22b, fp8", F("0.62"), F("0.55"), F("0.71"), "0.62 (0.55 to 0.71)"),
        IntervalMark(CHINESE, F("1.9"), F("1.7"), F("2.2"), "1.9 (1.7 to 2.2)"),
        IntervalMark("measured over two minutes only", F("0.8"), F("0.01"), F(900), "0.8 (0.01 to 900)"),
        IntervalMark("no tokens counted", None, None, None, "not known"),
        IntervalMark("bounds alone", None, F("0.5"), F("1.5"), "0.5 to 1.5"),
        IntervalMark("at least", None, F("1.2"), None, "at least 1.2"),
        IntervalMark("no interval", F("0.9"), None, None, "0.9 (error not stated)"),
    ),
)
EMBODIED = IntervalChart(
    "Embodied carbon of one board", "kg CO₂e", (IntervalMark("H100 SXM", None, F(164), F(575), "164 to 575 kg"),)
)

DAYS = tuple(f"2026-{month:02d}-{day:02d}" for month, days in ((7, 31), (8, 31), (9, 30)) for day in range(1, days + 1))
DAILY = Lines(
    "Energy a day",
    "MWh",
    DAYS,
    {
        "Frankfurt": tuple(F(90 + (n * 37) % 23) if not 30 < n < 37 else None for n in range(92)),
        "Bengaluru": tuple(F(60 + (n * 17) % 9) for n in range(92)),
        "Oregon with a long name of a site": tuple(F(62 + (n * 29) % 7) if n > 44 else None for n in range(92)),
    },
)
PUE = Lines(
    "PUE, trailing twelve months",
    "",
    tuple(f"2026-{m:02d}" for m in range(1, 10)),
    {"PUE": tuple(F(125 - m, 100) for m in range(9))},
)
FLAT = Lines("A point and a gap", "W", ("a", "b", "c"), {"x": (None, F(5), None), "y": (None, None, None)})
HOURS = Heat(
    "Carbon intensity met, by hour and week",
    "g/kWh",
    tuple(f"W{27 + w}" for w in range(13)),
    tuple(f"{h:02d}" for h in range(24)),
    tuple(
        tuple(None if (w, h) in ((3, 4), (3, 5), (8, 20)) else F(180 + (h - 13) ** 2 * 2 + w * 9) for h in range(24))
        for w in range(13)
    ),
)
CALENDAR = Heat(
    "Coverage, by site and day",
    "%",
    ("Frankfurt", "Bengaluru", "Oregon", LONG),
    DAYS,
    tuple(tuple(None if (n + s * 7) % 41 == 3 else F(100 - (n * 13 + s) % 5) for n in range(92)) for s in range(4)),
)

BIG_TABLE = ReportTable(
    "Energy and carbon by project",
    ("Project", "Team", "Energy", "Idle share", "CO₂e", "Cost"),
    tuple(
        (
            LONG if n == 7 else CHINESE if n == 11 else f"project-{n:02d}",
            TEAMS[n % len(TEAMS)] if n != 7 else "platform",
            f"{12345 - n * 301:,} kWh".replace(",", "\u202f"),
            "not known" if n % 9 == 4 else f"{n * 2.3:.1f} %",
            f"{9876 - n * 251:,} kg".replace(",", "\u202f") if n != 20 else "−3.2 kg",
            f"{1000 + n * 77} EUR",
        )
        for n in range(40)
    ),
)
BROAD_TABLE = ReportTable(
    "Four rows of energy per token",
    ("Model", "Precision", "GPU busy", "+ idle", "+ host", "+ facility", "Tokens", "Low", "High", "Method"),
    tuple(
        (f"model-with-a-name-{n}", "fp8", "0.21 J", "0.26 J", "0.34 J", "0.412 J", "1.2 × 10¹²", "0.38 J", "0.45 J", "counter")
        for n in range(6)
    ),
)
PAIRS = ReportTable(
    "How sure this is",
    (),
    (("Measured by counters", "97.1 %"), ("Bridged", "1.9 %"), ("Modelled", "1.0 %"), ("Missing", "0 %")),
)
GLOSSARY = ReportTable(
    "Words",
    ("Word", "Meaning"),
    tuple(
        (w, "What it means, in a sentence that is long enough to need two lines on a page, and perhaps three on a phone.")
        for w in ("PUE", "WUE", "CUE", "REF", "ERF", "SCI", "location-based", "market-based", "residual mix")
    ),
)
PROSE = Note(
    "Facility energy fell by 4.1 % although 11 % more tokens were generated: two models moved to FP8 in July, and the clocks "
    "of decode engines were held at their knee from 9 August on. The grid of Frankfurt was cleaner by 8 %."
)


def section(*blocks: Block, title: str) -> DocumentSection:
    """A section."""
    return DocumentSection(title, blocks)


SECTIONS = (
    section(
        TILES,
        PROSE,
        CheckedStatement(True, "The parts of every device sum to its energy, to the last microjoule."),
        title="In short",
    ),
    section(LAYERS, bars(), BIG_TABLE, title="Where the energy went"),
    section(ONE_BAR, NO_BARS, title="Kinds of work"),
    section(PAIRS, title="How sure"),
    section(RANGES, BROAD_TABLE, PROSE, title="Energy per token"),
    section(BRIDGE, BELOW, MANY_STEPS, title="Changes and their causes"),
    section(HOURS, DAILY, PUE, FLAT, title="Hours and days"),
    section(
        EMBODIED, Note(HOSTILE), ReportTable(HOSTILE, (HOSTILE, "x"), ((HOSTILE, "1"),)), title=f"Names that attack: {HOSTILE}"
    ),
    section(CALENDAR, CheckedStatement(False, "Every chain is whole: node 0421 lacks segment 77."), title="Data quality"),
    section(GLOSSARY, *(Note(PROSE.text * 2),) * 6, title="Methodology and glossary"),
)

DOCUMENT = ReportDocument(
    language="en",
    title="Energy and emissions, 2026Q3",
    organisation="Example Compute SE & Co. KGaA",
    period="1 July to 30 September 2026, days of each site's own time zone",
    watermark="SIMULATED",
    banners=(
        "These figures are from simulated hardware: they show what a report looks like, and nothing about a real fleet.",
        "Coverage is 93.1 %, below 95 %; it was accepted with --accept-coverage 93.",
    ),
    sections=SECTIONS,
    hidden=(("Water", "no meter of water is in the configuration"), ("Heat reuse", "no meter of reused heat"), (LONG, HOSTILE)),
    footer="Wattlens 0.7.0, facts.json SHA-256 5f2b8c01d9e4a7739a0c",
    words=WORDS,
)

PLAIN = replace(
    DOCUMENT,
    watermark="",
    banners=(),
    hidden=(),
    sections=(
        section(TILES, PROSE, title="In short"),
        section(
            LAYERS, replace(bars(), bars=tuple(b for b in bars().bars if b.label != CHINESE)), title="Where the energy went"
        ),
    ),
)
"""A short report without a letter beyond Latin script."""
