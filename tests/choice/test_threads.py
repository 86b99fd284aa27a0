"""The number of threads changes no calibration."""

from __future__ import annotations

import pytest
from support.small_study import SmallStudy
from threadpoolctl import threadpool_limits

import imi_bench as imi


@pytest.mark.whole
def test_the_hash_does_not_depend_on_threads(shared_study: SmallStudy) -> None:
    hashes = set()
    for threads in (1, 4):
        with threadpool_limits(threads):
            hashes.add(imi.calibrate(shared_study.runs[0], shared_study.people).hash)
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64
