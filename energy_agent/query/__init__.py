"""Engines that run the SQL of statements and reports."""
