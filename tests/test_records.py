"""JSON of records both ways: fields keep their kinds, and another kind is one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from support.made_trials import make_trials

from imi_bench.arguments import checked
from imi_bench.choice.calibration import Calibration
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.fewshot.design import Design
from imi_bench.replay.cache_folder import prune_cache
from imi_bench.results import Record
from imi_bench.tables.selection import select


@dataclass(frozen=True, repr=False)
class Made(Record):
    """One field of each kind."""

    count: int = 1
    size: float = math.nan
    name: str = "x"
    made_up: bool = False
    way: Literal["left", "right"] = "left"
    rate: float | Literal["estimate"] = "estimate"
    most: int | None = None
    names: tuple[str, ...] = ("a", "b")
    of: Mapping[str, int] = field(default_factory=lambda: {"a": 1})


def test_a_record_comes_back_through_text() -> None:
    for made in (Made(), Made(rate=0.5, most=3, size=2.0)):
        back = Made.from_json(json.dumps(made.to_json()))
        assert back.to_json() == made.to_json()
        assert type(back.size) is float


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("count", "3", "a whole number"),
        ("count", None, "a whole number"),
        ("count", 1.5, "a whole number"),
        ("count", True, "a whole number"),
        ("size", "2.0", "a number"),
        ("size", [2.0], "a number"),
        ("name", 3, "text"),
        ("made_up", "no", "true or false"),
        ("made_up", 0, "true or false"),
        ("way", "up", "'left' or 'right'"),
        ("rate", "guess", "a number or 'estimate'"),
        ("most", "3", "a whole number or null"),
        ("names", "ab", "a list"),
        ("names", ["a", 3], "text"),
        ("of", [1], "a JSON object"),
        ("of", {"a": "1"}, "a whole number"),
    ],
)
def test_a_field_of_another_kind_is_one_line(name: str, value: object, wanted: str) -> None:
    with pytest.raises(InputError) as refused:
        Made.from_json({**Made().to_json(), name: value})
    said = str(refused.value)
    assert said.startswith(f"not a readable stored made: {name}: found ")
    assert said.endswith(f"wanted {wanted}")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"slopes": "steep"}, "slopes: found 'steep', wanted 'common' or 'by mode'"),
        ({"by": 3}, "by: found 3, wanted 'unit' or 'network' or 'none'"),
        ({"seed": "x"}, "seed: found 'x', wanted a whole number"),
        ({"simulated": "no"}, "simulated: found 'no', wanted true or false"),
        ({"more": 1}, "unknown field 'more'"),
    ],
)
def test_a_calibration_holds_what_it_must(changed: dict[str, Any], said: str) -> None:
    record = Calibration.identity().to_json()
    assert Calibration.from_json(record).to_json() == record
    with pytest.raises(InputError, match=said):
        Calibration.from_json({**record, **changed})


def test_what_is_read_from_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    for changed, said in (({"seed": "x"}, "seed: found 'x'"), ({"more": 1}, "unknown field")):
        file.write_text(json.dumps({**Calibration.identity().to_json(), **changed}))
        with pytest.raises(InputError, match=said) as refused:
            Calibration.read(file)
        assert str(refused.value).count(str(file)) == 1


@pytest.mark.parametrize("given", [3, None, True, ("left",), np.array(["left", "up"])], ids=repr)
def test_what_is_no_text_is_no_name(given: object) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown way: found .*, wanted one of left, right"):
        UnknownNameError.unless_among(given, ("left", "right"), kind="way")


@checked
def _asked(*, way: Literal["left", "right"] = "left", level: float = 0.9, size: float = 1.0) -> str:
    return f"{way} {level} {size}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"way": np.array(["left", "up"])}, "found ndarray, wanted 'left' or 'right'"),
        ({"way": pd.DataFrame({"way": ["left"]})}, "found DataFrame"),
        ({"level": 10**400}, "no level of an interval"),
        ({"level": 95}, "found 95, wanted between 0 and 1"),
        ({"size": 10**400}, "wanted a finite number"),
    ],
    ids=["array", "table", "huge level", "percent", "huge number"],
)
def test_values_without_a_truth_or_beyond_64_bits_are_one_line(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        _asked(**given)


@checked
def _listed(names: Sequence[str] | None = None) -> Sequence[str] | None:
    return names or None


@pytest.mark.parametrize("names", [np.array(["a", "b"]), pd.Series(["a", "b"]), ["a", "b"]])
def test_an_array_of_names_is_a_list(names: Any) -> None:
    assert _listed(names) == ["a", "b"]
    nothing: Any = np.array([], dtype=str)
    assert _listed(nothing) is None


@pytest.mark.parametrize(
    "given",
    [{"shots": ("a",)}, {"shots": (True,)}, {"shots": 3}, {"draws": None}, {"repeats": -1}],
)
def test_a_study_counts_in_whole_numbers(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(InputError, match=f"not a value for '{name}': Design: found"):
        Design(**{"shots": (0, 4), **given})


@checked
def _drawn(*, n_resamples: int = 9, n: int = 1, out: str | Path = "") -> int:
    return n_resamples


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_resamples": 10**40}, "wanted at most 10,000,000"),
        ({"n_resamples": 10**8}, "wanted at most 10,000,000"),
        ({"n": 10**10}, "wanted at most 1,000,000,000"),
        ({"out": "a\0b"}, "'out'"),
        ({"out": Path("a\0b")}, "'out'"),
        ({"out": ""}, "'out'"),
    ],
)
def test_counts_beyond_counting_and_names_that_no_file_has(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        _drawn(**given)


def test_a_selection_and_a_pruning_are_held_to_kinds(tmp_path: Path) -> None:
    trials = make_trials()
    given: Any = "natural"
    assert set(select(trials, mode=given).index.mode) == {"natural"}
    wrong: list[Callable[..., object]] = [
        lambda bad: select(trials, mode=bad),
        lambda bad: prune_cache(tmp_path, days=bad),
        lambda bad: prune_cache(tmp_path, kinds=bad),
    ]
    for call in wrong:
        with pytest.raises(InputError, match="not a value for"):
            call(object())
