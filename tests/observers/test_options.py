"""Options of a reference mean what the parameter says that takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest

from imi_bench import InputError, load_observer
from imi_bench.observers.loader_names import reference
from imi_bench.observers.options import read_options
from imi_bench.vision.references import split_reference


def build(
    path: str = "",
    count: int = 0,
    share: float = 0.0,
    flip: bool = False,
    size: int | None = None,
    most: "Optional[int]" = None,  # noqa: UP037, UP045
    tag: str | bool = True,
    either: "int | str" = 0,  # noqa: UP037
    loose=None,  # type: ignore[no-untyped-def]
    word="x",  # type: ignore[no-untyped-def]
    switch=False,  # type: ignore[no-untyped-def]
    number=1,  # type: ignore[no-untyped-def]
) -> None: ...


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("path", "2024", "2024"),
        ("path", "12e45678", "12e45678"),
        ("path", "a,b", "a,b"),
        ("path", "null", "null"),
        ("path", "false", "false"),
        ("count", "-3", -3),
        ("share", "1", 1),
        ("share", ".5", 0.5),
        ("share", "1e-3", 0.001),
        ("share", "inf", float("inf")),
        ("flip", "true", True),
        ("flip", "0", False),
        ("size", "null", None),
        ("most", "3", 3),
        ("tag", "false", False),
        ("tag", "0", "0"),
        ("either", "7", 7),
        ("either", "7a", "7a"),
        ("loose", "[1, 2]", [1, 2]),
        ("loose", "x", "x"),
        ("word", "10", "10"),
        ("number", "2.5", 2.5),
    ],
)
def test_a_text_is_what_its_parameter_takes(name: str, text: str, value: Any) -> None:
    found = read_options(build, {name: text}, where="build")[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "x"),
        ("count", "1.5"),
        ("count", "007"),
        ("count", "true"),
        ("share", "nan"),
        ("share", "half"),
        ("flip", "no"),
        ("flip", ""),
        ("flip", "2"),
        ("size", "big"),
        ("switch", "off"),
    ],
)
def test_what_it_does_not_take_is_refused(name: str, text: str) -> None:
    with pytest.raises(
        InputError, match=rf"not a value for '{name}': build: found '{text}', wanted"
    ):
        read_options(build, {name: text}, where="build")


def test_a_name_is_read_as_it_is_written() -> None:
    options = {"layer": r"conv\d+", "tag": "a&b=50%20c?"}
    assert split_reference(reference("timm:net", options)) == ("timm:net", options)


def test_a_plus_is_a_plus() -> None:
    _, options = split_reference(r"n?layers=layer\d+&path=/c++/a b&amp=a%26b&sign=a=b?c&none=")
    assert options == {
        "layers": r"layer\d+",
        "path": "/c++/a b",
        "amp": "a&b",
        "sign": "a=b?c",
        "none": "",
    }


@pytest.mark.parametrize("word", ["no", "0", ""])
def test_no_word_stands_for_trained(word: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match=f"found '{word}', wanted"):
        load_observer(f"timm:test_resnet?pretrained={word}")


@pytest.mark.parametrize("side", [0, -3, 5000])
def test_a_side_that_no_image_has(side: int) -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match=f"size.*found {side}|field 'crop'"):
        load_observer(f"timm:test_resnet?pretrained=false&input_size={side}")


def test_an_option_does_not_take_the_place_of_an_image(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def similarity(one, other, power=1): return 0.0\ndef make(path): return None\n"
    )
    assert load_observer(f"{file}:similarity?power=2").describe()["options"] == {"power": 2}
    with pytest.raises(InputError, match=r"place of an image.*found one"):
        load_observer(f"{file}:similarity?one=2")


def test_a_function_that_hides_its_arguments() -> None:
    with pytest.raises(InputError, match="does not tell its arguments: max"):
        load_observer(max)
