"""Plots that most results share: names of observers as long as people give them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from imi_bench.plots import Interval, forest

LONG = (
    "timm:vit_base_patch16_clip_quickgelu_224.dfn2b?checkpoint=a_long_name.safetensors&pooling=avg"
)


@pytest.mark.parametrize("name", [LONG, "x" * 200, "short"])
def test_labels_of_any_length_leave_room_for_the_intervals(name: str) -> None:
    """Warnings are errors: none that the layout was given up."""
    ax = forest([Interval(f"{name}{i}", 0.5, 0.1, 0.9) for i in range(3)], xlabel="bits")
    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    assert ax.get_position().width > 0.4
    labels = [one.get_text() for one in ax.get_yticklabels()]
    assert [one.replace("\n", "") for one in labels] == [f"{name}{i}" for i in range(3)]
    boxes = [one.get_window_extent() for one in ax.get_yticklabels()]
    assert all(above.y0 > below.y1 for above, below in pairwise(boxes))
