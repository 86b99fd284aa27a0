"""Many pictures are compared a block at a time: never all distances at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.bright_trials import Colours, bright_trials

from imi_bench.fewshot import contamination
from imi_bench.stimuli.likeness import Likeness

MANY = 6000
WHOLE = MANY * MANY * 4  # bytes of all distances in float32


def test_hashes_of_many_pictures_are_compared_in_blocks() -> None:
    bits = np.random.default_rng(0).random((2, MANY, 64)) < 0.5
    bits[0, 5000] = bits[0, 100]  # found across blocks
    seen = Likeness(np.array([str(i) for i in range(MANY)], dtype=object), *bits)
    tracemalloc.start()
    found = {pair[:3] for pair in seen.pairs(seen) if pair[0] != pair[1]}
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == {(100, 5000, "near"), (5000, 100, "near")}
    assert most < WHOLE


def test_codes_are_compared_in_blocks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trials, pool = bright_trials(2), bright_trials(2, seed=1)
    given: dict[str, Any] = {"pool": pool, "embedding": Colours()}
    whole = contamination.check(trials, **given).pairs
    assert (whole["kind"] == "cosine").sum() > 10
    monkeypatch.setattr(contamination, "BLOCK", 7)
    pd.testing.assert_frame_equal(contamination.check(trials, **given).pairs, whole)


def test_what_lies_beside_the_training_pictures_is_counted(tmp_path: Path) -> None:
    trials = bright_trials(2)
    pixels = trials.images.decode(0)
    (tmp_path / "seen" / "more").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "seen" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "seen" / "more" / "b.png")
    (tmp_path / "seen" / "c.heic").write_bytes(b"?")
    (tmp_path / "seen" / "d.png").symlink_to("nowhere")
    checked = contamination.check(trials, folder=tmp_path / "seen").checked[-1]
    assert checked == (
        "stimuli against seen of 2 pictures, left out: 1 link to nothing with the names of images, "
        "left out: 1 file of other formats (.heic 1)"
    )
