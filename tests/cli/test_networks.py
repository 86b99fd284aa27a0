from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from imi_bench.cli.app import app
from imi_bench.errors import ImiBenchError, InputError, NotEnoughDataError, UnknownNameError
from imi_bench.stimuli.trial_files import read_trials

pytestmark = pytest.mark.vision
NETWORK = "timm:test_resnet?num_classes=10&input_size=32"


def invoke(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, ImiBenchError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_list_and_show_tell_the_scale_and_its_sources() -> None:
    rows = json.loads(invoke("networks", "list", "--json").stdout)
    assert len(rows) == 9
    assert {row["network"] for row in rows} >= {"googlenet", "convnext_b"}
    assert "25,557,032" in invoke("networks", "list").stdout
    shown = json.loads(invoke("networks", "show", "resnet50", "--json").stdout)
    assert shown["covariates"]["year"]["value"] == 2015
    assert "arXiv 1512.03385" in invoke("networks", "show", "resnet50").stdout
    with pytest.raises(UnknownNameError, match="did you mean"):
        invoke("networks", "show", "resnet5")


@pytest.mark.whole
def test_units_lists_layers_and_draws_units_without_weights() -> None:
    pytest.importorskip("torch")
    layers = json.loads(invoke("networks", "units", "resnet50", "--json").stdout)
    assert len(layers) == 112
    assert layers[-1] | {"shape": 0} == {
        "name": "layer4_2_shortcut",
        "path": "layer4.2.shortcut",
        "type": "Identity",
        "depth": 1.0,
        "width": 2048,
        "batch_axis": 0,
        "channel_axis": 1,
        "shape": 0,
        "spatial": True,
    }
    assert "112 layers, 60,416 units" in invoke("networks", "units", "resnet50").stdout
    drawn = invoke("networks", "units", "resnet50", "--sample", 5, "--seed", 3).stdout.split()
    again = invoke("networks", "units", "resnet50", "--sample", 5, "--seed", 3, "--json").stdout
    assert json.loads(again)["units"] == drawn
    assert len(set(drawn)) == 5


@pytest.mark.whole
def test_stimuli_are_built_shown_and_read_back(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "i.npz", images=rng.integers(0, 256, (90, 32, 32, 3), dtype=np.uint8))
    build = (
        "stimuli",
        "build",
        "--network",
        NETWORK,
        "--random",
        "--images",
        tmp_path / "i.npz",
        "--units",
        3,
        "--difficulty",
        "easy",
        "--difficulty",
        "hard85",
        "--batches",
        1,
        "--references",
        4,
        "--crop",
        24,
        "--device",
        "cpu",
    )
    record = json.loads(invoke(*build, "--out", tmp_path / "a", "--json").stdout)
    invoke(*build, "--out", tmp_path / "b")
    assert record["trials"] == 3 * 2 * 2
    assert (record["images_repeated"], record["design"], record["crop"]) == (0, "paper", 24)
    one, two = (read_trials(tmp_path / name) for name in "ab")
    assert one.hash == two.hash == record["trials_hash"]
    assert (tmp_path / "a" / "run.json").is_file()
    assert (tmp_path / "a" / "activations" / "run.json").is_file()
    assert (tmp_path / "a" / "units.parquet").is_file()
    unit = record["units"][0]
    shown = invoke(
        "stimuli", "show", tmp_path / "a", "--unit", unit, "--out", tmp_path / "s.png", "--tile", 20
    )
    assert "4 of 4 trials" in shown.stdout
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert sheet.shape[0] > 4 * 40
    assert sheet.std() > 10
    with pytest.raises(UnknownNameError, match="unknown difficulty of these trials"):
        invoke("stimuli", "show", tmp_path / "a", "--difficulty", "hard99")


@pytest.mark.whole
def test_synthetic_trials_are_built_resumed_and_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "i.npz", images=rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8))
    build = (
        "stimuli",
        "build",
        "--network",
        NETWORK,
        "--random",
        "--images",
        tmp_path / "i.npz",
        "--units",
        3,
        "--batches",
        1,
        "--crop",
        0,
        "--device",
        "cpu",
        "--synthetic",
        "--steps",
        4,
        "--batch-size",
        9,
        "--json",
    )
    record = json.loads(invoke(*build, "--out", tmp_path / "a").stdout)
    assert record["trials"] == 3 * 2 * 2
    assert set(record["synthetic"]) == {"max", "min"}

    table = read_trials(tmp_path / "a")
    layout = read_trials(tmp_path / "a" / "stimuli")
    assert layout.hash == table.hash == record["trials_hash"]
    assert layout.notes == layout.skipped == ()
    catch = table.index.catch & (table.index.mode == "synthetic")
    assert catch.sum() == 3
    for query, references in zip(
        table.queries[catch].T, (table.positive, table.negative), strict=True
    ):
        # as the authors' max_8 and min_8: among the references, which a look can tell
        assert (references[catch][:, -1] == query).all()
    folder = next((tmp_path / "a" / "stimuli").rglob("optimized_images"))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{end}_{rank}.png" for end in ("max", "min") for rank in range(9)
    )

    class KilledError(Exception):
        pass

    def killed(*arguments: object, **options: object) -> None:
        if climbs and len(climbs) == 3:
            raise KilledError
        climbs.append(arguments)
        return climb(*arguments, **options)

    from imi_bench.networks import synthetic

    climbs: list[object] = []
    climb = synthetic.climb
    monkeypatch.setattr(synthetic, "climb", killed)
    with pytest.raises(AssertionError, match="KilledError"):
        invoke(*build, "--out", tmp_path / "b")
    assert len(list((tmp_path / "b" / "visualisations").glob("*.npz"))) == 1
    assert not (tmp_path / "b" / "stimuli").exists()
    monkeypatch.setattr(synthetic, "climb", climb)
    assert json.loads(invoke(*build, "--out", tmp_path / "b").stdout)["trials_hash"] == table.hash

    invoke(
        "run",
        "--observer",
        "pixel-cosine",
        "--trials",
        tmp_path / "a" / "stimuli",
        "--out",
        tmp_path / "run",
    )
    answers = pd.read_parquet(tmp_path / "run" / "decisions.parquet")
    assert len(answers) == 12
    assert answers["decision_variable"].notna().all()
    with pytest.raises(InputError, match="another setting of ascent"):
        invoke(*build, "--steps", 5, "--out", tmp_path / "b")


def test_bad_input_is_one_line_and_a_code(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "empty").mkdir()
    start = ("stimuli", "build", "--network", NETWORK, "--random", "--out", tmp_path / "out")
    with pytest.raises(InputError, match="folder with no images") as caught:
        invoke(*start, "--images", tmp_path / "empty")
    assert caught.value.exit_code == 2
    np.savez(tmp_path / "i.npz", images=np.zeros((30, 32, 32, 3), np.uint8))
    with pytest.raises(NotEnoughDataError, match="found 30 images, wanted 220") as few:
        invoke(*start, "--images", tmp_path / "i.npz")
    assert few.value.exit_code == 3
    with pytest.raises(UnknownNameError, match="unknown layer: found 'nowhere'"):
        invoke(
            *start,
            "--images",
            tmp_path / "i.npz",
            "--unit",
            "nowhere__3",
            "--batches",
            1,
            "--references",
            1,
        )
    with pytest.raises(NotEnoughDataError, match=r"no unit has trials: .*constant"):
        invoke(
            *start,
            "--images",
            tmp_path / "i.npz",
            "--units",
            2,
            "--batches",
            1,
            "--references",
            1,
            "--device",
            "cpu",
        )
    assert not (tmp_path / "out" / "trials.parquet").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--layers", "nowhere"), 2, r"no layer .*nowhere"),
        (("--images", "empty"), 2, r"folder with no images: .*empty: found 1 file of other"),
        (("--images", "few.npz"), 3, r"too few images for the tasks: found 1 of 30 images .* 10"),
        (
            ("--checkpoint", "nan.safetensors"),
            2,
            r"not a finite number: test_resnet-nan[^,]*, unit conv1_0__2, image .*found nan",
        ),
        (
            ("--checkpoint", "seven.safetensors"),
            2,
            r"checkpoint does not fit: .*seven.safetensors, tensor 'fc.weight': "
            r"found shape \(7, 96\), wanted shape \(10, 96\)",
        ),
        (("--checkpoint", "more.safetensors"), 2, r"tensor 'more': found 1 tensors that"),
        (("--observer", "pixel-cosin"), 2, r"did you mean 'pixel-cosine'"),
        (("--observer", "chance"), 2, r"does not embed single images: chance"),
        (("--memory", "0.000001"), 2, r"memory too small for a layer: layer 'conv1_0'"),
    ],
)
def test_scoring_refuses_bad_input_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, str],
    code: int,
    said: str,
) -> None:
    pytest.importorskip("torch")
    from safetensors.torch import save_file

    from imi_bench.vision.loading import load_network

    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("x")
    for name, count in (("few", 30), ("enough", 60)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", images=pixels)
    if options[0] == "--checkpoint":
        classes = 7 if options[1].startswith("seven") else 10
        network = load_network(
            f"timm:test_resnet?num_classes={classes}", pretrained=False, device="cpu"
        )
        state = dict(network.module.state_dict())
        if options[1].startswith("nan"):
            state["conv1.0.weight"][2] = float("nan")
        elif options[1].startswith("more"):
            state["more"] = state["fc.bias"].clone()
        save_file(state, options[1])
    chosen = {
        "--network": NETWORK,
        "--images": "enough.npz",
        "--observer": "pixel-cosine",
        "--out": "out",
        "--layers": "conv1_0",
        "--device": "cpu",
        "--slope": "5",
        "--quantile": "0.2" if "few.npz" not in options else "0.02",
    } | {options[0]: options[1]}
    random = [] if options[0] == "--checkpoint" else ["--random"]
    with pytest.raises(ImiBenchError, match=said) as caught:
        invoke("mis", *random, *(part for pair in chosen.items() for part in pair))
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "scores.parquet").exists()
