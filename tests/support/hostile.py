"""Submissions of people who mean ill: how each is made, and what its refusal says."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

from support.made_networks import LAYERS, network_files, network_trials
from support.made_submissions import (
    Files,
    good_files,
    good_frame,
    good_toml,
    parquet,
    sealed,
    small_study,
)

Case = tuple[Callable[[], Files], str]


def with_file(name: str, make: Callable[[], bytes]) -> Callable[[], Files]:
    """A good submission, sealed, but for a file."""
    return lambda: sealed(good_files() | {name: make()})


def with_table(make: Callable[[], bytes]) -> Callable[[], Files]:
    """Other decisions."""
    return with_file("decisions.parquet", make)


def declared(**changes: object) -> Callable[[], Files]:
    """Other fields of submission.toml; None leaves one out."""

    def make() -> bytes:
        table = {k: v for k, v in (good_toml() | changes).items() if v is not None}
        return tomli_w.dumps(table).encode()

    return with_file("submission.toml", make)


def parquet_of(table: pa.Table, **how: object) -> bytes:
    """Bytes of a table that pandas would not write."""
    stream = io.BytesIO()
    pq.write_table(table, stream, **how)
    return stream.getvalue()


def decisions(**how: object) -> pa.Table:
    """Good decisions but for some columns."""
    return pa.Table.from_pandas(good_frame().assign(**how), preserve_index=False)


def with_column(name: str, make: Callable[[pd.DataFrame], pa.Array]) -> Callable[[], Files]:
    """Good decisions but for a column's cells and their type."""

    def table() -> bytes:
        good = decisions()
        place = good.schema.get_field_index(name)
        return parquet_of(good.set_column(place, name, make(good_frame())))

    return with_table(table)


def of_network(
    trials: Callable[[pd.DataFrame], pd.DataFrame], **how: object
) -> Callable[[], Files]:
    """A network's submission with other trials."""
    return lambda: network_files(trials(network_trials()), **how)  # type: ignore[arg-type]


def _raw(name: str, data: bytes) -> Callable[[], Files]:
    return with_file(name, lambda: data)


def _seen(*units: str, **more: object) -> Callable[[], Files]:
    return declared(calibration={"units": list(units), **more})


HIDDEN = {
    "zero width space": "\u200b",
    "joiner": "\u200d",
    "left to right mark": "\u200e",
    "right to left override": "\u202e",
    "left to right embedding": "\u202a",
    "isolate": "\u2066",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "hair space": "\u200a",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "next line": "\u0085",
    "delete": "\u007f",
    "private use": "\ue000",
    "unassigned": "\u0378",
    "Hangul filler": "\u3164",
    "Hangul choseong filler": "\u115f",
    "Braille blank": "\u2800",
    "grapheme joiner": "\u034f",
    "tag letter": "\U000e0041",
    "interlinear anchor": "\ufff9",
    "stacked marks": "e\u0301\u0301\u0301\u0301",
}
INVISIBLE: dict[str, Case] = {
    f"title with {name}": (declared(title=f"a{character}b"), "submission.toml: title")
    for name, character in HIDDEN.items()
} | {
    "author that hides": (declared(authors=["A. \u202eAuthor"]), "submission.toml: authors.0"),
    "licence that hides": (declared(licence="MIT\u200b"), "submission.toml: licence"),
    "preprocessing that hides": (
        declared(preprocessing="\u2066x"),
        "submission.toml: preprocessing",
    ),
    "weights that hide": (declared(weights={"source": "x\u200by"}), "weights.source"),
    "blank title": (declared(title="   "), "submission.toml: title"),
    "title that begins with a space": (declared(title=" a"), "submission.toml: title"),
}
LOOKS: dict[str, Case] = {
    f"looks like the board's own: {field} {text!r}": (declared(**{field: text}), "looks like")
    for field, text in (
        ("name", "people"),
        ("name", "pe0ple"),
        ("name", "chance"),
        ("name", "chance-"),
        ("name", "c.h.a.n.c.e"),
        ("name", "1deal"),
        ("name", "one_side"),
        ("name", "0ne-s1de"),
        ("name", "humans"),
        ("name", "ldeal"),
        ("title", "People"),
        ("title", "PEOPLE"),
        ("title", "\u0420\u0435\u043eple"),
        ("title", "\uff30\uff45\uff4f\uff50\uff4c\uff45"),
        ("title", "Ideal observer"),
        ("title", "ideaI-0bserver"),
        ("title", "Other participants (leave one out)"),
        ("title", "Other Participants - leave one out"),
        ("title", "Ch\u0430nce"),
        ("title", "Chanc\u00e9"),
        ("title", "Human ceiling"),
        ("title", "\U0001d402hance"),
    )
}
LEAKS: dict[str, Case] = {
    f"leaks as {text!r}": (_seen(text), "calibration.units: fitted on 1 unit")
    for text in (
        "NET/layer/2",
        "net/Layer/2",
        "net / layer / 2",
        "net/layer/002",
        "net_hard95/layer/2",
        "net_hard85/LAYER/02",
        "\uff4eet/layer/\uff12",
        "net./layer/2",
        "net/layer_/2",
    )
} | {
    f"is no unit: {text!r}": (_seen(text), "calibration.units: 1 entry is not")
    for text in ("net", "net/layer", "net/layer/two", "net/layer/2/x", "//2", "net//2", "a/b/-1")
}
LEAKS |= {
    "leaks by network": (_seen(networks=["net"]), "calibration.networks: fitted on 1"),
    "leaks by network, another case": (_seen(networks=["NET_hard99"]), "calibration.networks"),
    "trained on the answers, nothing listed": (
        declared(training={"imi": True}, calibration={"units": []}),
        "calibration.units",
    ),
}
NUMBERS: dict[str, Case] = {
    f"{field} = {value!r}": (declared(**changes), f"submission.toml: {field}")
    for field, value, changes in (
        ("format", True, {"format": True}),
        ("format", 1.0, {"format": 1.0}),
        ("format", "1", {"format": "1"}),
        ("format", 2, {"format": 2}),
        ("format", 0, {"format": 0}),
        ("cost.seconds", -1.0, {"cost": {"seconds": -1.0}}),
        ("cost.seconds", 1e300, {"cost": {"seconds": 1e300}}),
        ("cost.seconds", float("inf"), {"cost": {"seconds": float("inf")}}),
        ("cost.seconds", float("nan"), {"cost": {"seconds": float("nan")}}),
        ("cost.seconds", True, {"cost": {"seconds": True}}),
        ("parameters", 10**16, {"parameters": 10**16}),
        ("parameters", 1.5, {"parameters": 1.5}),
        ("parameters", False, {"parameters": False}),
        ("claims.accuracy", 1e300, {"claims": {"accuracy": 1e300}}),
        ("claims.accuracy", "high", {"claims": {"accuracy": "high"}}),
        ("revision", "A", {"revision": "A"}),
        ("revision", "1\n", {"revision": "1\n"}),
        ("revision", "..", {"revision": ".."}),
        ("name", "", {"name": ""}),
        ("name", "con/x", {"name": "con/x"}),
        ("training.imi", 1, {"training": {"imi": 1}}),
        ("weights", None, {"weights": None}),
    )
}


def _dotted(count: int) -> bytes:
    return b".".join([b"a"] * count) + b" = 1\n"


BOMBS_OF_TEXT: dict[str, Case] = {
    "dotted key": (_raw("submission.toml", _dotted(30_000)), "nested too deep"),
    "quoted dotted key": (_raw("submission.toml", b".".join([b'"a"'] * 9_000)), "too deep"),
    "dotted header": (_raw("submission.toml", b"[" + _dotted(9_000)[:-5] + b"]"), "too deep"),
    "inline tables": (_raw("submission.toml", b"a = " + b"{a=" * 9_000), "too deep"),
    "brackets": (_raw("submission.toml", b"a = " + b"[" * 60_000), "too deep"),
    "hidden behind a string": (
        _raw("submission.toml", b'a = """x"""""\n' + _dotted(9_000)),
        "too deep",
    ),
    "quotes without end": (_raw("submission.toml", b'"a\\' * 20_000), "not TOML"),
    "escapes without end": (_raw("submission.toml", b'\\"' * 30_000), "not TOML"),
    "endless number": (_raw("submission.toml", b"a = " + b"1" * 60_000), "not TOML"),
    "thousands of unknown fields": (
        _raw("submission.toml", b"".join(b"k%d=1\n" % i for i in range(6_000))),
        "more",
    ),
    "run of brackets": (_raw("run.json", b"[" * 900_000), "run.json"),
    "run of objects": (_raw("run.json", b'{"a":' * 100_000), "run.json"),
    "run too large": (_raw("run.json", b" " * (2 << 20)), "wanted at most 1,048,576"),
    "run of a number": (_raw("run.json", b"1" * 900_000), "run.json"),
    "run of small lists": (_raw("run.json", b"[" + b"[]," * 300_000 + b"0]"), "found list"),
}


def _bomb(rows: int, text: str) -> Callable[[], Files]:
    def make() -> bytes:
        columns = ("trial_id", "observer", "status", "shown_first")
        same = pa.array([text]).dictionary_encode().take(pa.array(np.zeros(rows, int)))
        table = pa.table({c: same.cast(pa.string()) if rows < 100 else same for c in columns})
        table = table.append_column("decision_variable", pa.array(np.zeros(rows)))
        return parquet_of(table, compression="zstd")

    return with_table(make)


def _size_statistics(data: bytes) -> int:
    """Where a column's histogram of repetition levels begins, where the writer made one."""
    return max(data.find(b"\x19\x06\x19\x26"), 4) + 1


def _changed_bytes(at: Callable[[bytes], int], new: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        data = good_files()["decisions.parquet"]
        place = at(data)
        return data[:place] + new + data[place + len(new) :]

    return make


ROWS = len(good_frame())
BOMBS_OF_TABLES: dict[str, Case] = {
    "a long word in every row": (_bomb(40, "x" * 40_000), "bytes of text in a cell"),
    "more rows than trials": (_bomb(5_000, "x"), "5,000 rows, wanted at most"),
    "millions of rows": (_bomb(2_000_000, "x"), "2,000,000 rows"),
    "delta strings": (
        with_table(
            lambda: parquet_of(
                decisions(),
                use_dictionary=False,
                column_encoding={"trial_id": "DELTA_BYTE_ARRAY"},
            )
        ),
        "encoding 7",
    ),
    "thousands of columns": (
        with_table(lambda: parquet_of(pa.table({f"c{i}": [0] for i in range(3_000)}))),
        "footer of",
    ),
    "a hundred columns": (
        with_table(lambda: parquet_of(pa.table({f"c{i}": [0] for i in range(100)}))),
        "columns in",
    ),
    "statistics of sizes that end Arrow": (
        with_table(_changed_bytes(_size_statistics, b"\x34\x1b\xc1")),
        "decisions.parquet",
    ),
    "row groups of one row": (
        with_table(
            lambda: (
                parquet_of(pa.concat_tables([decisions()] * 2), row_group_size=1)[:0]
                + parquet_of(pa.concat_tables([decisions()] * 3), row_group_size=1)
            )
        ),
        "row groups, wanted",
    ),
    "a column twice": (
        with_table(
            lambda: parquet_of(
                pa.Table.from_arrays(
                    [*decisions().columns, decisions().column("status")],
                    [*decisions().schema.names, "status"],
                )
            )
        ),
        "column stands twice",
    ),
    "lists": (with_column("trial_id", lambda _: pa.array([["a"]] * ROWS)), "found type list"),
    "structs": (
        with_column("observer", lambda _: pa.array([{"a": "b"}] * ROWS)),
        "found type struct",
    ),
    "bytes": (with_column("trial_id", lambda _: pa.array([b"\xff"] * ROWS)), "found type binary"),
    "decimals": (
        with_column("decision_variable", lambda _: pa.array([1] * ROWS).cast(pa.decimal128(20))),
        "found type decimal",
    ),
    "times": (
        with_column("decision_variable", lambda _: pa.array([1] * ROWS).cast(pa.timestamp("s"))),
        "found type timestamp",
    ),
    "flags as numbers": (
        with_column("decision_variable", lambda _: pa.array([True] * ROWS)),
        "found type bool",
    ),
    "nothing but null": (with_column("status", lambda _: pa.nulls(ROWS)), "found type null"),
    "footer longer than the file": (
        with_table(_changed_bytes(lambda d: len(d) - 8, b"\xff\xff\xff\x7f")),
        "footer of",
    ),
    "footer of nothing": (
        with_table(_changed_bytes(lambda d: len(d) - 8, b"\x00\x00\x00\x00")),
        "footer of",
    ),
    "cut in the middle": (
        with_table(lambda: good_files()["decisions.parquet"][:900]),
        "not a readable Parquet",
    ),
    "only its ends": (with_table(lambda: b"PAR1" * 4), "not a readable Parquet"),
    "numbers too large": (
        with_table(lambda: parquet(good_frame().assign(decision_variable=1e300))),
        "wanted a size",
    ),
    "numbers too small": (
        with_table(lambda: parquet(good_frame().assign(decision_variable=1e-300))),
        "wanted a size",
    ),
    "no trial answered": (
        with_table(
            lambda: parquet(good_frame().assign(decision_variable=np.nan, status="refused"))
        ),
        "no main trial is answered",
    ),
}


def _flipped(name: str, share: float) -> Callable[[], Files]:
    def make() -> Files:
        files = good_files()
        data = bytearray(files[name])
        data[int(share * (len(data) - 1))] ^= 1
        return files | {name: bytes(data)}

    return make


FLIPS: dict[str, Case] = {
    f"a bit flipped at {share:.0%} of {name}": (_flipped(name, share), f"{name}: ")
    for name in ("decisions.parquet",)
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
} | {
    "another run.json": (
        lambda: good_files() | {"run.json": good_files()["run.json"] + b" "},
        "run.json: is not the file",
    ),
    "a file added": (
        lambda: good_files() | {"trials.parquet": parquet(small_study().trials.to_frame())},
        "trials.parquet: is not the file",
    ),
    "no hashes": (
        lambda: good_files() | {"submission.toml": tomli_w.dumps(good_toml()).encode()},
        "submission.toml: files: Field required",
    ),
    "a hash that is none": (
        lambda: (
            good_files()
            | {
                "submission.toml": tomli_w.dumps(
                    good_toml() | {"files": {"run.json": "x"}}
                ).encode()
            }
        ),
        "submission.toml: files",
    ),
}


def _renamed(frame: pd.DataFrame, **columns: object) -> pd.DataFrame:
    from imi_bench.tables import TrialIndex

    frame = frame.assign(**columns)
    return frame.assign(trial_id=TrialIndex.canonical_ids(frame))


ALL = {"layers": LAYERS}
NETWORKS: dict[str, Case] = {
    "one trial": (of_network(lambda f: f.iloc[:1]), "found 1 main trial"),
    "one unit": (of_network(lambda f: f.iloc[:4]), "found 1 unit"),
    "one layer": (of_network(lambda f: f[f["layer"] == "stem"]), "found 1 layer"),
    "no trials": (of_network(lambda f: f.iloc[:0]), "no main trial"),
    "all catch": (of_network(lambda f: _renamed(f, catch=True)), "no main trial"),
    "two networks": (
        of_network(lambda f: _renamed(f, network=np.where(f["unit"] % 2, "other", "another"))),
        "found 2 networks",
    ),
    "units the panel knows": (
        lambda: network_files(small_study().trials.to_frame(), sampling={"layers": {"layer": 6}}),
        "panel was calibrated on",
    ),
    "evidence beyond reach": (of_network(lambda f: f, scale=1e6), "beyond"),
    "evidence of 1e308": (of_network(lambda f: f, scale=1e307), "decision_variable"),
    "no sampling": (of_network(lambda f: f, sampling={}), "sampling: missing"),
    "units of one's choice": (
        of_network(lambda f: _renamed(f, unit=(f["unit"] + 1) % 8)),
        "units that the seed does not draw",
    ),
    "units left out in silence": (of_network(lambda f: f[f["unit"] > 1]), "not declared left out"),
    "left out and shown": (
        of_network(lambda f: f, sampling={**ALL, "left_out": [f"{'stem'}/{u}" for u in range(8)]}),
        "units not to be left out",
    ),
    "fewer units than drawn": (
        of_network(lambda f: f, sampling={"layers": {"stem": 2}}),
        "cannot sample that many",
    ),
    "a layer without end": (
        of_network(lambda f: f, sampling={"layers": {"stem": 10**9}}),
        "sampling.layers",
    ),
    "a trial twice": (of_network(lambda f: pd.concat([f, f.iloc[:1]])), "trial_id is not unique"),
    "an unknown mode": (of_network(lambda f: f.assign(mode="x")), "unknown mode"),
}


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def crowd() -> bytes:
    """Forty thousand entries in a zip below every limit of size."""
    return zipped({f"{i}": b"" for i in range(40_000)}, zipfile.ZIP_STORED)


def of_four_gigabytes() -> bytes:
    """An end of directory that says the sizes stand elsewhere."""
    data = zipped(good_files())
    at = data.rfind(b"PK\x05\x06")
    return data[:at] + b"PK\x06\x07" + b"\0" * 16 + data[at:]


ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "lzma": (lambda: zipped(good_files(), zipfile.ZIP_LZMA), "another method than deflate"),
    "bzip2": (lambda: zipped(good_files(), zipfile.ZIP_BZIP2), "another method than deflate"),
    "a crowd": (crowd, "directory of"),
    "of four gigabytes": (of_four_gigabytes, "wanted a small one"),
    "nothing": (lambda: b"", "not a readable zip"),
    "an end alone": (lambda: b"PK\x05\x06" + b"\0" * 18, "missing"),
    "a bit flipped": (
        lambda: zipped(good_files(), zipfile.ZIP_STORED).replace(b"PAR1", b"PAR2", 1),
        "decisions.parquet",
    ),
    "a bomb of a bomb": (
        lambda: zipped(good_files() | {"run.json": b"[" * (1 << 20)}),
        "run.json",
    ),
}
OBSERVERS: dict[str, Case] = {
    **INVISIBLE,
    **LOOKS,
    **LEAKS,
    **NUMBERS,
    **BOMBS_OF_TEXT,
    **BOMBS_OF_TABLES,
    **FLIPS,
}
