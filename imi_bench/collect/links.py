"""Links that only the experimenter can make: an identity and its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac

from imi_bench.arguments import checked
from imi_bench.collect.store import Store


def token(secret: bytes, purpose: str, text: str = "") -> str:
    """A signature of `text` for one purpose, 20 bytes in URL-safe base 64.

    Examples
    --------
    >>> token(b"secret", "link", "a") == token(b"secret", "link", "a")
    True
    """
    digest = hmac.new(secret, f"{purpose}|{text}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:20]).decode().rstrip("=")


def signed(secret: bytes, identity: str) -> str:
    """``identity.signature``."""
    return f"{identity}.{token(secret, 'link', identity)}"


def identity_of(secret: bytes, text: str) -> str | None:
    """The identity of a signed token; None where the signature is another's."""
    identity, _, signature = text.rpartition(".")
    good = hmac.compare_digest(signature.encode(), token(secret, "link", identity).encode())
    return identity if identity and good else None


@checked
def links(store: Store, count: int, *, base: str = "http://127.0.0.1:8000") -> list[str]:
    """Links for single participants, each good for one person.

    Parameters
    ----------
    store : Store
    count : int
    base : str
        Where people reach the server.
    """
    from urllib.parse import quote

    return [
        f"{base.rstrip('/')}/?t={quote(signed(store.secret, identity))}"
        for identity in store.new_identities(count)
    ]
