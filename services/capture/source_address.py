"""A source's address as others may see it: without the login and the secrets that a URL may carry.

public_address("http://pi:horse@10.0.0.7/video?pwd=horse")  # http://10.0.0.7/video?pwd=***
"""

from __future__ import annotations

import re
import urllib.parse

_SECRET = re.compile(r"(?<==)[^&;#?/]+|(?<=[?#&;])[^=&;#]+(?![^&;#])")
"""Every value, and what stands in a query without a name. Each maker of cameras calls its password otherwise;
some take it in the path, as in `/user=admin&password=horse&channel=1`."""


def public_address(source: str) -> str:
    """`source` without its login, and with every value in its path, query and fragment hidden."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    _login, host, path = _parts(rest)
    return f"{scheme}{separator}{host}{_SECRET.sub('***', path)}"


def without_login(url: str) -> str:
    """The URL to ask a server for: all of it but the login."""
    scheme, separator, rest = url.partition("://")
    _, host, path = _parts(rest)
    return f"{scheme}{separator}{host}{path}"


def login_of(url: str) -> str:
    """The `user:password` that a URL carries, or nothing."""
    return urllib.parse.unquote(_parts(url.partition("://")[2])[0])


def _parts(rest: str) -> tuple[str, str, str]:
    """What follows `://`, as (login, host, path with query and fragment)."""
    authority, slash, path = rest.partition("/")
    login, _, host = authority.rpartition("@")
    end = re.search(r"[?#]", host)
    query = "" if end is None else host[end.start() :]
    return login, host[: len(host) - len(query)], f"{query}{slash}{path}"
