"""Sections of the report: one file = one section = one `SPEC`; a section reads facts and never the ledger."""
