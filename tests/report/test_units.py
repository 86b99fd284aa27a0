"""The page of a network's units, made of a small build."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.built_units import build_units
from typer.testing import CliRunner

import imi_bench as imi
from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.networks.units import Unit
from imi_bench.report.units.built import BuiltUnits
from imi_bench.report.units.figures import histogram
from imi_bench.report.units.page import UnitsPage, write_units_page

pytestmark = pytest.mark.vision


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_units(tmp_path_factory.mktemp("built"))


@pytest.mark.whole
def test_report_makes_the_page_of_built_trials(built: Path, tmp_path: Path) -> None:
    page = imi.report(built, out=tmp_path / "page.html")
    assert isinstance(page, UnitsPage)
    assert page.sheets == 3
    html = page.path.read_text()
    assert html == write_units_page(built, out=tmp_path / "again.html").path.read_text()
    for unit in ("0__1", "0__4", "2__0"):
        assert html.count(f'id="unit-{unit}"') == 1
    assert html.count("Weak response") == html.count("Strong response") == 3
    assert len(re.findall("<figcaption>[^<]*[Ww]hiskers", html)) == html.count('class="plot"') == 3
    assert "mathdefault" not in html
    layers = html[html.index('id="layers"') :]
    assert re.findall(r'<th scope="row">(\d)</th><td>convolution</td>', layers) == ["0", "2"]


def test_shares_are_those_of_the_activations(built: Path) -> None:
    found = BuiltUnits.read(built)
    index, known = found.trials.index, found.trials.query_activations
    assert known is not None
    for row in range(len(found.trials)):
        values = found.activations.of(Unit(index.layer[row], int(index.unit[row])))
        strong, weak = found.share_below(row)
        assert strong == np.mean([v < known[row, 0] for v in values])
        assert weak < 0.5 < strong
    assert not found.random


def test_a_strip_s_bars_hold_every_image() -> None:
    drawn = histogram(np.float32([0, 0, 0, 1]), [(0.0, "weak"), (1.0, "strong")])
    heights = [float(h) for h in re.findall(r"v-([\d.]+)h", drawn)]
    assert heights == [38.0, pytest.approx(38 / np.sqrt(3), abs=0.05)]
    assert 'class="strong" x1="240.0"' in drawn
    assert histogram(np.float32([2, 2]), []).count("<line") == 1


@pytest.mark.whole
def test_the_verb(built: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(built), "--out", str(out), "--json"])
    said = json.loads(done.stdout)
    assert said["units"] == said["trials_drawn"] == 3
    assert out.stat().st_size == said["bytes"]
    told = CliRunner().invoke(app, ["report", str(built), "--out", str(out)])
    assert "3 units, 3 of" in told.output
    with pytest.raises(InputError, match="belong to runs"):
        imi.report(built, responses="imi", out=out)


def test_random_weights_are_said(built: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(built, tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    record["network"]["random_seed"] = 3
    (copy / "run.json").write_text(json.dumps(record))
    assert "Random weights." in write_units_page(copy).path.read_text()
    (copy / "units.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="not a Parquet file"):
        write_units_page(copy)
