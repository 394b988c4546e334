"""Types of texts with a format: the pattern, and the format in words for messages. Pure."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
LISTEN: Final = r"\S+:(0|[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
_DAY = "(?:[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at|[Ss]un)"
ADDRESS: Final = "address"
"""Kind of a fault in an address, which may have a user and a password."""


def text_format(pattern: str, expected: str, kind: str = "format") -> AfterValidator:
    """Return a check that all of a text matches a pattern; `expected` is the format in words."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError(kind, "expected {expected}", {"expected": expected})
        return text

    return AfterValidator(check)


EntryName = Annotated[
    str, text_format(NAME, "a name of at most 63 letters, digits, '.', '_' and '-' that begins with a letter or digit")
]
Listen = Annotated[
    str, text_format(LISTEN, "ADDRESS:PORT, such as 127.0.0.1:9479 or 0.0.0.0:9479, with a port of at most 65535")
]
ENDPOINT_URL: Final = text_format(
    r"https?://[^\s@]+", "a URL that begins with http:// or https://, without user and password", ADDRESS
)
ServiceUrl = Annotated[
    str,
    text_format(
        r"https?://[^\s/@]+",
        "http://HOST or https://HOST, with a port if it is not the default, without path, user and password",
        ADDRESS,
    ),
]
Host = Annotated[str, text_format("[A-Za-z0-9.:_-]{1,253}", "a host name or an address")]
RedfishId = Annotated[str, text_format(r"[^\s/?#]{1,128}", "an Id of at most 128 characters without spaces, '/', '?' and '#'")]
WeeklyTimes = Annotated[
    str,
    text_format(
        rf"({_DAY}(-{_DAY})?(,{_DAY}(-{_DAY})?)* )?([01]\d|2[0-4]):[0-5]\d-([01]\d|2[0-4]):[0-5]\d",
        "DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00, or HH:MM-HH:MM for every day",
    ),
]
