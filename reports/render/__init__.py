"""Forms of the report, each drawn from the facts and the blocks of the sections."""
