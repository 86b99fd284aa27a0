"""A model's data: response, fixed effects, grouping factors, each with its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError, UnknownNameError
from imi_bench.formulas.matrix import Recipe
from imi_bench.formulas.syntax import Node, column_names
from imi_bench.glmm.covariance import Template
from imi_bench.glmm.families import FamilyName
from imi_bench.glmm.levels import joint_levels
from imi_bench.glmm.pattern import Pattern, analyse
from imi_bench.glmm.problem import Problem
from imi_bench.glmm.random_design import RandomDesign
from imi_bench.results import Brief

if TYPE_CHECKING:
    import pandas as pd

_CLEARLY_INDEPENDENT = 1e-6


@dataclass(frozen=True, eq=False)
class FactorRecipe:
    """How a grouping factor's levels and columns are made from a table.

    Attributes
    ----------
    group : tuple of Node
        The columns whose joint levels are the groups.
    members : tuple of Recipe
        The model matrices of its terms, side by side.
    """

    group: tuple[Node, ...]
    members: tuple[Recipe, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that it is made of."""
        names = [name.text for node in self.group for name in column_names(node)]
        return tuple(dict.fromkeys([*names, *(c for part in self.members for c in part.columns)]))

    def labels(self, data: pd.DataFrame) -> list[str | None]:
        """Return the label of each row's level, such as ``class:school``; None where missing."""
        codes, levels = joint_levels(self.group, data)
        return [levels[code] if code >= 0 else None for code in codes]

    def values(self, data: pd.DataFrame) -> Floats:
        """Return the columns that vary over the levels, float64 (rows, columns)."""
        return np.column_stack([part.matrix(data) for part in self.members])


@dataclass(frozen=True, repr=False)
class RandomFactor(Brief):
    """A grouping factor with everything that varies over its levels.

    Attributes
    ----------
    group : str
        Name, such as ``participant`` or ``school:class``.
    levels : tuple of str
        Label of each level, sorted.
    codes : (n,) intp
        Level of each row.
    columns : tuple of str
        Name of each random effect, such as ``(Intercept)``.
    blocks : tuple of int
        How many consecutive columns each term in bars holds; correlations are free within
        a block and zero between blocks.
    values : (n, columns) float64 or None
        None for a lone intercept.
    recipe : FactorRecipe or None
        How levels and columns are made from a table; None where no formula made them.
    """

    group: str
    levels: tuple[str, ...]
    codes: NDArray[np.intp]
    columns: tuple[str, ...]
    blocks: tuple[int, ...]
    values: Floats | None
    recipe: FactorRecipe | None = field(default=None, repr=False, compare=False)

    @cached_property
    def template(self) -> Template:
        """Layout of this factor's elements of theta."""
        return Template(self.blocks)

    @cached_property
    def theta_names(self) -> tuple[str, ...]:
        """lme4's names of the elements of theta, such as ``id.modedo.(Intercept)``."""
        return tuple(
            f"{self.group}.{self.columns[a]}" + (f".{self.columns[b]}" if a != b else "")
            for a, b in zip(*self.template.positions, strict=True)
        )


@dataclass(frozen=True, repr=False)
class Design(Brief):
    """The data of one mixed model, ready for any number of fits.

    Attributes
    ----------
    formula : str
    family : FamilyName
        ``binomial``, ``gaussian`` or ``ordinal``.
    response : (n,) float64
        Successes in a binomial model, positions in `categories` in an
        ordinal one.
    trials : (n,) float64
        Ones for 0/1 answers; in a Gaussian model the weights of its rows.
    offset : (n,) float64
        Added to the linear predictor.
    fixed : (n, p) float64
    names : tuple of str
        Name of each fixed effect, as lme4 gives it.
    terms : mapping of str to tuple of int
        Which columns each fixed term of the formula has, such as ``{"mode": (1,)}``.
    factors : tuple of RandomFactor
        Grouping factors, most levels first (ties in the order of the formula).
    dropped : int
        Rows left out because a value was missing.
    categories : tuple of str
        The ordered answers of an ordinal model, lowest first.
    unmet : tuple of str
        Levels of the response that no answer has; they are not modelled.
    remarks : tuple of str
        What a reader must know of how the table was read: rows dropped and for which
        columns, which answer counts as a success, which levels no row has.
    recipe : Recipe or None
        How the fixed columns and the offset are made from a table, for rows other than
        these; None where no formula made them.
    table : DataFrame or None
        The rows that were used, with the columns that the formula names; None for bare arrays.

    Raises
    ------
    ModelError
        If fixed-effects columns depend on each other linearly; the message names them.
    """

    formula: str
    family: FamilyName
    response: Floats
    trials: Floats
    offset: Floats
    fixed: Floats
    names: tuple[str, ...]
    terms: Mapping[str, tuple[int, ...]]
    factors: tuple[RandomFactor, ...]
    dropped: int = 0
    categories: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    recipe: Recipe | None = field(default=None, repr=False, compare=False)
    table: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    _pattern: Pattern | None = field(default=None, repr=False, compare=False)
    _independent: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if getattr(self.fixed, "ndim", 0) != 2:
            found = type(self.fixed).__name__
            raise ModelError("no columns of fixed effects", found=found, wanted="a matrix")
        bad = {} if self._independent else dependent_columns(self.fixed, self.names)
        if bad:
            raise ModelError(
                "the fixed effects are linearly dependent (rank-deficient design)",
                found="; ".join(
                    f"{name} is a combination of {', '.join(others)}"
                    if others
                    else f"{name} is zero in every row"
                    for name, others in bad.items()
                ),
                do="drop the named columns",
            )

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.response)

    @property
    def log_coefficients(self) -> float:
        """Log of the binomial coefficients of all rows, which the objectives leave out."""
        if self.family != "binomial":
            return 0.0
        counts = (self.trials, self.response, self.trials - self.response)
        whole, hits, misses = (special.gammaln(count + 1.0).sum() for count in counts)
        return float(whole - hits - misses)

    @property
    def theta_names(self) -> tuple[str, ...]:
        """lme4's names of the elements of theta."""
        return tuple(name for factor in self.factors for name in factor.theta_names)

    @cached_property
    def pattern(self) -> Pattern:
        """Sparsity structure of the random effects."""
        if self._pattern is not None:
            return self._pattern
        return analyse(
            [factor.codes for factor in self.factors],
            [len(factor.levels) for factor in self.factors],
            [len(factor.columns) for factor in self.factors],
        )

    @cached_property
    def _orthogonal(self) -> tuple[Floats, Floats]:
        if not self.names:
            return np.zeros((self.n, 0)), np.zeros((0, 0))
        basis, root = np.linalg.qr(self.fixed)
        scale = np.sqrt(self.n)
        return np.asfortranarray(basis * scale), root / scale

    @property
    def root(self) -> Floats:
        """Upper triangle R with fixed = basis R; basis coefficients are R times the effects."""
        return self._orthogonal[1]

    @cached_property
    def problem(self) -> Problem:
        """The arrays the numerics work on."""
        return Problem(
            response=self.response,
            trials=self.trials,
            offset=self.offset,
            basis=self._orthogonal[0],
            random=RandomDesign(self.pattern, tuple(factor.values for factor in self.factors)),
            templates=tuple(factor.template for factor in self.factors),
        )

    def fixed_columns(self, data: pd.DataFrame) -> Floats:
        """Return the fixed-effects columns of other rows, with the levels and bases of these.

        Parameters
        ----------
        data : DataFrame
            The columns that the fixed effects name; no others are looked at.

        Returns
        -------
        fixed : float64 (rows, p), in the order of `names`; NaN where a value is missing.

        Raises
        ------
        FormulaError
            If a column is not there, or a factor has a level that it did not have before.
        ModelError
            If the design was not made from a formula.
        """
        if self.recipe is None:
            raise ModelError("no formula to make the columns of other rows", found="bare arrays")
        place = {name: index for index, name in enumerate(self.recipe.names)}
        return self.recipe.matrix(data)[:, [place[name] for name in self.names]]

    @cached_property
    def has_constant(self) -> bool:
        """Whether some combination of the fixed effects is the same in every row."""
        basis = self._orthogonal[0] / np.sqrt(self.n)
        rest = 1.0 - basis @ basis.sum(axis=0)
        return bool(np.abs(rest).max() < 1e-7)

    def with_response(self, response: Floats) -> Design:
        """Return the same design with another response; nothing else is computed again.

        Parameters
        ----------
        response : (n,) float64
            Successes out of the same trials in a binomial model.
        """
        if np.shape(response) != (self.n,):
            raise ModelError(
                "the new response has the wrong length", found=np.shape(response), wanted=self.n
            )
        new = replace(
            self,
            response=np.asarray(response, dtype=float),
            _pattern=self.pattern,
            _independent=True,
        )
        new.__dict__["_orthogonal"] = self._orthogonal
        new.__dict__["problem"] = self.problem.with_response(new.response)
        return new

    def without(self, *names: str) -> Design:
        """Return the restricted design without some fixed terms or columns.

        Parameters
        ----------
        names : str
            Terms of the formula (all their columns go) or single column names.
        """
        gone: set[int] = set()
        for name in names:
            if name in self.terms:
                gone.update(self.terms[name])
            elif name in self.names:
                gone.add(self.names.index(name))
            else:
                known = {*self.terms, *self.names}
                raise UnknownNameError.among(name, known, kind="fixed effect")
        return self._keep([index for index in range(len(self.names)) if index not in gone])

    def fixing(self, values: Mapping[str, float]) -> Design:
        """Return the design with some fixed effects held at given values, moved to the offset."""
        kept = self.without(*values) if values else self
        held = sum(
            (value * self.fixed[:, self.names.index(name)] for name, value in values.items()),
            start=self.offset,
        )
        return replace(kept, offset=held, _independent=True)

    def _keep(self, columns: list[int]) -> Design:
        new_index = {old: new for new, old in enumerate(columns)}
        terms = {
            term: tuple(new_index[c] for c in members if c in new_index)
            for term, members in self.terms.items()
        }
        return replace(
            self,
            fixed=self.fixed[:, columns],
            names=tuple(self.names[c] for c in columns),
            terms={term: members for term, members in terms.items() if members},
            _pattern=self.pattern,
            _independent=True,
        )

    def factor(self, group: str) -> RandomFactor:
        """The grouping factor of a name.

        Raises
        ------
        UnknownNameError
            If there is none.
        """
        known = {factor.group: factor for factor in self.factors}
        UnknownNameError.unless_among(group, known, kind="grouping factor")
        return known[group]

    def without_random(self, group: str, column: str | None = None) -> Design:
        """Return the restricted design without a grouping factor, or without one of its columns."""
        factors = []
        for factor in self.factors:
            if factor.group != group:
                factors.append(factor)
            elif column is not None:
                factors.append(_drop_column(factor, column))
        if len(factors) == len(self.factors) and column is None:
            self.factor(group)
        if not factors:
            raise ModelError("a mixed model needs a random effect", found="none left")
        return replace(self, factors=tuple(factors), _pattern=None, _independent=True)


def _drop_column(factor: RandomFactor, column: str) -> RandomFactor:
    if column not in factor.columns or len(factor.columns) == 1:
        raise UnknownNameError.among(column, factor.columns, kind="random effect to drop")
    index = factor.columns.index(column)
    owner = np.repeat(np.arange(len(factor.blocks)), factor.blocks)[index]
    blocks = tuple(b - (i == owner) for i, b in enumerate(factor.blocks) if b - (i == owner))
    values = None if factor.values is None else np.delete(factor.values, index, axis=1)
    if values is not None and values.shape[1] == 1 and (values == 1.0).all():
        values = None
    columns = tuple(name for name in factor.columns if name != column)
    return replace(factor, columns=columns, blocks=blocks, values=values)


def dependent_columns(
    matrix: Floats, names: tuple[str, ...], *, tolerance: float = 1e-7
) -> dict[str, tuple[str, ...]]:
    """Name each column that is a linear combination of earlier ones, with those columns.

    Parameters
    ----------
    matrix : (n, p) float64
    names : tuple of str
    tolerance : float
        Largest residual, relative to the column's length, of a dependent column.

    Examples
    --------
    >>> import numpy as np
    >>> dependent_columns(np.array([[1.0, 2.0], [1.0, 2.0]]), ("one", "two"))
    {'two': ('one',)}
    """
    if not matrix.shape[1]:
        return {}
    with np.errstate(over="ignore", invalid="ignore"):
        gram = matrix.T @ matrix
    scale = np.sqrt(np.diag(gram))
    plain = bool(np.isfinite(gram).all() and (scale > 0).all())
    if plain and np.linalg.eigvalsh(gram / np.outer(scale, scale))[0] > _CLEARLY_INDEPENDENT:
        return {}
    lengths = np.linalg.norm(matrix, axis=0)
    root: Floats = np.asarray(np.linalg.qr(matrix / np.where(lengths > 0, lengths, 1.0), mode="r"))
    found: dict[str, tuple[str, ...]] = {}
    kept: list[int] = []
    for index, name in enumerate(names):
        weights = np.linalg.lstsq(root[:, kept], root[:, index], rcond=None)[0]
        residual = np.linalg.norm(root[:, index] - root[:, kept] @ weights)
        if lengths[index] == 0 or residual < tolerance:
            involved = [names[k] for k, w in zip(kept, weights, strict=True) if abs(w) > 1e-6]
            found[name] = tuple(involved)
        else:
            kept.append(index)
    return found
