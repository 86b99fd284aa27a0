"""Simulated participants who answer over HTTP with a known choice model."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from imi_bench.tables import Trials
from imi_bench.tables.images import Images


def striped_trials(
    units: int = 12, *, modes: tuple[str, ...] = ("natural",), batches: int = 2, size: int = 8
) -> Trials:
    """Trials of small noise images; every image is another."""
    from imi_bench.tables import TrialIndex

    rng = np.random.default_rng(0)
    rows = [(u, m, b) for u in range(units) for m in modes for b in range(1, batches + 1)]
    images, place = Images.collect(
        [rng.integers(0, 255, (size, size, 3), dtype=np.uint8) for _ in range(20 * len(rows))]
    )
    place = place.reshape(len(rows), 20)
    names = [f"resnet50/layer/{u}/{m}/easy/{b}" for u, m, b in rows]
    return Trials(
        index=TrialIndex(
            trial_id=np.array(names, dtype=object),
            network=np.array(["resnet50"] * len(rows), dtype=object),
            layer=np.array(["layer1_0_conv1"] * len(rows), dtype=object),
            unit=np.array([u for u, _, _ in rows]),
            mode=np.array([m for _, m, _ in rows], dtype=object),
            difficulty=np.array(["easy"] * len(rows), dtype=object),
            batch=np.array([b for _, _, b in rows]),
            catch=np.zeros(len(rows), dtype=bool),
        ),
        images=images,
        positive=place[:, :9],
        negative=place[:, 9:18],
        queries=place[:, 18:],
        simulated=True,
    )


@dataclass
class Participant:
    """One simulated person.

    `choose` gets what the browser gets, and the probability with which the upper query is to be
    chosen stands with whoever made it: it may know the key of the test's own database.
    """

    url: str
    own: str
    choose: Callable[[str, int], int]
    sends: int = 1
    patience: float = 60.0
    acknowledged: list[tuple[str, int, int]] = field(default_factory=list)
    session: str = ""

    def post(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send until acknowledged, as the page does; every post `sends` times."""
        headers = {"Authorization": f"Bearer {self.session}"} if self.session else {}
        until, told = time.monotonic() + self.patience, None
        for _ in range(self.sends):
            while True:
                try:
                    response = self.client.post(
                        f"{self.url}/api/{verb}", json=body or {}, headers=headers
                    )
                    if response.status_code < 500:
                        response.raise_for_status()
                        told = response.json()
                        break
                except httpx.TransportError:
                    pass
                if time.monotonic() > until:
                    raise TimeoutError(verb)
                time.sleep(random.uniform(0.02, 0.1))
        assert told is not None
        return told

    def take_part(self) -> dict[str, Any]:
        """The whole way from the consent to the end."""
        with httpx.Client(timeout=20) as self.client:
            study = self.post("enter", {"own": self.own, "simulated": True})
            self.session = study["session"]
            if study["state"] == "consent":
                self.post("consent", {"agree": True})
                self.post("instructions", {"seconds": 30})
            while True:
                practice = self.post("practice")
                if practice["state"] != "practice":
                    break
                self.answer_all(practice["trials"])
            self.answer_all(self.post("state")["trials"])
            return self.post("finish", {"comment": "none"})

    def answer_all(self, trials: list[dict[str, Any]]) -> None:
        for trial in trials:
            block, number = trial["block"], trial["number"]
            button = self.choose(block, number)
            self.post("answer", {"block": block, "number": number, "button": button, "rt": 900})
            self.acknowledged.append((block, number, button))
