"""Naming a source in public."""

from __future__ import annotations

import urllib.parse


def without_login(source: str) -> str:
    """`source` without the user and password that a URL may carry."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def login_of(source: str) -> str:
    """The `user:password` that a URL carries, or nothing."""
    host = source.partition("://")[2].partition("/")[0]
    return urllib.parse.unquote(host.rpartition("@")[0])
