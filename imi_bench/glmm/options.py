"""How to fit: link, likelihood, quadrature, effort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from imi_bench.arguments import checked_fields
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.glmm.families import FamilyName, LinkName, binomial_link
from imi_bench.glmm.lapse import checked_lapse
from imi_bench.glmm.ordinal import ThresholdName
from imi_bench.results import Record

__all__ = ["Options"]

MOST_NODES = 100
"""Of adaptive quadrature, as in lme4."""


@checked_fields
@dataclass(frozen=True, repr=False)
class Options(Record):
    """How to fit.

    Attributes
    ----------
    link : LinkName, optional
        ``logit`` or ``probit``; a Gaussian model has only ``identity``.
    method : {"ML", "REML"}
        ``ML`` or ``REML``; a binomial model has only ``ML``.
    nagq : int
        Quadrature nodes; 1 is the Laplace approximation.
    hessian : bool
        Compute the Hessian at the optimum. Without it, standard errors of a binomial model
        come from the working linear model; for refits whose estimates alone are wanted.
    max_iterations : int
        Give up, unconverged, after this many steps.
    lapse : float or {"estimate"}
        Share of answers given blindly, in [0, 0.5), in a binomial model; ``estimate`` finds
        it with everything else.
    thresholds : ThresholdName
        ``flexible`` or ``symmetric``, in an ordinal model.
    """

    link: LinkName | None = None
    method: Literal["ML", "REML"] = "ML"
    nagq: int = 1
    hessian: bool = True
    max_iterations: int = 200
    lapse: float | Literal["estimate"] = 0.0
    thresholds: ThresholdName = "flexible"

    def checked(self, family: FamilyName) -> Options:
        """Return the options with the link filled in.

        Raises
        ------
        InputError
            If they do not fit the family.
        """
        link: LinkName = "identity"
        if family == "gaussian":
            if self.link not in (None, "identity"):
                raise InputError("a Gaussian model has the identity link", found=self.link)
            if self.nagq != 1:
                raise InputError("a Gaussian model needs no quadrature", found=f"nagq={self.nagq}")
        else:
            link = binomial_link(self.link or "logit").name
            if self.method != "ML":
                raise InputError(
                    "REML is for Gaussian models", found=f"family {family}", do="use ML"
                )
        UnknownNameError.unless_among(self.method, ("ML", "REML"), kind="method")
        if not 1 <= self.nagq <= MOST_NODES:
            raise InputError(
                "no number of quadrature nodes", found=self.nagq, wanted=f"1 to {MOST_NODES}"
            )
        if self.thresholds != "flexible" and family != "ordinal":
            raise InputError("thresholds are of an ordinal model", found=f"family {family}")
        if self.lapse and family != "binomial":
            raise InputError("a lapse rate needs the binomial family", found=f"family {family}")
        if isinstance(self.lapse, str) and self.lapse != "estimate":
            raise UnknownNameError.among(self.lapse, ("estimate",), kind="lapse rate")
        lapse = self.lapse if isinstance(self.lapse, str) else checked_lapse(self.lapse)
        return replace(self, link=link, lapse=lapse)
