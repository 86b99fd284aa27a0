"""The page of machine interpretability scores, made of a small run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.scored_units import scored_units
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.report.mis.figures import by_layer
from imi_bench.report.mis.page import MisPage, write_mis_page
from imi_bench.report.mis.scored import ScoredUnits

pytestmark = pytest.mark.vision


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored_units(tmp_path_factory.mktemp("mis"))


@pytest.fixture(scope="module")
def html(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    page = imi.report(folder, out=tmp_path_factory.mktemp("page") / "page.html")
    assert isinstance(page, MisPage)
    assert page.sheets == 16
    return page.path.read_text()


def test_the_page_holds_figures_units_and_layers(html: str) -> None:
    assert html.count('class="plot"') == 3
    assert html.count("Most activating</h4>") == html.count("Least activating</h4>") == 16
    layers = html[html.index('id="layers"') : html.rindex("How it was made")]
    assert re.findall(r'<th scope="row">([^<]*)</th><td>', layers)[:3] == [
        "conv1_0",
        "bn1",
        "layer2_0_conv1",
    ]
    assert "Random weights." in html
    assert "Beware:</strong> slope 0.16 was published with DreamSim" in html
    assert 'src="http' not in html


def test_layers_are_means_of_their_units(folder: Path) -> None:
    scored = ScoredUnits.read(folder)
    assert scored.measure == "hard_score"  # the slope is not this observer's
    frame = pd.read_parquet(folder / "scores.parquet")
    for row in by_layer(scored).itertuples():
        own = frame.loc[frame["layer"] == row.layer, "hard_score"].dropna()
        assert row.mean == pytest.approx(own.mean())
        assert row.half == pytest.approx(stats.norm.ppf(0.975) * own.sem())
        assert (row.worst, row.best, row.scored) == (own.min(), own.max(), len(own))


def test_exemplars_are_the_images_that_activate_a_unit_most_and_least(folder: Path) -> None:
    import torch

    from imi_bench.vision.loading import load_network

    scored = ScoredUnits.read(folder)
    assert scored.images is not None
    network = load_network(
        "timm:test_resnet?num_classes=10&input_size=32", pretrained=False, device="cpu"
    )
    layer = network.layer("bn1")
    images: Any = scored.images
    pixels = [torch.from_numpy(scored.seen(n).copy()) for n in range(len(images))]
    found: list[Any] = []
    part = network.module.get_submodule(layer.path)
    part.register_forward_hook(lambda _m, _i, output: found.append(output.mean((2, 3))))
    with torch.no_grad():
        network.module(network.preprocess.normalise(torch.stack(pixels)))
    row = int(np.flatnonzero(scored.scores["layer"] == "bn1")[3])
    order = found[0][:, 3].argsort().tolist()
    top, bottom = scored.ends(row)
    assert top[:3] == order[::-1][:3]
    assert bottom[:3] == order[:3]


def test_a_page_without_its_images_says_why(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "others.npz", images=np.zeros((80, 32, 32, 3), dtype=np.uint8))
    page = write_mis_page(folder, out=tmp_path / "page.html", images=tmp_path / "others.npz")
    assert "the images in others.npz are not those of the run" in page.path.read_text()
    assert "Most activating" not in page.path.read_text()
    with pytest.raises(InputError, match="not the folder of machine interpretability scores"):
        write_mis_page(tmp_path)


@pytest.mark.whole
def test_the_verb_says_that_weights_are_random(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    told = CliRunner().invoke(app, ["report", str(folder), "--out", str(out), "--json"])
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)
    assert said["random_weights"] is True
    assert said["units_drawn"] == 16
    plain = CliRunner().invoke(app, ["report", str(folder), "--out", str(out)])
    assert "RANDOM weights of the network" in plain.output
