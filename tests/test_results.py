"""Every result of every room: what it can do, by what it is. A new one without these fails here."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import imi_bench
from imi_bench.collect.progress_report import Status
from imi_bench.observers.contract import ContractReport, Property
from imi_bench.release.multiverse import CHOICES, Multiverse
from imi_bench.results import MOST_CHARACTERS, Brief, Shown

NEED_MORE = ("torch", "torchvision", "timm", "open_clip", "ray", "openai", "transformers")


def _classes() -> Iterator[type]:
    for found in pkgutil.walk_packages(imi_bench.__path__, "imi_bench."):
        if found.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(found.name)
        except ImportError as error:
            if (error.name or "").partition(".")[0] in NEED_MORE:
                continue
            raise
        for one in vars(module).values():
            if inspect.isclass(one) and one.__module__ == found.name:
                yield one


@pytest.fixture(scope="module")
def classes() -> list[type]:
    return [one for one in _classes() if dataclasses.is_dataclass(one)]


class TestKinds:
    def test_what_has_a_table_or_a_summary_shows_itself(self, classes: list[type]) -> None:
        """So it has a short `repr` and an escaped table in a notebook."""
        told = [
            one
            for one in classes
            if any(callable(vars(one).get(name)) for name in ("to_frame", "summary", "_repr_html_"))
            and not issubclass(one, Brief)
        ]
        assert told == []

    def test_what_shows_itself_says_what_it_is_and_has_a_table(self, classes: list[type]) -> None:
        shown = [one for one in classes if issubclass(one, Shown) and not one.__subclasses__()]
        assert len(shown) > 35
        for one in shown:
            own = {name for kind in one.__mro__[: one.__mro__.index(Shown)] for name in vars(kind)}
            assert {"title", "to_frame"} <= own, one.__name__

    def test_who_draws_gives_axes(self, classes: list[type]) -> None:
        for one in classes:
            if issubclass(one, Brief) and "plot" in vars(one):
                signature = inspect.signature(one.plot)
                several = signature.return_annotation.startswith("tuple[Axes")
                assert several or "ax" in signature.parameters, one.__name__
                assert "Axes" in signature.return_annotation, one.__name__


def _status() -> Status:
    asked = pd.DataFrame({"condition": ["<b>a", "b"], "answers": [3, 4], "wanted": [5, 5]})
    return Status({"done": 2}, asked, 1, 1, {"too_fast": 1}, 10, 3, None, None, True)


def _contract() -> ContractReport:
    found = (Property("<b>swap", "pass", "0"), Property("batches", "fail", "0.1"))
    return ContractReport("mine", "ab", 4, 20, 1e-6, found)


def _multiverse() -> Multiverse:
    levels = {name: ["published", "strict"] for name in CHOICES}
    frame = pd.DataFrame(levels).assign(x=[0.5, np.nan])
    return Multiverse(frame, ("x",), 2, "mean of <b>x", True)


@pytest.mark.parametrize("made", [_status, _contract, _multiverse], ids=lambda one: one.__name__)
def test_results_without_a_room_of_tests(made: object) -> None:
    one = made()  # type: ignore[operator]
    assert len(repr(one)) <= MOST_CHARACTERS + 100
    assert "<b>" not in one._repr_html_()
    assert one._repr_html_().count("<table") == 1
    assert isinstance(one.summary(), str)
    text = json.dumps(one.to_json(), allow_nan=False)
    again = type(one).from_json(text)
    assert again.to_json() == one.to_json()
    pd.testing.assert_frame_equal(again.to_frame(), one.to_frame())
