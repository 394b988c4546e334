"""What the energy cost, by tariffs or invoices, and what GPU hours are charged, by site, team and million tokens.

A site with tariffs costs its energy by cell times their prices. A site without tariffs costs the amounts of its invoices, and
workloads take their share of the site's energy. With both, the tariffs give the cost, and the amounts are compared with it.
"""

from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction

from energy_agent.core.quantity import ZERO, Quantity, exactly, no_quantity
from energy_agent.core.units import NS_PER_H, UJ_PER_KWH
from reports.figures import wording
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import Figure, quotient_text
from reports.figures.measures._measure import ALL, FigureSubject, Measure, groups, of_site
from reports.figures.measures.carbon import base, boundary, boundary_of, from_grid, nothing_of
from reports.figures.measures.tokens import generated
from reports.figures.variance import relative_difference, state_of
from reports.inputs.organisation import price_of
from reports.ledger.sums import PartEnergy
from reports.period import local_text
from reports.site.grid import kwh
from reports.site.invoices import SEVERAL_CURRENCIES, InvoicedCost

SOURCES = ("ledger", "tariffs")
INVOICES = ("ledger", "invoices")
NO_TARIFF = "no input has tariffs or amounts of invoices"
NOT_EVERY_SITE = "not every site has tariffs or amounts of invoices"
MIXED_TAX = "the invoices of some sites include taxes, those of others do not"
TAX_AND_TARIFFS = "invoices include taxes, and tariffs do not"
BY_TARIFF = "tariffs by time of use"
BY_INVOICE = "amounts of the supplier's invoices"
SHARE_OF_INVOICE = "share of the site's energy times the amounts of its invoices"
BY_PRICE = "energy of each cell times its price, times PUE where it is known"
UNPRICED = "its sites have no tariffs"
REST = "the total minus the workloads' share"
NO_PEAK = "a tariff charges peak demand, and an invoice does not state it"
VARIANCE = "amounts of the supplier's invoices over the cost by tariffs, minus 1"
UNBOUNDED = "the bounds of the cost by tariffs include 0"
DEMAND = "highest mean power over 15 minutes of each month times its price, months that the period cuts by time"
UNPAID = "the cost of its electricity is not known"
BY_OWNER = {"team", "model", "project"}
"""Dimensions of groups whose cost is a figure."""
IN_CURRENCY = "cost.currency"
"""How subtotals begin, with the currency after a slash, where sites pay in several: no rate converts one into another."""


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Money. Absent where tariffs are of several currencies, or do not cover the period."""
    for name, site in sorted(evidence.sites.items()):
        here, within, sources = of_site(name), boundary(evidence, name), cost_sources([site])
        amount, unit = _of_site(evidence, name)
        details = {} if site.grid.spent is None else {"unpriced_kwh": quotient_text(kwh(site.grid.spent.unpriced_uj))}
        by_invoice = _invoiced(site)
        details |= {} if by_invoice is None else _terms(by_invoice)
        yield here.figure("cost", amount, unit, _method([site]), within, details, sources=sources)
        yield from _demand(evidence, name)
        yield from _compared(evidence, name, amount, unit)
        yield here.figure(
            "cost.unattributed", amount.rest(_workload_cost(evidence, [name])), unit, REST, within, sources=sources
        )
    one, why = _currency(evidence, evidence.sites)
    every, total, sources, within = evidence.sites.values(), no_quantity(why), SOURCES, "facility"
    if one:
        total, sources = _of_sites(evidence, evidence.sites), cost_sources(every)
        within = boundary_of(evidence, evidence.sites)
    rest = total.rest(_workload_cost(evidence, evidence.sites))
    for quantity, amount, how in (("cost", total, _method(every)), ("cost.unattributed", rest, REST)):
        yield ALL.figure(quantity, amount, one or "money", how, within, sources=sources)
    yield from _subtotals(evidence)
    for group, rows in groups(evidence):
        if "team" in group.dims and evidence.organisation.prices:
            yield _charged(evidence, group, rows)
        if why != NO_TARIFF and group.dims.keys() & BY_OWNER:
            yield from _of_group(evidence, group, rows)


def _subtotals(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Yield the cost in each currency where sites pay in several: of all, of each group, and what is in no workload."""
    sites_of: dict[str, list[str]] = {}
    for name, site in sorted(evidence.sites.items()):
        sites_of.setdefault(currency_of(site), []).append(name)
    if len(sites_of) < 2 or "" in sites_of:
        return
    for currency, names in sorted(sites_of.items()):
        _, why = _currency(evidence, names)
        site_evidence = [evidence.sites[name] for name in names]
        within, sources = boundary_of(evidence, names), cost_sources(site_evidence)
        total = no_quantity(why) if why else _of_sites(evidence, names)
        every = FigureSubject(f"/{currency}", {"currency": currency, "sites": ", ".join(names)})
        yield every.figure(IN_CURRENCY, total, currency, _method(site_evidence), within, sources=sources)
        rest = total.rest(_workload_cost(evidence, names))
        yield every.figure("cost.unattributed/currency", rest, currency, REST, within, sources=sources)
        for group, rows in groups(evidence):
            mine = [r for r in rows if r.site in names]
            if mine and group.dims.keys() & BY_OWNER:
                amount, of = no_quantity(why) if why else _paid(evidence, mine), {"currency": currency}
                yield group.figure(
                    f"{IN_CURRENCY}/{currency}", amount, currency, share_method(site_evidence), within, of, sources=sources
                )


def _of_sites(evidence: PeriodEvidence, names: Iterable[str]) -> Quantity:
    """What some sites paid, in one currency."""
    return sum((_of_site(evidence, name)[0] for name in names), ZERO)


def _workload_cost(evidence: PeriodEvidence, names: Collection[str]) -> Quantity:
    """What the energy of all workloads of some sites cost."""
    return _paid(evidence, [r for r in evidence.sums.part_rows if r.part and r.site in names])


def is_priced(site: SiteEvidence) -> bool:
    """Whether a site has tariffs, or invoices with amounts."""
    return site.grid.spent is not None or site.invoices.cost is not None


def currency_of(site: SiteEvidence) -> str:
    """The currency in which a site pays; "" without prices, or if they use several."""
    by_invoice = _invoiced(site)
    return site.grid.currency if by_invoice is None else by_invoice.currency


def _invoiced(site: SiteEvidence) -> InvoicedCost | None:
    """The cost by invoices of a site without tariffs; None: it has tariffs, or no amounts."""
    return None if site.grid.spent is not None else site.invoices.cost


def _method(sites: Iterable[SiteEvidence]) -> str:
    """How the cost of sites is calculated."""
    return _ways(sites, BY_TARIFF, BY_INVOICE)


def share_method(sites: Iterable[SiteEvidence], by_tariff: str = BY_PRICE) -> str:
    """How the cost of workloads at sites is calculated."""
    return _ways(sites, by_tariff, SHARE_OF_INVOICE)


def cost_sources(sites: Iterable[SiteEvidence]) -> tuple[str, ...]:
    """What the cost of sites is calculated from."""
    ways = {_invoiced(site) is not None for site in sites}
    return ("ledger", *(["tariffs"] if ways != {True} else []), *(["invoices"] if True in ways else []))


def _ways(sites: Iterable[SiteEvidence], by_tariff: str, by_invoice: str) -> str:
    ways = {by_tariff if _invoiced(site) is None else by_invoice for site in sites}
    return f"{by_tariff}, or {by_invoice}" if len(ways) == 2 else ways.pop()


def _terms(cost: InvoicedCost) -> dict[str, str]:
    """Whether amounts include taxes, and the share by time of each invoice that the period cuts."""
    cut = "; ".join(f"{number}: {quotient_text(share, digits=6)}" for number, share in cost.cut)
    return {"tax": "included" if cost.with_tax else "excluded"} | ({"prorated": cut} if cut else {})


def _compared(evidence: PeriodEvidence, name: str, by_tariff: Quantity, currency: str) -> Iterator[Figure]:
    """Yield the amounts of the invoices of a site that also has tariffs, and their difference from the cost by these.

    Only a difference whose bounds lie above the threshold as a whole is a finding.
    """
    site = evidence.sites[name]
    cost = site.invoices.cost
    if cost is None or site.grid.spent is None:
        return
    here, of = of_site(name), _terms(cost)
    yield here.figure("cost.invoiced", cost.money, cost.currency or "money", BY_INVOICE, "facility", of, sources=INVOICES)
    threshold = evidence.organisation.variance
    of |= {"threshold": quotient_text(threshold)}
    if cost.money.value is None or not by_tariff.value:
        difference = no_quantity(cost.money.reason or by_tariff.reason or "the tariffs give no cost")
    elif cost.with_tax:
        difference = no_quantity(TAX_AND_TARIFFS)
    elif cost.currency != currency:
        difference = no_quantity("invoices and tariffs use different currencies")
    else:
        difference = relative_difference(cost.money, by_tariff)
        if difference.value is None:
            difference = no_quantity(UNBOUNDED)
        else:
            of["state"] = state_of(difference, threshold)
    yield here.figure("cost.variance", difference, "ratio", VARIANCE, "facility", of, sources=INVOICES)


def _currency(evidence: PeriodEvidence, sites: Iterable[str]) -> tuple[str, str]:
    """In what some sites pay, and why that is not one currency; one of the two is empty."""
    every = [evidence.sites[name] for name in sites]
    currencies = {currency_of(site) for site in every}
    invoiced = [cost for cost in map(_invoiced, every) if cost is not None]
    if len({cost.with_tax for cost in invoiced}) > 1:
        return "", MIXED_TAX
    if any(cost.with_tax for cost in invoiced) and any(site.grid.spent is not None for site in every):
        return "", TAX_AND_TARIFFS
    if len(currencies) == 1 and currencies != {""}:
        return currencies.pop(), ""
    if any(site.grid.spent is not None and not site.grid.currency for site in every):
        return "", "tariffs use several currencies"
    if any(not cost.currency for cost in invoiced):
        return "", SEVERAL_CURRENCIES
    if currencies <= {""}:
        return "", NO_TARIFF
    return "", NOT_EVERY_SITE if "" in currencies else "the sites pay in several currencies"


def _of_site(evidence: PeriodEvidence, name: str) -> tuple[Quantity, str]:
    grid = evidence.sites[name].grid
    by_invoice = _invoiced(evidence.sites[name])
    if by_invoice is not None:
        return by_invoice.money, by_invoice.currency or "money"
    if grid.spent is None or not grid.currency:
        return no_quantity(NO_TARIFF if grid.spent is None else "tariffs use several currencies"), "money"
    if grid.spent.unpriced_uj:
        return no_quantity(f"{wording.fixed(kwh(grid.spent.unpriced_uj), 2)} kWh have no tariff"), grid.currency
    if grid.spent.demand is None:
        return no_quantity(NO_PEAK), grid.currency
    energy = base(evidence, name)
    peaks = sum((charge.money for charge in grid.spent.demand), Fraction(0))
    paid = grid.spent.by_currency.get(grid.currency, Fraction(0))
    if energy.value is None or not grid.uj:
        return nothing_of(evidence, name, energy), grid.currency
    return energy * exactly(paid / grid.uj) + exactly(peaks), grid.currency


def _demand(evidence: PeriodEvidence, name: str) -> Iterator[Figure]:
    """Yield the charge for peak demand of a site that has one, which is a part of its cost."""
    site = evidence.sites[name]
    spent = site.grid.spent
    if spent is None or not site.grid.currency or spent.demand == ():
        return
    zone = "UTC" if site.inputs is None else site.inputs.zone.key
    dims = {}
    for number, charge in enumerate(spent.demand or (), 1):
        kw = quotient_text(charge.peak_kw, digits=4)
        at = "by invoice" if charge.peak_ns is None else f"at {local_text(charge.peak_ns, zone)[:16]}"
        times = "" if charge.months == 1 else f" for {quotient_text(charge.months, digits=4)} months"
        dims[f"{charge.month} {number}"] = f"{kw} kW {at}, {charge.per_kw} {charge.currency}/kW{times}, tariff {charge.tariff}"
    money = None if spent.demand is None else sum((charge.money for charge in spent.demand), Fraction(0))
    amount = no_quantity(NO_PEAK) if money is None else Quantity(money)
    within = boundary(evidence, name)
    yield of_site(name).figure("cost.demand", amount, site.grid.currency, DEMAND, within, dims, sources=SOURCES)


def _of_group(evidence: PeriodEvidence, group: FigureSubject, rows: list[PartEnergy]) -> Iterator[Figure]:
    sites = {r.site for r in rows}
    site_evidence = [evidence.sites[site] for site in sites]
    how, sources = share_method(site_evidence), cost_sources(site_evidence)
    within = boundary_of(evidence, sites)
    amount, currency = electricity_cost(evidence, rows)
    yield group.figure("cost", amount, currency or "money", how, within, sources=sources)
    serving = {t.part for t in evidence.sums.tokens if t.phase == "generation" and t.tokens}
    mine = [r for r in rows if r.part in serving]
    tokens = generated(evidence, {r.part for r in mine})
    if tokens and not ("model" in group.dims and any(evidence.sums.parts[r.part].mixed for r in mine)):
        paid, currency = electricity_cost(evidence, mine)
        per, unit = paid / Fraction(tokens, 1_000_000), f"{currency or 'money'}/10^6 tokens"
        yield group.figure("cost_per_million_tokens", per, unit, how, within, sources=sources)


def electricity_cost(evidence: PeriodEvidence, rows: list[PartEnergy]) -> tuple[Quantity, str]:
    """What the energy of some workloads cost, and in which currency: the one in which all sites pay that they were at."""
    currency, why = _currency(evidence, {r.site for r in rows})
    if not currency:
        return no_quantity(UNPRICED if why == NO_TARIFF else why), ""
    return _paid(evidence, rows), currency


def _paid(evidence: PeriodEvidence, rows: list[PartEnergy]) -> Quantity:
    """What the energy of some workloads cost."""
    priced = {(p.site, p.part): p for p in evidence.priced}
    money = Fraction(0)
    reason = ""
    for site, part in sorted({(r.site, r.part) for r in rows}):
        row = priced.get((site, part))
        if row is None:
            continue
        whole = boundary(evidence, site) == "facility"
        pue = evidence.pue(site) if whole else Quantity(Fraction(1))
        by_invoice = _invoiced(evidence.sites[site])
        if pue.value is None:
            reason = pue.reason or "part of its energy has no tariff"
            continue
        share = pue.value * (from_grid(evidence.sites[site]) if whole else 1)
        if by_invoice is not None:
            energy = base(evidence, site)
            if by_invoice.money.value is None or not energy.value:
                reason = by_invoice.money.reason or energy.reason or "no energy was metered"
            else:
                money += by_invoice.money.value * (row.gpu_uj + row.host_uj) * share / energy.value
        elif row.unpriced_uj:
            reason = "part of its energy has no tariff"
        else:
            money += row.money / UJ_PER_KWH * share
    return no_quantity(reason) if reason else Quantity(money)


def _charged(evidence: PeriodEvidence, group: FigureSubject, rows: list[PartEnergy]) -> Figure:
    """The charges of a team by price class: a price per GPU-hour, and a share of its electricity cost.

    Hours of a class without a price are not charged; the figure's dims contain their sum.
    """
    classes: dict[str, list[PartEnergy]] = {}
    for row in rows:
        classes.setdefault(evidence.sums.parts[row.part].price_class, []).append(row)
    charge, unpriced, money, priced, reason = Fraction(0), Fraction(0), set[str](), False, ""
    for name, mine in sorted(classes.items()):
        price = price_of(name, evidence.organisation.prices)
        hours = Fraction(sum(r.gpu_ns for r in mine if r.device_class == "gpu"), NS_PER_H)
        if price is None:
            unpriced += hours
            continue
        priced = True
        charge += Fraction(price.per_gpu_hour or 0) * hours
        currency = ""
        if price.electricity_share is not None:
            paid, currency = electricity_cost(evidence, mine)
            charge += Fraction(price.electricity_share) * (paid.value or 0)
            reason = reason or (UNPAID if paid.reason == UNPRICED else paid.reason)
        money |= {price.currency, currency} - {""}
    one = next(iter(money)) if len(money) == 1 else ""
    if not priced:
        reason = "none of its workloads has a price class with a price"
    elif not one:
        reason = reason or "price classes and tariffs use several currencies"
    amount = no_quantity(reason) if reason else Quantity(charge)
    of = {"currency": one} | ({"unpriced_gpu_hours": quotient_text(unpriced)} if unpriced else {})
    return group.figure("charged", amount, one or "money", "price classes", "gpu", of, sources=SOURCES)


SPEC = Measure("cost of the energy, and charges for GPU hours", figures)
