"""No verb writes over what it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from imi_bench import build_trials, machine_interpretability
from imi_bench.cli.app import app
from imi_bench.cli.guard import OUTPUTS, guard
from imi_bench.errors import InputError


def photographs(folder: Path, count: int = 6) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def refused(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, InputError), result.output
    assert "input" in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("inside", ["", "new"])
@pytest.mark.parametrize("verb", ["mis", "stimuli build"])
def test_networks_do_not_write_among_their_images(tmp_path: Path, verb: str, inside: str) -> None:
    images = photographs(tmp_path / "photos")
    before = sorted(images.iterdir())
    extra = ["--observer", "pixel-l2"] if verb == "mis" else []
    refused(
        *verb.split(),
        "--network",
        "timm:test_resnet?pretrained=false",
        "--images",
        str(images),
        "--out",
        str(images / inside),
        *extra,
    )
    assert sorted(images.iterdir()) == before


def test_python_s_twins_refuse_too(tmp_path: Path) -> None:
    images = photographs(tmp_path / "photos")
    with pytest.raises(InputError, match="the output is an input"):
        build_trials("timm:test_resnet?pretrained=false", images, out=images)
    with pytest.raises(InputError, match="lies within an input"):
        machine_interpretability(
            "timm:test_resnet?pretrained=false", images, observer="pixel-l2", out=images / "mis"
        )
    with pytest.raises(InputError, match="lies within an input"):
        machine_interpretability(
            "timm:test_resnet?pretrained=false",
            images,
            observer="pixel-l2",
            embeddings=images / "shared",
        )


def test_a_table_is_not_written_over(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    frame = pd.DataFrame({"y": [0, 1] * 20, "g": list("aabb") * 10})
    frame.to_csv(table, index=False)
    before = table.read_bytes()
    refused("data", "multiverse", str(table), "--out", str(table))
    named = table.rename(tmp_path / "table.json")
    link = tmp_path / "link.json"
    link.symlink_to(named)
    for out in (named, link):
        refused("fit", "y ~ 1 + (1|g)", str(named), "--save", str(out))
    assert named.read_bytes() == before


def test_every_verb_that_writes_is_guarded() -> None:
    """By the names of its options; a new name for an output must join `OUTPUTS`."""

    def walk(group: typer.Typer, within: str) -> list[tuple[str, object]]:
        found = [
            (f"{within} {c.name or getattr(c.callback, '__name__', '')}", c.callback)
            for c in group.registered_commands
        ]
        for one in group.registered_groups:
            assert one.typer_instance is not None
            found += walk(one.typer_instance, f"{within} {one.name}")
        return found

    unguarded = [
        name.strip()
        for name, verb in walk(app, "")
        if not hasattr(verb, "__wrapped__")
        and set(OUTPUTS) & set(getattr(verb, "__annotations__", {}))
    ]
    purpose = ("report", "submit pack", "submit pr", "submit new", "leaderboard build")
    assert sorted(unguarded) == sorted(purpose)


def test_the_guard_keeps_what_a_verb_says() -> None:
    own = typer.Typer()

    def verb(source: Path, out: Path = Path("x")) -> None:
        """Do it."""
        typer.echo(f"{source} {out}")

    own.command("verb")(verb)
    guard(own)
    result = CliRunner().invoke(own, ["photos", "--out", "y"])
    assert result.output == "photos y\n"
