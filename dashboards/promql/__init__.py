"""Queries that several dashboards share."""
