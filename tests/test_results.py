"""Every result of every room: what it can do, and that it comes back whole from JSON.

What is a result is seen from the classes, and one of each stands in `support.every_result`: a new
one that lacks an ability, or of which there is none there, fails here. No class is named.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import json
import math
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.every_result import every_result, every_setting
from support.small_study import SmallStudy

import imi_bench
from imi_bench.results import MOST_CHARACTERS, NOT_IN_JSON, Brief, Record, Result

NEED_MORE = ("torch", "torchvision", "timm", "open_clip", "ray", "openai", "transformers")
TOLD = ("title", "to_frame", "plot")


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
    return list(_classes())


@pytest.fixture(scope="module")
def kinds(classes: list[type]) -> set[type]:
    """Results that there can be one of: those that say themselves what they are and hold."""
    return {
        one
        for one in classes
        if issubclass(one, Result)
        and dataclasses.is_dataclass(one)
        and all(getattr(one, name) is not getattr(Result, name) for name in TOLD)
    }


@pytest.fixture(scope="module")
def results(shared_study: SmallStudy) -> Iterator[list[Result]]:
    """What reads a folder again, and says how long that took, does so in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imi_bench.stimuli.trial_files.time.perf_counter", lambda: 0.0)
        yield list(every_result(shared_study))


@pytest.fixture(scope="module")
def trips(results: list[Result]) -> list[tuple[Result, Result]]:
    """Each result, and what comes back of its JSON as text."""
    texts = (json.dumps(one.to_json(), allow_nan=False) for one in results)
    return [(one, type(one).from_json(text)) for one, text in zip(results, texts, strict=True)]


def reachable(value: Any, seen: set[int]) -> Iterator[Any]:
    """Every object of this package that hangs on a result."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for one in dataclasses.fields(value):
            yield from reachable(getattr(value, one.name), seen)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from reachable(part, seen)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from reachable(part, seen)


class TestKinds:
    def test_what_has_one_ability_of_a_result_has_all(self, classes: list[type]) -> None:
        """A table, words or a notebook's view make a result; JSON one way makes a record."""
        shown = ("to_frame", "summary", "_repr_html_")
        told = [
            one
            for one in classes
            if any(callable(getattr(one, name, None)) for name in shown)
            and not issubclass(one, Result)
        ]
        assert told == []
        for one in classes:
            both = [callable(getattr(one, name, None)) for name in ("to_json", "from_json")]
            assert both[0] or not both[1], one
            if dataclasses.is_dataclass(one) and both[0]:
                assert both[1], one

    def test_every_result_says_what_it_is_and_draws_itself(
        self, classes: list[type], kinds: set[type]
    ) -> None:
        parents = {kind for one in kinds for kind in one.__mro__} | {Result}
        halves = [one for one in classes if issubclass(one, Result) and one not in kinds | parents]
        assert halves == []

    def test_plots_are_axes(self, kinds: set[type]) -> None:
        for one in kinds:
            signature = inspect.signature(one.plot)  # type: ignore[attr-defined]
            several = signature.return_annotation.startswith("tuple[Axes")
            assert several or "ax" in signature.parameters, one.__name__
            assert "Axes" in signature.return_annotation, one.__name__

    def test_there_is_one_of_each(self, kinds: set[type], results: list[Result]) -> None:
        assert len(kinds) > 45
        assert kinds - {type(one) for one in results} == set()

    def test_there_is_one_of_every_record(
        self, classes: list[type], kinds: set[type], results: list[Result]
    ) -> None:
        """Parts of results travel within them, so that the trip of each is tried."""
        seen: set[int] = set()
        made = [*results, *every_setting()]
        found = {type(part) for one in made for part in reachable(one, seen)}
        parents = {kind for one in found for kind in one.__mro__}
        records = {one for one in classes if issubclass(one, Record)}
        assert records - found - parents - {Record, Result} == set()

    def test_what_results_give_is_brief(self, classes: list[type], kinds: set[type]) -> None:
        """What a public method or property of a result gives prints in a few lines."""
        bare = [
            f"{one.__name__}.{name}: {given.__name__}"
            for one in kinds
            for name, given in _given(one, {kind.__name__: kind for kind in classes})
            if dataclasses.is_dataclass(given) and not issubclass(given, Brief)
        ]
        assert bare == []

    def test_what_the_public_functions_give_are_results(self, classes: list[type]) -> None:
        """Tuples are of results; what is none is no dataclass: an observer, a server."""
        known = {kind.__name__: kind for kind in classes}
        for name in imi_bench.__all__:
            function = inspect.unwrap(getattr(imi_bench, name))
            if inspect.isfunction(function):
                for part in re.findall(r"\w+", function.__annotations__["return"]):
                    if dataclasses.is_dataclass(known.get(part)):
                        assert issubclass(known[part], Result), f"{name}: {part}"


@functools.cache
def _imported(file: str) -> dict[str, tuple[str, str]]:
    """Names that a module imports, wherever: for type checkers, within functions."""
    return {
        one.asname or one.name: (node.module or "", one.name)
        for node in ast.walk(ast.parse(Path(file).read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }


def _resolved(name: str, function: Callable[..., Any], known: Mapping[str, type]) -> Any:
    if name in function.__globals__:
        return function.__globals__[name]
    module, said = _imported(function.__code__.co_filename).get(name, ("", ""))
    if module.startswith("imi_bench"):
        return getattr(importlib.import_module(module), said)
    return known.get(name)


def _given(one: type, known: Mapping[str, type]) -> Iterator[tuple[str, Any]]:
    for name, value in inspect.getmembers(one):
        held = getattr(value, "fget", None) or getattr(value, "func", None) or value
        function = inspect.unwrap(held) if callable(held) else None
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        for part in re.findall(r"\w+", str(function.__annotations__.get("return", ""))):
            given = _resolved(part, function, known)
            if inspect.isclass(given) and given.__module__.startswith("imi_bench"):
                yield name, given


class TestTrips:
    def test_all_of_it_comes_back(self, trips: list[tuple[Result, Result]]) -> None:
        for one, again in trips:
            assert list(different(one, again, type(one).__name__)) == []
            assert again.to_json() == one.to_json(), type(one)

    def test_it_shows_the_same_afterwards(self, trips: list[tuple[Result, Result]]) -> None:
        for one, again in trips:
            pd.testing.assert_frame_equal(again.to_frame(), one.to_frame(), check_exact=True)
            assert again.summary() == one.summary()
            assert again.title == one.title
            assert repr(again) == repr(one)
            assert again._repr_html_() == one._repr_html_()

    def test_another_record_is_one_line(self, results: list[Result]) -> None:
        for one in results:
            for wrong in ({"unknown": 1}, {}, "[]", "{", "null", "3"):
                with pytest.raises(imi_bench.InputError) as refused:
                    type(one).from_json(wrong)
                assert "\n" not in str(refused.value)

    def test_nothing_is_lost_without_a_word(self, results: list[Result]) -> None:
        """A record that lacks something is refused, unless that is derived or has a default."""
        for one in results:
            record = one.to_json()
            spare = {
                field.name
                for field in dataclasses.fields(one)  # type: ignore[arg-type]
                if not field.default is field.default_factory is dataclasses.MISSING
            }
            for value in vars(one).values():  # what is in a mapping, nobody can miss
                spare |= set(value) if isinstance(value, Mapping) else set()
            for name in set(record) - spare - {"kinds"}:
                less = {key: value for key, value in record.items() if key != name}
                try:
                    again = type(one).from_json(less)
                except imi_bench.InputError:
                    continue
                assert again.to_json() == record, f"{type(one).__name__}.{name}"

    def test_settings_come_back_too(self) -> None:
        for one in every_setting():
            again = type(one).from_json(json.dumps(one.to_json(), allow_nan=False))
            assert list(different(one, again, type(one).__name__)) == []


def test_methods_refuse_what_no_annotation_allows(results: list[Result]) -> None:
    """In one line, whatever else is missing."""
    refused = 0
    for one in {type(one): one for one in results}.values():
        for name, held in inspect.getmembers(type(one), callable):
            if name.startswith("_") or not hasattr(held, "allowed"):
                continue
            method = getattr(one, name)
            for argument, (pieces, _) in held.allowed().items():
                if not any(piece in ("Any", "object") or "[" in piece for piece in pieces):
                    with pytest.raises(imi_bench.ImiBenchError) as told:
                        method(**{argument: object()})
                    assert "\n" not in str(told.value)
                    refused += 1
    assert refused > 100


class TestShown:
    def test_every_repr_is_short(self, results: list[Result]) -> None:
        seen: set[int] = set()
        found = [part for one in results for part in reachable(one, seen)]
        ours = [part for part in found if isinstance(part, Brief)]
        assert len({type(part) for part in ours}) > 60
        long = {type(one).__name__: len(repr(one)) for one in ours if len(repr(one)) >= 2000}
        assert not long
        assert MOST_CHARACTERS < 2000

    def test_text_is_escaped_in_notebooks(self, results: list[Result]) -> None:
        for one in results:
            shown = one._repr_html_()
            assert "<b>ü" not in shown, type(one)
            assert shown.startswith("<"), type(one)
            assert isinstance(one.to_frame(), pd.DataFrame)
            assert one.summary().strip(), type(one)

    def test_made_up_data_say_so(self, results: list[Result]) -> None:
        for one in results:
            made_up = getattr(one, "simulated", False)
            if made_up is True:
                assert "simulated" in f"{one.title}{one.summary()}".lower(), type(one)

    @pytest.mark.whole
    def test_plots_are_axes_and_leave_the_session_alone(self, results: list[Result]) -> None:
        import matplotlib as mpl
        import matplotlib.pyplot as plt
        from matplotlib.axes import Axes

        backend, settings = mpl.get_backend(), dict(mpl.rcParams)
        mine, own = plt.subplots()
        for one in results:
            drawn = one.plot()
            axes = drawn if isinstance(drawn, tuple) else (drawn,)
            assert axes, type(one)
            assert all(isinstance(ax, Axes) for ax in axes), type(one)
            assert plt.get_fignums() == [mine.number]
            if "ax" in inspect.signature(one.plot).parameters:
                assert one.plot(ax=own) is own, type(one)  # type: ignore[call-arg]
                own.clear()
        assert mpl.get_backend() == backend
        assert dict(mpl.rcParams) == settings
        plt.close(mine)

    def test_something_is_drawn(self, results: list[Result]) -> None:
        """Marks, bars, lines, pictures or words within the axes, unless the table is empty."""
        for one in results:
            drawn = one.plot()
            axes = drawn if isinstance(drawn, tuple) else (drawn,)
            marks = [a for ax in axes for a in (*ax.lines, *ax.patches, *ax.images, *ax.texts)]
            marks += [a for ax in axes for a in (*ax.collections, *ax.containers)]
            told = [ax.get_title() + ax.get_title(loc="left") for ax in axes]
            assert marks or not len(one.to_frame()) or any(told), type(one)


def different(one: Any, two: Any, where: str) -> Iterator[str]:
    """Where two values differ: kinds, dtypes, missing values, every number to the last bit."""
    if isinstance(one, float) and isinstance(two, float):
        if not (one == two or (math.isnan(one) and math.isnan(two))):
            yield f"{where}: {one!r} and {two!r}"
    elif isinstance(one, tuple | list) and isinstance(two, tuple | list):
        if len(one) != len(two):
            yield f"{where}: {len(one)} and {len(two)}"
        for place, (a, b) in enumerate(zip(one, two, strict=False)):
            yield from different(a, b, f"{where}[{place}]")
    elif isinstance(one, Mapping) and isinstance(two, Mapping):
        if list(one) != list(two):
            yield f"{where}: {list(one)} and {list(two)}"
        for name in one:
            yield from different(one[name], two.get(name), f"{where}[{name!r}]")
    elif isinstance(one, pd.DataFrame) and isinstance(two, pd.DataFrame):
        try:
            pd.testing.assert_frame_equal(one, two, check_exact=True)
        except AssertionError as error:
            yield f"{where}: {error}"
    elif isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        if one.dtype != two.dtype or one.shape != two.shape:
            yield f"{where}: {one.dtype} {one.shape} and {two.dtype} {two.shape}"
        elif one.tobytes() != two.tobytes() or one.dtype == object:
            yield from different(one.ravel().tolist(), two.ravel().tolist(), where)
    elif type(one) is not type(two):
        yield f"{where}: {type(one).__name__} and {type(two).__name__}"
    elif dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            if field.metadata != NOT_IN_JSON:
                name = field.name
                yield from different(getattr(one, name), getattr(two, name), f"{where}.{name}")
    elif not callable(one) and one != two:
        yield f"{where}: {one!r} and {two!r}"
