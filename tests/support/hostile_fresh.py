"""Submissions that bend a board, thought of by somebody who had read only its pages."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from support.hostile import (
    Case,
    decisions,
    declared,
    of_network,
    parquet_of,
    with_column,
    with_file,
    with_table,
)
from support.made_networks import network_trials
from support.made_submissions import TRIALS_HASH, Files, good_files, parquet, small_study


def _text(change: Callable[[bytes], bytes]) -> Callable[[], Files]:
    """Of a sealed submission.toml."""

    def make() -> Files:
        files = good_files()
        return files | {"submission.toml": change(files["submission.toml"])}

    return make


def _run(more: bytes, *, encoding: str | None = None) -> Callable[[], Files]:
    text = b'{"trials":{"hash":"%s"}%s}' % (TRIALS_HASH.encode(), more)
    data = text.decode().encode(encoding) if encoding else text
    return with_file("run.json", lambda: data)


def _observer(**described: object) -> Callable[[], Files]:
    return _run(b',"observer":' + json.dumps(described).encode())


def _halves(numbers: np.ndarray) -> pa.Array:
    """Arrow before 15 writes no half floats, and reads those of others as cells of two bytes."""
    if int(pa.__version__.partition(".")[0]) < 15:
        return pa.array([one.tobytes() for one in numbers], pa.binary(2))
    return pa.array(numbers)


def _meta(text: bytes) -> Callable[[], Files]:
    changed = decisions().replace_schema_metadata({b"pandas": text})
    return with_table(lambda: parquet_of(changed))


TEXTS: dict[str, Case] = {
    "a byte order mark": (_text(lambda t: b"\xef\xbb\xbf" + t), "not TOML"),
    "lines that end in CR": (_text(lambda t: t.replace(b"\n", b"\r")), "not TOML"),
    "UTF-16": (_text(lambda t: t.decode().encode("utf-16")), "not UTF-8"),
    "a table twice": (_text(lambda t: t + b"\n[files]\n"), "not TOML"),
    "a key in another case": (_text(lambda t: t.replace(b"title =", b"Title =")), "title"),
    "a date for a name": (
        _text(lambda t: t.replace(b'name = "some-observer"', b"name = 2020-01-01")),
        "submission.toml: name",
    ),
}
RUNS: dict[str, Case] = {
    "run.json with a name twice": (_run(b',"trials":{"hash":"x"}'), "stands twice"),
    "run.json with a name twice, deep": (_run(b',"a":[{"b":1,"b":2}]'), "stands twice"),
    "run.json with NaN": (_run(b',"a":NaN'), "no number of JSON"),
    "run.json with infinity": (_run(b',"a":-Infinity'), "no number of JSON"),
    "run.json with 1e999": (_run(b',"a":1e999'), "too large"),
    "run.json with a number of 5,000 digits": (_run(b',"a":' + b"9" * 5000), "not JSON"),
    "run.json with half a pair": (_run(b',"\\ud800":1'), "not JSON"),
    "run.json in UTF-16": (_run(b"", encoding="utf-16"), "not JSON"),
    "run.json in UTF-32": (_run(b"", encoding="utf-32"), "not JSON"),
    "run.json with a mark": (_run(b"", encoding="utf-8-sig"), "not JSON"),
    "run.json with a list for a hash": (
        with_file("run.json", lambda: json.dumps({"trials": {"hash": [TRIALS_HASH]}}).encode()),
        "trials.hash",
    ),
    "an observer inside another saw the units": (
        _observer(
            description={
                "columns": [
                    {"description": {"fitted_on": {"units": ["net/layer/1"], "networks": ["net"]}}}
                ]
            }
        ),
        "fitted on 1 unit",
    ),
    "fitted on, beside the description": (
        _observer(fitted_on={"units": ["NET/layer/01"], "networks": []}),
        "fitted on 1 unit",
    ),
    "fitted on, as text": (_observer(fitted_on="net/layer/1"), "fitted_on"),
    "fitted on, cut short": (_observer(fitted_on={"networks": ["net"]}), "fitted_on"),
}
LINKS: dict[str, Case] = {
    f"link {link!r}": (declared(link=link), "submission.toml: link")
    for link in (
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "http://example.org/",
        "https://github.com@evil.example/",
        "https://a:b@evil.example/",
        'https://x.org/"onmouseover="alert(1)',
        "https://x.org/)](javascript:1)",
        "https://x.org/\na",
        "https://127.0.0.1/logout",
        "https://[::1]/",
        "https://localhost/",
    )
}
NAMES: dict[str, Case] = {
    f"{field} {text!r}": (declared(**{field: text}), f"submission.toml: {field}")
    for field, text in (
        *(("name", name) for name in ("con", "nul", "com1", "lpt9", "aux.txt", "a.", "a..")),
        ("name", "__proto__"),
        ("name", "a@b"),
        ("revision", "1."),
        ("revision", "prn"),
        ("board", "tiny."),
    )
} | {
    f"title that looks like people: {text!r}": (declared(title=text), "looks like")
    for text in (
        "\u1d18\u1d07\u1d0f\u1d18\u029f\u1d07",  # small capitals
        "\U0001f17f\U0001f174\U0001f17e\U0001f17f\U0001f17b\U0001f174",  # white on black
        "\U0001f1f5\U0001f1ea\U0001f1f4\U0001f1f5\U0001f1f1\U0001f1ea",  # of flags
        "Pe\u00f8ple",
        "People\ufe0f",
        "\u24c5\u24d4\u24de\u24df\u24db\u24d4",
        "\u1d7fcople".replace("\u1d7fc", "\U0001d4dfe"),
    )
}
LEAKS: dict[str, Case] = {
    f"unit {text!r}": (declared(calibration={"units": [text]}), f"calibration.units: {why}")
    for text, why in (
        ("net/layer/+2", "1 entry"),
        ("net/layer/2.0", "1 entry"),
        ("net/layer/0x2", "1 entry"),
        ("net/layer/\u0662", "1 entry"),
        ("n\u0435t/layer/2", "1 entry"),
        ("net\\layer\\2", "1 entry"),
        ("net/layer/\u00b2", "fitted on 1"),
        ("net_easy/layer/2", "fitted on 1"),
        ("net_synthetic_hard95/layer/2", "fitted on 1"),
    )
} | {
    f"network {text!r}": (declared(calibration={"networks": [text]}), "calibration.networks")
    for text in ("n\u0435t", "net_easy", "net_hard85_hard95", "NET natural")
}
TABLES: dict[str, Case] = {
    "halves of a float": (
        with_column("decision_variable", lambda f: _halves(f.iloc[:, 2].to_numpy(np.float16))),
        ", wanted number",
    ),
    "unsigned": (
        with_column(
            "decision_variable", lambda f: pa.array(np.full(len(f), 2**63, dtype=np.uint64))
        ),
        "wanted a size",
    ),
    "sides in capitals": (
        with_column("shown_first", lambda f: pa.array(f["shown_first"].str.upper())),
        "wanted the side drawn",
    ),
    "status and a space": (
        with_column("status", lambda f: pa.array(f["status"] + " ")),
        "decisions.parquet: status",
    ),
    "ids that end in NUL": (
        with_column("trial_id", lambda f: pa.array([one + "\0" for one in f["trial_id"]])),
        "a trial of the board",
    ),
    "an observer of two lines": (
        with_column("observer", lambda f: pa.array(["a\n::error::x"] * len(f))),
        "a name that can be seen",
    ),
    "no observer": (
        with_column("observer", lambda f: pa.array([None] * len(f), pa.string())),
        "empty cells",
    ),
    "a library's metadata without end": (_meta(b"[" * 500_000), "footer of"),
    "bytes behind the table": (
        with_table(lambda: good_files()["decisions.parquet"] + b"x" * 10),
        "no PAR1 at its ends",
    ),
    "a page of HTML in front": (
        with_table(lambda: b"<html>" + good_files()["decisions.parquet"]),
        "no PAR1 at its ends",
    ),
    "trials of its own for the board's": (
        with_file("trials.parquet", lambda: parquet(small_study().trials.to_frame())),
        "unexpected: the board has the trials",
    ),
}
FRESH: dict[str, Case] = {**TEXTS, **RUNS, **LINKS, **NAMES, **LEAKS, **TABLES}


def _first(frame: pd.DataFrame, count: int) -> pd.Series[bool]:
    return pd.Series(np.arange(len(frame)) < count, index=frame.index)


UNLIKE = "all units must be asked the same"
FRESH_NETWORKS: dict[str, Case] = {
    "synthetic exemplars alone": (of_network(lambda f: f.assign(mode="synthetic")), UNLIKE),
    "hard queries alone": (of_network(lambda f: f.assign(difficulty="hard95")), UNLIKE),
    "ranked by one trial": (
        of_network(lambda f: f.assign(difficulty=np.where(_first(f, 1), "easy", "hard95"))),
        UNLIKE,
    ),
    "ranked by half of the units": (
        of_network(lambda f: f.assign(difficulty=np.where(_first(f, 24), "easy", "hard95"))),
        UNLIKE,
    ),
    "batches of one's choice": (
        of_network(lambda f: f.assign(batch=np.arange(len(f)) % 97)),
        UNLIKE,
    ),
    "a unit with fewer batches": (
        of_network(lambda f: pd.concat([f.iloc[1:], network_trials(batches=5).iloc[-1:]])),
        UNLIKE,
    ),
    "catch trials for the hard ones": (
        of_network(lambda f: f.assign(catch=(f["batch"] == 3) & (f["unit"] < 4))),
        UNLIKE,
    ),
    "a network of two lines": (of_network(lambda f: f.assign(network="a\nb")), "wanted ASCII"),
    "a network of another alphabet": (
        of_network(lambda f: f.assign(network="oth\u0435r")),
        "wanted ASCII",
    ),
    "a layer of nothing": (
        of_network(lambda f: f.assign(layer=f["layer"].replace("top", ""))),
        "trials.parquet: layer",
    ),
    "units below zero": (of_network(lambda f: f.assign(unit=-1)), "trials.parquet: unit"),
}
