"""A small Ray cluster on this machine, which may be busy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

PATIENCE = 240.0  # seconds


@contextmanager
def cluster(cpus: int = 2) -> Iterator[None]:
    """While the block runs, tasks go to a cluster that was there before.

    Ray gives its own start 30 seconds, by a constant in the body of a function; it asks for its
    node again and again, and here the asking is patient.
    """
    import ray

    ask = ray._private.services.get_node

    def patiently(*given: Any, **named: Any) -> Any:
        last = time.monotonic() + PATIENCE
        while True:
            try:
                return ask(*given, **named)
            except RuntimeError:
                if time.monotonic() > last:
                    raise
                time.sleep(0.2)

    with (
        mock.patch.dict(os.environ, RAY_USAGE_STATS_ENABLED="0"),
        mock.patch.object(ray._private.services, "get_node", patiently),
    ):
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()
