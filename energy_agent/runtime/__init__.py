"""Shared by processes: loops, threads, the bounded HTTP client, sockets, files."""
