"""Reporting frameworks: their datapoints and the figures that answer them."""
