"""Properties of networks whose effect is in question, on the scale they enter the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.networks.card import FAMILIES, covariates

__all__ = ["INTEREST", "PROPERTIES", "Property", "network_table", "smallest_effect"]

INTEREST = 0.35
"""Smallest effect of interest in log-odds over the whole span of a property in the study.

From 80% to 85% correct is logit(0.85) - logit(0.80) = 0.348: about half of the published spread
between the best and the worst network on natural exemplars. A property that moves people by less
than that, over everything between the smallest and the largest network, does not matter much.
"""


@dataclass(frozen=True)
class Property:
    """A number about a network, and the step its effect is stated for.

    Attributes
    ----------
    name : column of the table of networks.
    label : in words.
    step : what one unit of the transformed number is, in words.
    logarithm : whether the model takes log10.
    scale : what the number is multiplied by otherwise.
    """

    name: str
    label: str
    step: str
    logarithm: bool = False
    scale: float = 1.0

    def transformed(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the numbers as they enter the model, (K,) float64."""
        return np.asarray(np.log10(values) if self.logarithm else values * self.scale)


PROPERTIES = (
    Property("parameters", "parameters", "tenfold parameters", logarithm=True),
    Property("training_images", "training images", "tenfold training images", logarithm=True),
    Property("top1", "ImageNet accuracy", "10 points of ImageNet accuracy", scale=10.0),
    Property("year", "year of publication", "one later year"),
)


def network_table(networks: list[str], *, own: pd.DataFrame | None = None) -> pd.DataFrame:
    """Properties of the networks of a study, one row each, indexed by network.

    Parameters
    ----------
    networks : names, in the order wanted.
    own : table of one's own, with `network` and any of the columns ``parameters``,
        ``training_images``, ``top1``, ``year``, ``architecture``, ``training``; it stands before
        the cards of the paper's networks.

    Raises
    ------
    InputError
        If `own` has no column `network`, or repeats one.
    """
    columns = [*(one.name for one in PROPERTIES), *FAMILIES]
    known = covariates().set_index("network")[columns]
    if own is not None:
        if "network" not in own.columns or own["network"].duplicated().any():
            raise InputError("no table of networks", found=", ".join(map(str, own.columns)),
                             wanted="a column network, one row each")  # fmt: skip
        known = own.set_index("network").reindex(columns=known.columns).combine_first(known)
    return known.reindex(networks)


def smallest_effect(values: NDArray[np.float64], *, interest: float = INTEREST) -> float:
    """Smallest effect of interest for one unit of a property: `interest` over its span.

    Examples
    --------
    >>> smallest_effect(np.array([7.0, 8.0]))
    0.35
    """
    return interest / float(np.ptp(values))
