"""Token servers: one file = one kind of server, as data: what its counters are called and how they behave (`_server`).

`_page` fetches a page within bounds, `_series` takes it apart, `_reader` reads it by the server's names, `_account` follows the
counters from one reading to the next, `_discovery` finds pages by what pods say of themselves.
"""
