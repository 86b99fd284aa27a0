"""Options of a run: repeated images, calibrations, another run in the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imi_bench.choice.calibration import MIS_DREAMSIM, Calibration
from imi_bench.choice.natural_slope import natural_slope
from imi_bench.choice.psychometric import PsychometricParameters
from imi_bench.errors import InputError, NotComparableError
from imi_bench.executors import Local

pytest.importorskip("timm")


@pytest.mark.vision
def test_repeated_images_are_counted_left_out_on_wish_and_overwritten_ones_noticed(
    tmp_path: Path,
) -> None:
    from imi_bench.mis.job import MisJob, open_job
    from imi_bench.mis.run import clear, run_job

    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    twice = np.concatenate([pixels, pixels[:5]])
    np.savez(tmp_path / "i.npz", images=twice)
    job = MisJob(
        network="timm:test_resnet?num_classes=10&input_size=32",
        pretrained=False,
        device="cpu",
        images=tmp_path / "i.npz",
        observer="pixel-cosine",
        out=tmp_path / "out",
        slope=5.0,
        slope_source="calibration: a test",
        quantile=0.2,
        n_references=2,
        n_tasks=3,
        layers="layer1_0_conv1",
    )
    done = run_job(job, executor=Local())
    assert done is not None
    assert done.record["images"]["repeated"] == 5
    assert done.record["slope"]["source"] == "calibration: a test"
    assert done.scores["depth"].between(0.01, 0.5).all()
    assert len(open_job(replace(job, unique=True)).images) == 40
    np.savez(tmp_path / "i.npz", images=twice[::-1])  # the same names and sizes
    other = replace(job, seed=1)
    with pytest.raises(InputError, match="folder holds another pass"):
        run_job(other, executor=Local())
    (tmp_path / "out" / "mine.txt").write_text("stays")
    clear(other)
    assert run_job(other, executor=Local()) is not None
    assert (tmp_path / "out" / "mine.txt").is_file()


def test_a_calibration_gives_its_slope_to_its_own_observer_only() -> None:
    fixed = Calibration.fixed(MIS_DREAMSIM, label="MIS, DreamSim")
    assert natural_slope(fixed, observer="dreamsim") == (0.16, "calibration: fixed: MIS, DreamSim")
    with pytest.raises(NotComparableError, match="another observer's: found ssim, wanted hog"):
        natural_slope(replace(fixed, observer="ssim"), observer="hog")
    lapsing = PsychometricParameters(2.0, lapse=0.1)
    _, source = natural_slope(replace(fixed, parameters=lapsing), observer="hog")
    assert source.endswith("its lapse 0.1 is not applied")
    for bad in (PsychometricParameters(2.0, link="probit"), PsychometricParameters(-1.0)):
        with pytest.raises(InputError, match="no slope for the score"):
            natural_slope(replace(fixed, parameters=bad), observer="hog")


@pytest.mark.vision
def test_a_device_is_the_networks_where_the_observer_takes_none(
    tmp_path: Path,
) -> None:
    from imi_bench.mis.job import MisJob, OpenJob, open_job

    np.savez(tmp_path / "i.npz", images=np.zeros((40, 32, 32, 3), np.uint8))
    job = MisJob(
        network="timm:test_resnet?num_classes=10&input_size=32",
        pretrained=False,
        device="cpu",
        images=tmp_path / "i.npz",
        observer="pixel-cosine",
        out=tmp_path / "out",
        quantile=0.2,
        n_references=2,
    )
    opened = open_job(job)
    assert opened.device_said == ()
    elsewhere = OpenJob(replace(job, device="cuda:0"), opened.network, opened.images, opened.plans)
    (line,) = elsewhere.device_said
    assert line == "observer 'pixel-cosine' takes no device: cuda:0 is the network's"


@pytest.mark.whole
@pytest.mark.vision
@pytest.mark.parametrize("observer", ["timm:test_resnet?pretrained=false", "pixel-cosine"])
def test_kept_pixels_change_no_byte_of_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, observer: str
) -> None:
    from PIL import Image

    from imi_bench.mis.interpretability import machine_interpretability
    from imi_bench.tables import images as decoding

    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    photos, decoded, said = tmp_path / "photos", [], []
    photos.mkdir()
    for number, pixels in enumerate(
        np.random.default_rng(0).integers(0, 256, (24, 40, 50, 3), dtype=np.uint8)
    ):
        Image.fromarray(pixels).save(photos / f"{number:02d}.png", compress_level=0)
    rgb = decoding.rgb_image
    monkeypatch.setattr(
        decoding, "rgb_image", lambda image, where: decoded.append(where) or rgb(image, where=where)
    )

    def run(name: str, *, keep_pixels: bool, **asked: object) -> list[bytes]:
        decoded.clear()
        said.clear()
        out = tmp_path / name
        machine_interpretability(
            "timm:test_resnet?num_classes=10",
            photos,
            observer=observer,
            pretrained=False,
            device="cpu",
            slope=5.0,
            quantile=0.2,
            references=2,
            tasks=3,
            layers="layer1_0_conv1",
            batch_size=8,
            out=out,
            keep_pixels=keep_pixels,
            tell=said.append,
            **asked,
        )
        files = ("scores.parquet", "embeddings.npy", "activations/activations.npz")
        return [(out / file).read_bytes() for file in files]

    scaled = observer.startswith("timm")
    plain = run("plain", keep_pixels=False)
    assert len(decoded) <= 24 + 1  # one in the cache, one for the instance check before it
    assert run("first", keep_pixels=True) == plain
    assert [
        line for line in said if line.startswith("keeps pixels: 24 images of 160 x 160; 1.8 MB")
    ]
    assert len(decoded) == (25 if scaled else 24 + 25)
    assert run("later", keep_pixels=True) == plain
    assert len(decoded) == (1 if scaled else 25)
    assert any("24 of them there already; 0.0 MB" in line for line in said)


@pytest.mark.vision
def test_embeddings_go_on_in_the_batches_that_they_began_with(tmp_path: Path) -> None:
    from imi_bench.mis.embeddings import batch_size, claim_embeddings, embeddings_said
    from imi_bench.mis.job import MisJob

    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "i.npz", images=pixels)
    job = MisJob(
        network="timm:test_resnet?num_classes=10&input_size=32",
        pretrained=False,
        device="cpu",
        images=tmp_path / "i.npz",
        observer="pixel-cosine",
        out=tmp_path / "out",
        embeddings=tmp_path / "shared",
        quantile=0.2,
        n_references=2,
        batch_size=16,
    )
    claim_embeddings(job)
    assert embeddings_said(job) == ()
    other = replace(job, batch_size=5, out=tmp_path / "other")
    claim_embeddings(other)
    assert batch_size(other) == 16
    assert embeddings_said(other) == (
        f"embeddings in batches of 16 images, as those that {tmp_path / 'shared'} holds",
    )
