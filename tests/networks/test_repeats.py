"""Equal pixels in files of other bytes are repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from imi_bench.networks.collection import open_images
from imi_bench.networks.repeats import distinct, repeated_files_said, repeated_pixels


def test_equal_pixels_in_files_of_other_bytes_are_counted_and_left_out(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    Image.fromarray(pictures[0]).save(tmp_path / "a.bmp")
    Image.fromarray(pictures[1]).save(tmp_path / "b.png", compress_level=0)
    (tmp_path / "c.png").write_bytes((tmp_path / "2.png").read_bytes())
    images = open_images(tmp_path)
    values = np.stack([images.read(n).mean((0, 1)) for n in range(len(images))])
    values *= 1 + 1e-6 * np.random.default_rng(1).standard_normal(values.shape)  # rounding
    assert (images.repeated, repeated_pixels(images, values)) == (1, 3)
    assert repeated_files_said(images, 3)[0].startswith("warning: 2 of 9 images repeat the pixels")
    assert repeated_files_said(images, 1) == ()
    left = distinct(images)
    assert left.names.tolist() == [f"{n}.png" for n in range(6)]
    assert repeated_pixels(left, values[:6]) == 0


def test_equal_values_of_other_pixels_are_no_repeats(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    assert repeated_pixels(open_images(tmp_path), np.zeros((5, 2, 2), np.float32)) == 0
