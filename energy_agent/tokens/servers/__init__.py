"""Inference servers: one file per server, with the names and behaviour of its counters as data (`server_spec`).

`endpoint` reads a response within bounds, `series` parses its lines, `response_parser` selects values by the server's names,
`account` follows the counters, and `discovery` finds endpoints from pod annotations.
"""
