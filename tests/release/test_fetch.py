"""Fetching, against a server of our own on loopback that imitates the record and its faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from imi_bench.errors import DownloadError, InputError, ResponseError
from imi_bench.release.cells import REQUIRED
from imi_bench.release.download import Patience
from imi_bench.release.fetch import (
    DOI,
    RECORD_FILE,
    RECORD_URL,
    cache_folder,
    fetch,
    fetch_from,
    parse_record,
    stored,
)

SWIFT = Patience(attempts=3, backoff=0.001, timeout=60)
# Larger than one chunk of the transfer, so that a cut falls within the file.
TABLE = (",".join(REQUIRED) + "\n").encode() + b"x" * 700_000
NAMES = ("responses_main.csv", "responses_all.csv")


@dataclass
class Record:
    """A record behind loopback HTTP; `faults` are used up one a request for a table."""

    files: dict[str, bytes]
    checksums: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    record_faults: list[str] = field(default_factory=list)
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def json(self) -> dict:
        return {
            "id": 8131197,
            "doi": DOI,
            "files": [
                {
                    "key": name,
                    "size": len(body),
                    "checksum": self.checksums.get(name, "md5:" + hashlib.md5(body).hexdigest()),
                    "links": {"self": f"{self.url}/files/{name}/content"},
                }
                for name, body in self.files.items()
            ],
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    record: Record

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        part = self.headers.get("Range", "")
        self.record.requests.append((self.path, part))
        about_record = self.path.startswith("/api/")
        faults = self.record.record_faults if about_record else self.record.faults
        fault = faults.pop(0) if faults else ""
        if fault.isdigit():
            self.answer(int(fault), b"busy", {"Retry-After": "0"})
        elif about_record:
            body = b"<html>" if fault == "html" else json.dumps(self.record.json()).encode()
            self.answer(200, body)
        else:
            self.send_table(self.record.files[self.path.split("/")[2]], part, fault)

    def send_table(self, body: bytes, part: str, fault: str) -> None:
        if not part or not self.record.ranges:
            return self.answer(200, body, cut=fault == "cut")
        start = int(part.removeprefix("bytes=").removesuffix("-"))
        if fault == "416":
            return self.answer(416, b"")
        if fault == "shifted":
            start = 0
        span = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return self.answer(206, body[start:], span, cut=fault == "cut")

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.close_connection = True


@pytest.fixture
def record() -> Iterator[Record]:
    fake = Record(
        {name: TABLE + name.encode() for name in NAMES} | {"responses_all.pd.pkl": b"\x80"}
    )
    handler = type("OneRecord", (Handler,), {"record": fake})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


def get(record: Record, folder: Path) -> dict[str, str]:
    found = fetch(folder, url=f"{record.url}/api/records/8131197", patience=SWIFT)
    return {one.path.name: one.how for one in found}


def asked(record: Record, name: str) -> list[str]:
    return [part for path, part in record.requests if f"/{name}/" in path]


# ---------------------------------------------------------------------------- the good path


def test_csv_tables_and_nothing_else(record: Record, tmp_path: Path) -> None:
    assert get(record, tmp_path) == dict.fromkeys(sorted(NAMES), "downloaded")
    assert {p.name for p in tmp_path.iterdir()} == {*NAMES, RECORD_FILE}
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == record.files[name]
    assert not any("pkl" in path for path, _ in record.requests)


def test_eight_at_once_leave_whole_tables(record: Record, tmp_path: Path) -> None:
    url = f"{record.url}/api/records/8131197"
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: fetch(tmp_path, url=url, patience=SWIFT), range(8)))
    assert sum(one.how == "downloaded" for fetched in done for one in fetched) == 2
    assert {path.name for path in tmp_path.iterdir()} == {*NAMES, RECORD_FILE}
    assert all((tmp_path / name).read_bytes() == record.files[name] for name in NAMES)


def test_what_a_killed_copy_left_is_no_table(by_hand: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / f".{NAMES[0]}.0a1b2c3d-1-x.csv").write_text("half")
    with pytest.raises(InputError, match="no released table here"):
        stored(folder)
    fetch_from(by_hand, folder)
    assert [one.path.name for one in stored(folder)] == [NAMES[0]]


def test_what_is_there_is_not_fetched_again(record: Record, tmp_path: Path) -> None:
    get(record, tmp_path)
    before = len(record.requests)
    assert set(get(record, tmp_path).values()) == {"already there"}
    assert len(record.requests) == before + 1
    (tmp_path / NAMES[0]).write_bytes(b"damaged")
    assert get(record, tmp_path)[NAMES[0]] == "downloaded"
    assert (tmp_path / NAMES[0]).read_bytes() == record.files[NAMES[0]]


# ---------------------------------------------------------------------------- faults


def test_cut_connection_goes_on_where_it_was(record: Record, tmp_path: Path) -> None:
    del record.files[NAMES[1]]
    record.faults = ["cut", "cut"]
    get(record, tmp_path)
    size = len(record.files[NAMES[0]])
    first, second, third = asked(record, NAMES[0])
    starts = [int(part.removeprefix("bytes=").removesuffix("-")) for part in (second, third)]
    # Half was sent, then half of the rest; at most one chunk of each is lost.
    assert first == ""
    assert size // 2 - 2**14 < starts[0] <= size // 2
    assert starts[1] - starts[0] > (size - starts[0]) // 2 - 2**14
    assert (tmp_path / NAMES[0]).read_bytes() == record.files[NAMES[0]]


def test_progress_renews_patience(record: Record, tmp_path: Path) -> None:
    del record.files[NAMES[1]]
    record.faults = ["cut"] * 6  # twice the attempts, yet each moves on
    get(record, tmp_path)
    assert (tmp_path / NAMES[0]).read_bytes() == record.files[NAMES[0]]


def test_part_of_an_earlier_run_is_resumed(record: Record, tmp_path: Path) -> None:
    (tmp_path / f"{NAMES[0]}.part").write_bytes(record.files[NAMES[0]][:1000])
    assert get(record, tmp_path)[NAMES[0]] == "resumed"
    assert asked(record, NAMES[0]) == ["bytes=1000-"]
    assert not list(tmp_path.glob("*.part"))


def test_whole_part_is_only_checked(record: Record, tmp_path: Path) -> None:
    (tmp_path / f"{NAMES[0]}.part").write_bytes(record.files[NAMES[0]])
    assert get(record, tmp_path)[NAMES[0]] == "resumed"
    assert asked(record, NAMES[0]) == []


def test_server_that_ignores_ranges_sends_all_anew(record: Record, tmp_path: Path) -> None:
    record.ranges = False
    (tmp_path / f"{NAMES[0]}.part").write_bytes(b"half of it")
    get(record, tmp_path)
    assert (tmp_path / NAMES[0]).read_bytes() == record.files[NAMES[0]]


@pytest.mark.parametrize("fault", ["416", "shifted"])
def test_server_that_does_not_continue_there(record: Record, tmp_path: Path, fault: str) -> None:
    del record.files[NAMES[1]]
    record.faults = [fault]
    (tmp_path / f"{NAMES[0]}.part").write_bytes(record.files[NAMES[0]][:5000])
    get(record, tmp_path)
    assert asked(record, NAMES[0]) == ["bytes=5000-", ""]
    assert (tmp_path / NAMES[0]).read_bytes() == record.files[NAMES[0]]


def test_part_of_another_version_is_given_up(record: Record, tmp_path: Path) -> None:
    (tmp_path / f"{NAMES[0]}.part").write_bytes(b"older" * 100)
    assert get(record, tmp_path)[NAMES[0]] == "downloaded"
    assert (tmp_path / NAMES[0]).read_bytes() == record.files[NAMES[0]]


def test_busy_server_is_asked_again(record: Record, tmp_path: Path) -> None:
    record.record_faults = ["503"]
    record.faults = ["503", "429"]
    get(record, tmp_path)
    assert (tmp_path / NAMES[1]).read_bytes() == record.files[NAMES[1]]


def test_busy_for_too_long(record: Record, tmp_path: Path) -> None:
    record.faults = ["503"] * 3
    with pytest.raises(DownloadError, match=r"HTTP 503 .*\(3 attempts\).*fetch --from FOLDER"):
        get(record, tmp_path)
    assert len(record.requests) == 1 + 3
    assert not list(tmp_path.glob("responses_*.csv"))


def test_refusal_is_not_repeated(record: Record, tmp_path: Path) -> None:
    record.record_faults = ["403"]
    with pytest.raises(DownloadError, match=r"the server refuses.*HTTP 403"):
        get(record, tmp_path)
    assert len(record.requests) == 1


def test_wrong_checksum(record: Record, tmp_path: Path) -> None:
    record.checksums[NAMES[1]] = "md5:" + "0" * 32
    with pytest.raises(DownloadError, match=f"not the file of the record.*wanted md5 {'0' * 32}"):
        get(record, tmp_path)
    # Nothing half-right stays, neither under the name nor as a part to resume from.
    assert not list(tmp_path.glob(f"{NAMES[1]}*"))


def test_more_bytes_than_announced(record: Record, tmp_path: Path) -> None:
    whole = record.json()
    whole["files"][0]["size"] -= 1
    record.json = lambda: whole  # type: ignore[method-assign]
    with pytest.raises(DownloadError, match="more bytes than the record says"):
        get(record, tmp_path)


def test_answer_that_is_no_record(record: Record, tmp_path: Path) -> None:
    record.record_faults = ["html"]
    with pytest.raises(DownloadError, match=r"no JSON.*found b'<html>'"):
        get(record, tmp_path)


def test_nobody_there_says_what_to_do_offline(record: Record, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path, url="http://127.0.0.1:9/api", patience=SWIFT)
    assert f"download the CSV files of https://doi.org/{DOI}" in str(caught.value)
    assert "imi-bench data fetch --from FOLDER" in str(caught.value)
    assert "(3 attempts)" in str(caught.value)


# ---------------------------------------------------------------------------- the record's JSON

FILE = {"key": "a.csv", "size": 1, "checksum": "md5:" + "0" * 32, "links": {"self": "http://x/a"}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "not understood.*KeyError"),
        ([], "not understood"),
        ({"files": [{**FILE, "checksum": "crc99:1"}]}, "checksum 'crc99'"),
        ({"files": [{**FILE, "links": {"self": "file:///etc/passwd"}}]}, "address 'file:"),
        ({"files": [{**FILE, "key": "a.pkl"}]}, "no CSV table.*a.pkl"),
        ({"files": []}, "no CSV table.*no file"),
    ],
)
def test_records_that_cannot_be_used(record: object, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        parse_record(record, where="test")


def test_folders_in_a_name_lead_nowhere_else() -> None:
    (file,) = parse_record({"files": [{**FILE, "key": "../../b.csv"}]}, where="test")
    assert file.name == "b.csv"


def test_the_older_form_of_the_record() -> None:
    old = {
        "filename": "a.csv",
        "filesize": 5,
        "checksum": "AB" * 16,
        "links": {"download": "http://x"},
    }
    (file,) = parse_record({"files": [old]}, where="test")
    assert (file.name, file.size, file.algorithm, file.digest) == ("a.csv", 5, "md5", "ab" * 16)


def test_the_record_is_the_published_one() -> None:
    assert RECORD_URL.endswith("/api/records/8131197")
    assert DOI == "10.5281/zenodo.8131197"


# ---------------------------------------------------------------------------- by hand


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    folder = tmp_path / "by hand"
    folder.mkdir()
    pd.DataFrame(columns=list(REQUIRED)).to_csv(folder / NAMES[0], index=False)
    (folder / "responses_main.pd.pkl").write_bytes(b"\x80")
    return folder


def record_of(folder: Path, digest: str) -> None:
    table = folder / NAMES[0]
    file = {
        "key": table.name,
        "size": table.stat().st_size,
        "checksum": f"md5:{digest}",
        "links": {"self": "http://x/y"},
    }
    (folder / RECORD_FILE).write_text(json.dumps({"files": [file]}))


def test_taken_by_hand_without_a_record(by_hand: Path, tmp_path: Path) -> None:
    (one,) = fetch_from(by_hand, tmp_path / "cache")
    assert (one.checksum, one.how) == ("unverified", "copied")
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [NAMES[0]]
    assert [s.checksum for s in stored(tmp_path / "cache")] == ["unverified"]


def test_taken_by_hand_with_a_record(by_hand: Path, tmp_path: Path) -> None:
    record_of(by_hand, hashlib.md5((by_hand / NAMES[0]).read_bytes()).hexdigest())
    (one,) = fetch_from(by_hand, tmp_path / "cache")
    assert one.checksum == "ok"
    assert [s.checksum for s in stored(tmp_path / "cache")] == ["ok"]
    one.path.write_text("changed")
    with pytest.raises(DownloadError, match="not the file of the record"):
        stored(tmp_path / "cache")


def test_taken_by_hand_with_another_checksum(by_hand: Path, tmp_path: Path) -> None:
    record_of(by_hand, "1" * 32)
    with pytest.raises(DownloadError, match="not the file of the record"):
        fetch_from(by_hand, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_by_hand_but_no_table(by_hand: Path, tmp_path: Path) -> None:
    (by_hand / NAMES[0]).write_text("<html>")
    with pytest.raises(ResponseError, match="missing columns"):
        fetch_from(by_hand, tmp_path / "cache")
    (by_hand / NAMES[0]).unlink()
    with pytest.raises(InputError, match=f"no CSV table in this folder.*{DOI}"):
        fetch_from(by_hand, tmp_path / "cache")


def test_nothing_stored(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `imi-bench data fetch`"):
        stored(tmp_path)


def test_cache_folder_follows_the_platform_or_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMI_BENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert "imi-bench" in cache_folder().parts
    monkeypatch.setenv("IMI_BENCH_CACHE", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/imi")
