"""Shared by the node and site processes: polling, the bounded HTTP client, files, text."""
