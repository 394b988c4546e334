"""Addresses of servers: which are valid, and which requests everyone on the network path can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.address import is_loopback, is_readable, parse_address
from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.tokens.endpoint import check_url
from wattlens.agent_access import AgentAccess
from wattlens.gpus.listener import server_processes
from wattlens.prometheus.access import PrometheusAccess

NONE = [
    "", "h", "h:9090", "//h", "ftp://h", "file:///x", "http://", "http:///x", "http://:9", "http://[::", "http://[x]/", "http://h:99999",
    "http://h:x", "http://h:0", "http://u:p@h", "http://@h", "http://h#x", "http://h/ x", "http://h/\r\nX: 1", "http://h\t:9", "http://h/\x1b",
]  # fmt: skip


@pytest.mark.parametrize("url", NONE)
def test_what_is_no_address_is_refused_by_every_reader(url: str) -> None:
    with pytest.raises(ValueError, match=r"^expected an http:// or https:// URL without user"):
        parse_address(url, allow_query=True)
    with pytest.raises(UsageError, match=r"^--x: expected an http:// or https:// URL"):
        check_url(url, "--x")
    with pytest.raises(UsageError, match=r"^--prometheus: expected an http:// or https:// URL"):
        PrometheusAccess(url)
    with pytest.raises(UsageError, match=r"^--url: expected an http:// or https:// URL"):
        AgentAccess(url).opener()
    with pytest.raises(WattlensError, match="expected an http:// or https:// URL"):
        server_processes(url)


@given(st.one_of(st.text(), st.text("htps:/[]@?#.%1aé \n").map("http://".__add__)))
def test_any_text_is_an_address_or_refused_with_a_text_that_has_nothing_of_it(url: str) -> None:
    try:
        host = parse_address(url).hostname
    except ValueError as error:
        host = str(error)
    assert host == "expected an http:// or https:// URL without user, query and fragment" or (host and host in url.lower())


@pytest.mark.parametrize(
    ("url", "near", "readable"),
    [
        ("http://localhost:9/x", True, False), ("http://127.0.0.2", True, False), ("http://[::1]:9", True, False),
        ("http://h", False, True), ("https://h", False, False), ("http://localhost.example", False, True),
        ("HTTP://LOCALHOST", True, False),
    ],
)  # fmt: skip
def test_only_plain_http_to_another_machine_is_readable(url: str, near: bool, readable: bool) -> None:
    parts = parse_address(url)
    assert (is_loopback(parts), is_readable(parts)) == (near, readable)


def test_a_query_is_refused_where_it_is_not_allowed() -> None:
    assert parse_address("http://h/metrics?name=x", allow_query=True).query == "name=x"
    with pytest.raises(ValueError, match="user, query and fragment"):
        parse_address("http://h/metrics?name=x")
