"""Properties of networks whose effect is in question, on the scale they enter the model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.vision.card import FAMILIES, covariates

INTEREST = 0.35
"""Smallest effect of interest in log-odds: for ten times as many, ten points, or ten years.

From 80% to 85% correct is logit(0.85) - logit(0.80) = 0.348: about half of the published spread
between the best and the worst network on natural exemplars. It is stated for a step of a property,
whichever networks the study has, so that leaving one out does not move it.
"""


@dataclass(frozen=True)
class Property:
    """A number about a network, and the step its effect is stated for.

    Attributes
    ----------
    name : str
        Column of the table of networks.
    label : str
        In words.
    step : str
        What one unit of the transformed number is, in words.
    logarithm : bool
        Whether the model takes log10.
    scale : float
        What the number is multiplied by otherwise.
    largest : float
        What the number cannot exceed.
    of_interest : float
        Share of the smallest effect of interest that belongs to one step.
    """

    name: str
    label: str
    step: str
    logarithm: bool = False
    scale: float = 1.0
    largest: float = math.inf
    of_interest: float = 1.0

    @property
    def wanted(self) -> str:
        """What the number must be, in words."""
        return f"above 0 and at most {self.largest:g}" if self.largest < math.inf else "above 0"

    def transformed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the numbers as they enter the model, (K,) float64."""
        return np.asarray(np.log10(values) if self.logarithm else values * self.scale)


PROPERTIES = (
    Property("parameters", "parameters", "tenfold parameters", logarithm=True),
    Property("training_images", "training images", "tenfold training images", logarithm=True),
    Property(
        "top1", "ImageNet accuracy", "10 points of ImageNet accuracy", scale=10.0, largest=1.0
    ),
    Property("year", "year of publication", "one later year", of_interest=0.1),
)


def family_columns(labels: pd.Series) -> dict[str, pd.Series]:
    """Return an indicator of each kind of a family but the most common, NaN where unknown.

    Examples
    --------
    >>> family_columns(pd.Series(["a", "b", "a", None]))["b"].tolist()
    [0.0, 1.0, 0.0, nan]
    """
    others = sorted(labels.dropna().value_counts().index[1:])
    return {str(one): (labels == one).astype(float).where(labels.notna()) for one in others}


def network_table(networks: list[str], *, own: pd.DataFrame | None = None) -> pd.DataFrame:
    """Properties of the networks of a study, one row each, indexed by network.

    Parameters
    ----------
    networks : list of str
        Names, in the order wanted.
    own : DataFrame, optional
        Table of one's own, with `network` and any of the columns ``parameters``,
        ``training_images``, ``top1``, ``year``, ``architecture``, ``training``; it stands before
        the cards of the paper's networks.

    Raises
    ------
    InputError
        If `own` has no column `network`, repeats one, has no property, or one that is not above 0.
    """
    columns = [*(one.name for one in PROPERTIES), *FAMILIES]
    known = covariates().set_index("network")[columns]
    if own is not None:
        mine = _checked(own, columns).reindex(columns=known.columns)
        known = mine.combine_first(known)[columns]
    return known.reindex(networks)


def _checked(own: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the table by network, its numbers as numbers."""
    given = [name for name in columns if name in own.columns]
    if "network" not in own.columns or not given:
        raise InputError(
            "no table of networks",
            found=", ".join(map(str, own.columns)),
            wanted=f"a column network and any of {', '.join(columns)}",
        )
    if own["network"].duplicated().any():
        raise InputError(
            "network given twice",
            found=own["network"][own["network"].duplicated()].iloc[0],
            wanted="one row a network",
        )
    table = own.assign(network=own["network"].astype(str)).set_index("network")[given]
    for one in PROPERTIES:
        if one.name not in given:
            continue
        numbers = pd.to_numeric(table[one.name], errors="coerce")
        wrong = table[one.name].notna() & ~(numbers.gt(0) & numbers.le(one.largest))
        if wrong.any():
            network, value = next(iter(table[one.name][wrong].items()))
            raise InputError(
                "not a property of a network",
                where=f"{network}, {one.name}",
                found=value,
                wanted=one.wanted,
            )
        table[one.name] = numbers.astype(float)
    return table


def smallest_effect(one: Property, *, interest: float = INTEREST) -> float:
    """Smallest effect of interest for one step of a property; the same in every study.

    Examples
    --------
    >>> [round(smallest_effect(one), 3) for one in PROPERTIES]
    [0.35, 0.35, 0.35, 0.035]
    """
    return interest * one.of_interest
