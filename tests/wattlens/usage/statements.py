"""Statements of usage of records and of days, each from tables of its own."""

from wattlens.job.statement import report_of
from wattlens.usage.ledger_rows import read_ledger
from wattlens.usage.opened import open_days, open_record
from wattlens.usage.sums import statement_of


def usage_of(record, by):
    """The statement of a record."""
    with open_record(record) as ledger:
        return statement_of(ledger, by)


def read_usage(folder, by, *period):
    """The statement of segments."""
    return usage_of(read_ledger(folder, *period), by)


def read_days(folder, by, start_ns, end_ns, organisation=None):
    """The statement of compacted days."""
    with open_days(folder, start_ns, end_ns, organisation) as ledger:
        return statement_of(ledger, by, organisation)


def job_report(record, address):
    """The statement of a job in a record."""
    with open_record(record) as ledger:
        return report_of(ledger, address)


def read_job_days(folder, start_ns, end_ns, address):
    """The statement of a job in compacted days."""
    with open_days(folder, start_ns, end_ns) as ledger:
        return report_of(ledger, address)
