"""The Socratic script to its last line, with a made-up language model in place of SmolLM2."""

from __future__ import annotations

import json
import shutil
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_scripts import benchmark


class Babble:
    """Likelihoods that depend on the words and mean nothing."""

    def __init__(self, kept: Path | None = None) -> None:
        self.asked: list[str] = []

    def likelihoods(self, before: str, after: Sequence[str], *, shared: str = "") -> list[float]:
        assert before.startswith(shared)
        self.asked.append(before)
        return [-1.0 - zlib.crc32((before + one).encode()) / 2**32 for one in after]


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore")
def test_the_script_ends_with_its_tables_and_figure(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script: Any = benchmark("socratic_observer")
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for file in sorted((shared / "images" / "imagenet1k_sample").glob("*.jpg"))[:124]:
        shutil.copy(file, photographs)
    monkeypatch.setattr(script, "SmolLM2", Babble)
    options = {
        "--images": photographs,
        "--weights": shared / "weights" / "tf_efficientnet_lite0.in1k.safetensors",
        "--units": 6,
        "--shots": "0,2",
        "--out": tmp_path / "out",
    }
    parts = [str(part) for pair in options.items() for part in pair]
    monkeypatch.setattr(sys, "argv", ["socratic_observer.py", *parts])
    script.main()
    found = json.loads((tmp_path / "out" / "socratic.json").read_text(encoding="utf-8"))
    ways = [(row["way"], row["shots"]) for row in found["ways"]]
    assert ways == [("matching", 0), ("names", 0), ("letters", 0), ("letters", 2), ("codes", 0)]
    assert all(0 <= row["correct"] <= 1 for row in found["ways"])
    # the codes are those of the network whose units are judged
    assert found["ways"][-1]["correct"] > 0.8
    assert len(found["orders of the lists"]) == 9
    assert (tmp_path / "out" / "fewshot-socratic.png").stat().st_size > 1000
