"""Published facts of the IMI experiment, each with its source: for overlays, checks, simulation."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from imi_bench.errors import UnknownNameError


@dataclass(frozen=True)
class PublishedMean:
    """Mean proportion correct of a condition, with its 95% interval.

    Attributes
    ----------
    value, low, high : float
        Proportions; the interval is the authors' bootstrap over units.
    source : str
        Key of `Published.sources`.
    """

    value: float
    low: float
    high: float
    source: str


@dataclass(frozen=True)
class PublishedNetwork:
    """One of the nine networks.

    Attributes
    ----------
    key, label : str
        Name in the released table, and for people.
    top1 : float
        ImageNet top-1 accuracy, a proportion; `top1_note` qualifies it.
    human_likeness_mean_rank : float
        Mean rank of human likeness, 1 the most alike.
    natural, synthetic : PublishedMean or None
        None where the condition was not run.
    source : str
        Key of `Published.sources`, for everything but the means.
    """

    key: str
    label: str
    top1: float
    top1_note: str
    human_likeness_mean_rank: float
    natural: PublishedMean | None
    synthetic: PublishedMean | None
    source: str


@dataclass(frozen=True, order=True)
class Condition:
    """What one experiment showed: a network's units in a mode, at a difficulty.

    Examples
    --------
    >>> Condition("resnet50", "synthetic", "hard95").released
    ('resnet50_hard95', 'optimized')
    """

    network: str
    mode: str
    difficulty: str = "easy"

    @property
    def released(self) -> tuple[str, str]:
        """`model` and `mode` as the released table writes them."""
        suffix = "" if self.difficulty == "easy" else f"_{self.difficulty}"
        return self.network + suffix, "natural" if self.mode == "natural" else "optimized"


@dataclass(frozen=True)
class Published:
    """All facts.

    Attributes
    ----------
    sources : mapping of str to str
        Short key to the full reference.
    networks : mapping of str to PublishedNetwork
        The nine networks, in the order of the figure.
    conditions : tuple of Condition
        The experiments that were run.
    dataset, design, exclusions, mis : mapping
        Numbers by name, as in ``published.toml``; the entry ``source`` is a key of `sources`.
    """

    sources: Mapping[str, str]
    networks: Mapping[str, PublishedNetwork]
    conditions: tuple[Condition, ...]
    dataset: Mapping[str, Any]
    design: Mapping[str, Any]
    exclusions: Mapping[str, Any]
    mis: Mapping[str, Any]

    def mean(self, condition: Condition) -> PublishedMean | None:
        """The published mean of a condition; None where none was published.

        Raises
        ------
        UnknownNameError
            If the network is not one of the nine.
        """
        network = self.networks.get(condition.network)
        if network is None:
            raise UnknownNameError.among(condition.network, self.networks, kind="network")
        if condition.difficulty != "easy":
            return None
        return network.natural if condition.mode == "natural" else network.synthetic


def _network(key: str, facts: dict[str, Any], source: str, means: str) -> PublishedNetwork:
    def mean(mode: str) -> PublishedMean | None:
        if mode not in facts:
            return None
        value, low, high = facts[mode]
        return PublishedMean(value, low, high, means)

    return PublishedNetwork(
        key=key,
        label=facts["label"],
        top1=facts["top1"],
        top1_note=facts.get("top1_note", ""),
        human_likeness_mean_rank=facts["human_likeness_mean_rank"],
        natural=mean("natural"),
        synthetic=mean("synthetic"),
        source=source,
    )


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    text = resources.files("imi_bench.release").joinpath("published.toml").read_text("utf-8")
    return tomllib.loads(text)


def published_numbers() -> dict[str, float]:
    """Every number of ``published.toml`` by its path; the three of a mean are named.

    Examples
    --------
    >>> numbers = published_numbers()
    >>> numbers["networks.googlenet.natural.low"], numbers["design.participants"]
    (0.8515, 63.0)
    """
    found: dict[str, float] = {}

    def walk(path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inside in value.items():
                walk(f"{path}.{name}".lstrip("."), inside)
        elif isinstance(value, list):
            names = ("mean", "low", "high") if path.startswith("networks.") else ("low", "high")
            for name, inside in zip(names, value, strict=False):
                walk(f"{path}.{name}", inside)
        elif isinstance(value, int | float):
            found[path] = float(value)

    walk("", {name: part for name, part in _facts().items() if name != "experiments"})
    return found


@lru_cache(maxsize=1)
def published() -> Published:
    """Read the facts shipped with the package.

    Examples
    --------
    >>> facts = published()
    >>> facts.networks["googlenet"].natural.value, len(facts.conditions)
    (0.8792, 23)
    >>> facts.mis["slope_on_dreamsim"]
    0.16
    """
    facts = _facts()
    networks = dict(facts["networks"])
    source, means = networks.pop("source"), networks.pop("source_of_means")
    easy = [
        Condition(key, mode)
        for key in networks
        for mode in ("natural", "synthetic")
        if mode == "natural" or key in facts["experiments"]["synthetic"]
    ]
    harder = [Condition(*parts) for parts in facts["experiments"]["harder"]]
    return Published(
        sources=MappingProxyType(facts["sources"]),
        networks=MappingProxyType(
            {key: _network(key, entry, source, means) for key, entry in networks.items()}
        ),
        conditions=tuple(easy + harder),
        **{
            part: MappingProxyType(facts[part])
            for part in ("dataset", "design", "exclusions", "mis")
        },
    )
