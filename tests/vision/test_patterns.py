"""A pattern of layers that backtracks without end is stopped and said."""

from __future__ import annotations

from collections import OrderedDict

import pytest

from imi_bench.errors import NetworkError
from imi_bench.vision.card import LayerRule

torch = pytest.importorskip("torch")
list_layers = pytest.importorskip("imi_bench.vision.listing").list_layers
pytestmark = pytest.mark.vision


def test_a_pattern_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imi_bench.vision.listing._LONGEST_MATCH", 0.1)
    module = torch.nn.Sequential(OrderedDict({"a" * 60 + "c": torch.nn.Conv2d(3, 2, 1)}))
    with pytest.raises(NetworkError, match="does not come to an end"):
        list_layers(module, rule=LayerRule(pattern="(a|a|aa)+b"), size=(8, 8))


def test_a_pattern_with_an_end_is_not() -> None:
    one, two = torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(2, 2, 1)
    module = torch.nn.Sequential(OrderedDict({"a" * 60: one, "head": two}))
    found = list_layers(module, rule=LayerRule(pattern="a+"), size=(8, 8))
    assert len(found.layers) == 1
