"""Networks without weights or memory, built once for all tests of a process."""

from __future__ import annotations

import functools

from imi_bench.vision.loading import LoadedNetwork, load_network


@functools.cache
def structure_of(name: str) -> LoadedNetwork:
    """The named network on PyTorch's device `meta`; shared, so not to be changed."""
    return load_network(name, device="meta")
