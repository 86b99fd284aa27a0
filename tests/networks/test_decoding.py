"""Decoding goes on from shard to shard, and gives the images that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from imi_bench.networks.collection import open_images
from imi_bench.networks.decoding import Decoding
from imi_bench.vision.preprocessing import plain_preprocess

pytest.importorskip("torch")
pytestmark = pytest.mark.vision


@pytest.mark.parametrize("onwards", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        [range(0, 8), range(8, 16), range(16, 21)],
        [range(8, 16), range(0, 8), range(16, 21), range(16, 21)],
        [range(0, 6), range(6, 12), range(4, 21)],
        [range(0, 8), range(8, 16), range(0, 8), range(8, 16), range(16, 21)],
    ],
)
def test_batches_are_those_asked_for(onwards: bool, asked: list[range]) -> None:
    pictures = np.zeros((21, 224, 224, 3), np.uint8)
    pictures += np.arange(21, dtype=np.uint8)[:, None, None, None]
    stream = Decoding(
        plain_preprocess(), open_images(pictures), batch_size=4, workers=0, onwards=onwards
    )
    for numbers in asked:
        batches = [batch[:, 0, 0, 0].tolist() for batch in stream.batches(numbers)]
        assert [number for batch in batches for number in batch] == list(numbers)
        assert all(len(batch) == 4 for batch in batches[:-1])


def test_a_dataset_is_read_by_one_process_unless_others_are_asked_for() -> None:
    class Moving:
        """Its images lie one after another in an open file, say."""

        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> np.ndarray:
            return np.full((8, 8, 3), number, np.uint8)

    preprocess = plain_preprocess()
    assert Decoding(preprocess, open_images(Moving()), batch_size=1, device="cuda").workers == 0
    array = np.zeros((2, 8, 8, 3), np.uint8)
    assert Decoding(preprocess, open_images(array), batch_size=1, device="cuda").workers > 0
    assert Decoding(preprocess, open_images(array), batch_size=1, device="cpu").workers == 0
    assert not open_images(Moving()).take(np.array([0])).concurrent
