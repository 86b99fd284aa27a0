"""`GlmmResult`: everything a fit says, and the ways to take it elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special

from imi_bench.arguments import checked, checked_level
from imi_bench.arrays import Floats
from imi_bench.errors import ModelError, NotConvergedError, UnknownNameError
from imi_bench.glmm.exchange import from_json, random_rows, to_json
from imi_bench.glmm.families import FamilyName, Likelihood, LinkName, binomial_link
from imi_bench.glmm.lapse import lapsing
from imi_bench.glmm.methods import method
from imi_bench.glmm.options import Options
from imi_bench.glmm.ordinal import ThresholdName, category_probabilities
from imi_bench.glmm.random_effects import RandomEffects
from imi_bench.glmm.starts import WarmStart
from imi_bench.glmm.summary import latex_table, summary_text
from imi_bench.results import NOT_IN_JSON, Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from imi_bench.glmm.bootstrap import Bootstrap
    from imi_bench.glmm.comparison import Comparison
    from imi_bench.glmm.design import Design
    from imi_bench.glmm.inference import Inference
    from imi_bench.glmm.inferences import Inferences
    from imi_bench.glmm.influence import Influence
    from imi_bench.glmm.means import MarginalMeans
    from imi_bench.glmm.prediction import Prediction
    from imi_bench.glmm.residuals import SimulatedResiduals
    from imi_bench.glmm.restarts import Restarts
    from imi_bench.glmm.variation import Variation

__all__ = ["GlmmResult", "RandomEffects"]


@dataclass(frozen=True, eq=False, repr=False)
class GlmmResult(Result):
    """A fitted mixed model.

    Attributes
    ----------
    formula, family, link, method, nagq : str and FamilyName and LinkName and {"ML", "REML"} and int
        What was fitted; ``nagq`` 1 is Laplace.
    names : tuple of str
        Name of each fixed effect, as lme4 gives it.
    estimate : (p,) float64
        Fixed effects on the scale of the linear predictor.
    covariance : (p, p) float64
        Their covariance. Binomial: from the Hessian of the deviance in
        (theta, fixed effects); Gaussian: sigma squared times the profiled information, as lme4.
    theta_names : tuple of str
        Lme4's names of the relative covariance parameters.
    theta : (k,) float64
        The lower triangles of the relative covariance factors.
    theta_covariance : (k, k) float64
        NaN where theta is held or on the boundary.
    sigma : float
        Residual standard deviation, of a row of weight 1; NaN in a binomial model.
    random : tuple of RandomEffects
        One entry for each grouping factor, most levels first.
    log_likelihood : float
        (restricted) log-likelihood, with all constants.
    parameters : int
        Number of estimated parameters.
    n, dropped : int
        Rows used, and rows left out for missing values.
    gradient_norm : float
        Sqrt(g' H^-1 g), the distance to the optimum in standard errors.
    iterations, evaluations : int
        Steps of the optimiser, evaluations of the deviance.
    seconds : float
        Wall-clock time.
    converged, reason : bool and str
        Whether the optimum was reached, and why the search stopped.
    singular : bool
        Whether a random-effects covariance is on the boundary (variance 0, correlation 1).
    warnings : tuple of str
        Remarks a reader must see.
    lapse : float
        Share of answers given blindly, as given or estimated; 0 where the model has none.
    categories : tuple of str
        The ordered answers of an ordinal model, lowest first.
    thresholds : ThresholdName
        Of an ordinal model, ``flexible`` or ``symmetric``.
    shape_names, shape : tuple of str and ndarray of float64
        What the likelihood has of its own, estimated: thresholds (``1|2``), or
        the lapse rate; float64 (s,).
    joint_covariance : (k + p + s, k + p + s) float64
        Of theta, fixed effects and shape together;
        NaN where one of them is held or on the boundary.
    remarks : tuple of str
        How the table was read: rows dropped, what counts as a success.
    separated : tuple of str
        Fixed effects without a finite estimate.
    design : Design or None
        The data of the model; absent from JSON.
    warm : WarmStart or None
        Where a refit can start; absent from JSON.
    """

    formula: str
    family: FamilyName
    link: LinkName
    method: Literal["ML", "REML"]
    nagq: int
    names: tuple[str, ...]
    estimate: Floats
    covariance: Floats
    theta_names: tuple[str, ...]
    theta: Floats
    theta_covariance: Floats
    sigma: float
    random: tuple[RandomEffects, ...]
    log_likelihood: float
    parameters: int
    n: int
    dropped: int
    gradient_norm: float
    iterations: int
    evaluations: int
    seconds: float
    converged: bool
    reason: str
    singular: bool
    warnings: tuple[str, ...] = ()
    separated: tuple[str, ...] = ()
    lapse: float = 0.0
    categories: tuple[str, ...] = ()
    thresholds: ThresholdName = "flexible"
    shape_names: tuple[str, ...] = ()
    shape: Floats = field(default_factory=lambda: np.zeros(0))
    joint_covariance: Floats = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    remarks: tuple[str, ...] = ()
    design: Design | None = field(default=None, repr=False, metadata=NOT_IN_JSON)
    warm: WarmStart | None = field(default=None, repr=False, metadata=NOT_IN_JSON)

    @property
    def title(self) -> str:
        """The formula and how it was fitted."""
        state = "" if self.converged else " (NOT CONVERGED)"
        return f"Mixed model: {self.formula}, {self.family} ({self.link}), n = {self.n}{state}"

    @property
    def se(self) -> Floats:
        """Standard errors of the fixed effects, float64 (p,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def z(self) -> Floats:
        """Wald statistics, float64 (p,)."""
        return np.asarray(self.estimate / self.se)

    @property
    def p(self) -> Floats:
        """Two-sided normal p-values of the Wald statistics, float64 (p,)."""
        return np.asarray(2.0 * special.ndtr(-np.abs(self.z)))

    @property
    def deviance(self) -> float:
        """Minus twice the log-likelihood."""
        return -2.0 * self.log_likelihood

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return self.deviance + 2.0 * self.parameters

    @property
    def bic(self) -> float:
        """Schwarz's information criterion, with the number of rows, as lme4."""
        return self.deviance + math.log(self.n) * self.parameters

    @property
    def shape_covariance(self) -> Floats:
        """Covariance of `shape`, float64 (s, s)."""
        start = len(self.theta) + len(self.names)
        return self.joint_covariance[start:, start:]

    @property
    def options(self) -> Options:
        """How to fit the same model again."""
        return Options(
            link=None if self.family == "gaussian" else self.link,
            method=self.method,
            nagq=self.nagq,
            lapse="estimate" if "lapse" in self.shape_names else self.lapse,
            thresholds=self.thresholds,
        )

    @property
    def response_link(self) -> Likelihood:
        """The link of a binomial model, with its lapse rate."""
        return lapsing(binomial_link(self.link), self.lapse)

    def with_data(self, refused: str, *, converged: bool = False) -> Design:
        """Return the design of a fit that still has it.

        Parameters
        ----------
        refused : str
            What cannot be done without it, for the message.
        converged : bool
            Refuse an unconverged fit as well.

        Raises
        ------
        ModelError
            If the result was read from JSON, without its data.
        """
        if self.design is None:
            raise ModelError(
                refused,
                where=repr(self.formula),
                found="a result without its data, as JSON gives it back",
                do="fit its formula to the data again",
            )
        if converged and not self.converged:
            found = f"an unconverged fit: {self.reason}"
            raise NotConvergedError(refused, where=repr(self.formula), found=found)
        return self.design

    @checked
    def shape_interval(self, level: float = 0.95) -> Floats:
        """Return Wald intervals of thresholds or lapse rate, float64 (s, 2)."""
        half = special.ndtri(0.5 + 0.5 * checked_level(level)) * np.sqrt(
            np.diag(self.shape_covariance)
        )
        return np.stack([self.shape - half, self.shape + half], axis=1)

    @checked
    def interval(self, level: float = 0.95) -> Floats:
        """Return Wald intervals of the fixed effects, float64 (p, 2)."""
        half = special.ndtri(0.5 + 0.5 * checked_level(level)) * self.se
        return np.stack([self.estimate - half, self.estimate + half], axis=1)

    def index(self, name: str) -> int:
        """Return the position of a fixed effect."""
        UnknownNameError.unless_among(name, self.names, kind="fixed effect")
        return self.names.index(name)

    @checked
    def wald(self, name: str, *, df: float = math.inf, level: float = 0.95) -> Inference:
        """Test one fixed effect by z, or by t; see `imi_bench.glmm.inference.wald`."""
        found: Inference = method("wald")(self, name, df=df, level=level)
        return found

    @checked
    def likelihood_ratio(self, *names: str) -> Inference:
        """Test terms together by a refit without them; see `inference.likelihood_ratio`."""
        found: Inference = method("likelihood_ratio")(self, *names)
        return found

    @checked
    def profile(self, name: str, *, level: float = 0.95) -> Inference:
        """Profile-likelihood interval of a fixed effect; see `imi_bench.glmm.profile.profile`."""
        found: Inference = method("profile")(self, name, level=level)
        return found

    @checked
    def bootstrap(self, *, n: int = 200, seed: int = 0, workers: int | None = None) -> Bootstrap:
        """Refit to `n` responses simulated from the fit; see `imi_bench.glmm.bootstrap`."""
        found: Bootstrap = method("bootstrap")(self, n=n, seed=seed, workers=workers)
        return found

    @checked
    def plot(self, *, level: float = 0.95, ax: Axes | None = None) -> Axes:
        """Draw the fixed effects with their Wald intervals, without the intercept."""
        from imi_bench.plots import Interval, forest

        bounds = self.interval(level)
        rows = [
            Interval(name, float(self.estimate[i]), *map(float, bounds[i]))
            for i, name in enumerate(self.names)
            if name != "(Intercept)" or len(self.names) == 1
        ]
        scale = self.link if self.family == "binomial" else "response"
        return forest(
            rows, xlabel=f"effect ({scale} scale), {level:.0%} interval", reference=0.0, ax=ax
        )

    def drop_one(self) -> Inferences:
        """Test every term that no interaction contains; see `comparison.drop_one`."""
        found: Inferences = method("drop_one")(self)
        return found

    @checked
    def anova(self, *others: GlmmResult) -> Comparison:
        """Compare with nested models of the same rows; see `comparison.anova`."""
        found: Comparison = method("anova")(self, *others)
        return found

    def variance_tests(self) -> Inferences:
        """Test every variance against zero; see `comparison.variance_tests`."""
        found: Inferences = method("variance_tests")(self)
        return found

    def variation(self) -> Variation:
        """Split the variance: intraclass correlations, R2; see `imi_bench.glmm.variation`."""
        found: Variation = method("variation")(self)
        return found

    @checked
    def restarts(self, *, n: int = 8, seed: int = 0) -> Restarts:
        """Fit again from scattered starts; see `imi_bench.glmm.restarts`."""
        found: Restarts = method("restarts")(self, n=n, seed=seed)
        return found

    @checked
    def marginal_means(self, *names: str, **how: Any) -> MarginalMeans:
        """Means on the scale people read; see `imi_bench.glmm.means.marginal_means`."""
        found: MarginalMeans = method("marginal_means")(self, *names, **how)
        return found

    @checked
    def predict(self, data: pd.DataFrame | None = None, **how: Any) -> Prediction:
        """What the model expects of rows; see `imi_bench.glmm.prediction.predict`."""
        found: Prediction = method("predict")(self, data, **how)
        return found

    @checked
    def residuals(self, *, n: int = 250, seed: int = 0) -> SimulatedResiduals:
        """Residuals by simulation; see `imi_bench.glmm.residuals`."""
        found: SimulatedResiduals = method("simulated_residuals")(self, n=n, seed=seed)
        return found

    @checked
    def influence(self, group: str) -> Influence:
        """Fits without each level of a factor; see `imi_bench.glmm.influence`."""
        found: Influence = method("influence")(self, group)
        return found

    def simulate(self, rng: np.random.Generator) -> Floats:
        """Draw new random effects and a new response from the fitted model.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        response : float64 (n,), successes or values, for `Design.with_response`.

        Raises
        ------
        ModelError
            If the result came from JSON and has no design.
        """
        design = self.with_data("cannot simulate")
        problem = design.problem
        factors = problem.factors(self.theta)
        draws = rng.standard_normal(problem.random.pattern.size)
        scale = self.sigma if self.family == "gaussian" else 1.0
        eta = design.offset + design.fixed @ self.estimate
        eta = eta + scale * problem.spread(draws, factors)
        if self.family == "gaussian":
            noise = rng.standard_normal(self.n) / np.sqrt(design.trials)
            return np.asarray(eta + scale * noise)
        if self.family == "ordinal":
            if not (design.trials == 1.0).all():
                raise ModelError(
                    "rows that were seen several times cannot be drawn",
                    found="an ordinal model with weights",
                    do="repeat each row as often as it was seen, and fit without weights",
                )
            shares = category_probabilities(self.link, self.shape, eta).cumsum(axis=1)
            return np.asarray((rng.random((self.n, 1)) > shares[:, :-1]).sum(axis=1), dtype=float)
        probability = self.response_link.probability(eta)
        return rng.binomial(design.trials.astype(np.int64), probability).astype(float)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; the keys of the command line come first."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> GlmmResult:
        """Read back what `to_json` gave, without the design.

        Raises
        ------
        InputError
            If it is not a stored result.
        """
        return from_json(text, kind=cls)

    @checked
    def to_frame(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects as a table: term, estimate, se, z, p, low, high."""
        import pandas as pd

        low, high = self.interval(level).T
        return pd.DataFrame(
            {
                "term": list(self.names),
                "estimate": self.estimate,
                "se": self.se,
                "z": self.z,
                "p": self.p,
                "low": low,
                "high": high,
            }
        )

    def random_frame(self) -> pd.DataFrame:
        """Return standard deviations and correlations: group, name, sd, corr."""
        import pandas as pd

        return pd.DataFrame(random_rows(self), columns=["group", "name", "sd", "corr"])

    def modes_frame(self) -> pd.DataFrame:
        """Return the conditional modes: group, level, name, mode, conditional_sd."""
        import pandas as pd

        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "group": effect.group,
                        "level": list(effect.levels),
                        "name": name,
                        "mode": effect.modes[:, index],
                        "conditional_sd": effect.conditional_sd[:, index],
                    }
                )
                for effect in self.random
                for index, name in enumerate(effect.names)
            ],
            ignore_index=True,
        )

    def summary(self) -> str:
        """Return a text that reads like lme4's summary."""
        return summary_text(self)

    def to_latex(self) -> str:
        """Return a LaTeX table of fixed and random effects (booktabs)."""
        return latex_table(self)
