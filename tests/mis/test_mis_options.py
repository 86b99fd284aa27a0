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
