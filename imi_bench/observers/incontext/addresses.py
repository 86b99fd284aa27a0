"""Addresses of servers: for requests, and for records and messages."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit, urlunsplit

__all__ = ["public_address", "split_address"]


def split_address(url: str) -> tuple[str, dict[str, str]]:
    """An address and its query, which belongs behind the path of each request."""
    parts = urlsplit(url)
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    return bare, dict(parse_qsl(parts.query))


def public_address(url: str) -> str:
    """An address without credentials or query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{host}{port}", parts.path.rstrip("/"), "", ""))
