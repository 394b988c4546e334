"""Steering on a node: groups, requests, policies and the governor's thread."""
