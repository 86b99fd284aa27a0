"""Getting bytes over HTTP that survives a cut connection: bounded retries, resume by range."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imi_bench.errors import DownloadError
from imi_bench.progress import progress

_RETRY_STATUS = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_CHUNK = 1 << 14  # what a cut connection loses at most


@dataclass(frozen=True)
class Patience:
    """How often and how long to try.

    Attributes
    ----------
    attempts : int
        Requests that may fail in a row before giving up; a transfer that moved on counts anew.
    backoff : float
        Seconds before the second attempt; doubled each time, at most a minute. A ``Retry-After``
        of the server is kept to, up to a minute.
    timeout : float
        Seconds without a byte before a request counts as failed.
    """

    attempts: int = 5
    backoff: float = 1.0
    timeout: float = 30.0


def get(url: str, *, patience: Patience, remedy: str) -> bytes:
    """The whole body at `url`.

    Raises
    ------
    DownloadError
        If the server refuses, or cannot be reached with this patience; `remedy` says what to do.
    """
    body: list[bytes] = []
    _persist(
        url, lambda: {}, lambda response: body.append(response.content), lambda: 0, patience, remedy
    )
    return body[0]


def transfer(url: str, part: Path, *, size: int, patience: Patience, remedy: str) -> None:
    """Fill the file `part` up to `size` bytes, going on from what it holds.

    A server that ignores the range sends the whole file, and the part starts anew.

    Raises
    ------
    DownloadError
        As `get`, or if the server sends more than `size` bytes. The part stays for the next time.
    """
    if part.is_file() and part.stat().st_size > size:
        part.unlink()
    part.touch()

    def have() -> int:
        return part.stat().st_size

    if have() == size:
        return
    with progress(part.stem, total=size, unit="bytes") as advance:
        advance(have())
        _persist(
            url,
            lambda: {"Range": f"bytes={have()}-"} if have() else {},
            lambda response: _receive(response, part, size, advance),
            have,
            patience,
            remedy,
        )


def _receive(response: Any, part: Path, size: int, advance: Callable[[int], None]) -> None:
    """Append the body to the part, or start the part anew; a short body is a cut connection."""
    import requests

    have = part.stat().st_size
    begins = f"bytes {have}-"
    if response.status_code == 416 or (
        response.status_code == 206
        and not response.headers.get("Content-Range", "").startswith(begins)
    ):
        part.write_bytes(b"")
        advance(-have)
        raise requests.ConnectionError("the server does not continue where the part ends")
    if response.status_code != 206:
        advance(-have)
        have = 0
    with part.open("ab" if have else "wb") as stream:
        for chunk in response.iter_content(_CHUNK):
            stream.write(chunk)
            have += len(chunk)
            advance(len(chunk))
            if have > size:
                raise DownloadError(
                    "more bytes than the record says",
                    where=response.url,
                    found=f"over {size}",
                    wanted=f"{size} bytes",
                )
    if have < size:
        raise requests.ConnectionError(f"connection cut after {have} of {size} bytes")


def _persist(
    url: str,
    headers: Callable[[], dict[str, str]],
    use: Callable[[Any], None],
    moved: Callable[[], int],
    patience: Patience,
    remedy: str,
) -> None:
    """GET until `use` is through; attempts count from the last one after which `moved` grew."""
    import requests

    failures, furthest = 0, moved()
    while True:
        wait = min(patience.backoff * 2**failures, _LONGEST_WAIT)
        try:
            with requests.get(
                url,
                headers={"Accept-Encoding": "identity", **headers()},
                stream=True,
                timeout=patience.timeout,
            ) as response:
                if response.status_code not in _RETRY_STATUS:
                    _refuse(response, remedy)
                    return use(response)
                found = f"HTTP {response.status_code} {response.reason}"
                wait = max(wait, _retry_after(response.headers.get("Retry-After", "")))
        except requests.RequestException as error:
            found = f"{type(error).__name__}: {error}"
        failures = failures + 1 if moved() <= furthest else 1
        furthest = max(furthest, moved())
        if failures >= patience.attempts:
            raise DownloadError(
                "cannot be fetched", where=url, found=f"{found} ({failures} attempts)", do=remedy
            )
        time.sleep(wait)


def _refuse(response: Any, remedy: str) -> None:
    if response.status_code >= 400 and response.status_code != 416:
        raise DownloadError(
            "the server refuses",
            where=response.url,
            found=f"HTTP {response.status_code} {response.reason}",
            do=remedy,
        )


def _retry_after(value: str) -> float:
    return min(float(value), _LONGEST_WAIT) if value.isdigit() else 0.0
