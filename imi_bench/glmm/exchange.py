"""A fitted model to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.documents import parse_json, reading
from imi_bench.glmm.random_effects import RandomEffects
from imi_bench.provenance import from_null, plain

if TYPE_CHECKING:
    from imi_bench.glmm.result import GlmmResult

_HEADLINE = ("converged", "singular", "n", "seconds")
_AS_THEY_ARE = (
    *("formula", "family", "link", "method", "nagq", "parameters", "dropped"),
    *("iterations", "evaluations", "reason"),
)


def to_json(result: GlmmResult) -> dict[str, Any]:
    """Return a JSON object; the keys of the command line come first."""
    record: dict[str, Any] = plain(_told(result))
    return record


def _told(result: GlmmResult) -> dict[str, Any]:
    return {
        "logLik": result.log_likelihood,
        "converged": result.converged,
        "singular": result.singular,
        "fixed": {
            name: {"estimate": b, "se": s, "z": z, "p": p}
            for name, b, s, z, p in zip(
                result.names,
                *(v.tolist() for v in (result.estimate, result.se, result.z, result.p)),
                strict=True,
            )
        },
        "random": random_rows(result),
        "n": result.n,
        "seconds": result.seconds,
        "AIC": result.aic,
        "BIC": result.bic,
        **{name: getattr(result, name) for name in _AS_THEY_ARE},
        "gradient_norm": result.gradient_norm,
        "sigma": result.sigma,
        "lapse": result.lapse,
        "categories": list(result.categories),
        "thresholds": result.thresholds,
        "shape": dict(zip(result.shape_names, result.shape.tolist(), strict=True)),
        "joint_covariance": result.joint_covariance,
        "warnings": list(result.warnings),
        "separated": list(result.separated),
        "remarks": list(result.remarks),
        "groups": {effect.group: len(effect.levels) for effect in result.random},
        "covariance": result.covariance,
        "theta": dict(zip(result.theta_names, result.theta.tolist(), strict=True)),
        "theta_covariance": result.theta_covariance,
        "effects": [_effect(effect) for effect in result.random],
    }


def _effect(effect: RandomEffects) -> dict[str, Any]:
    return {
        "group": effect.group,
        "names": list(effect.names),
        "blocks": list(effect.blocks),
        "sd": effect.sd,
        "corr": effect.corr,
        "levels": list(effect.levels),
        "modes": effect.modes,
        "conditional_sd": effect.conditional_sd,
    }


@reading("mixed model")
def from_json(text: str | Mapping[str, Any], *, kind: type[GlmmResult]) -> GlmmResult:
    """Read back what `to_json` gave, without the design, as a result of that kind.

    Raises
    ------
    InputError
        If a key is missing.
    """
    source = parse_json(text) if isinstance(text, str) else text
    return kind(
        names=tuple(source["fixed"]),
        estimate=_array([row["estimate"] for row in source["fixed"].values()]),
        covariance=_array(source["covariance"]).reshape(2 * (len(source["fixed"]),)),
        theta_names=tuple(source["theta"]),
        theta=_array(list(source["theta"].values())),
        theta_covariance=_array(source["theta_covariance"]),
        sigma=from_null(source["sigma"]),
        gradient_norm=from_null(source["gradient_norm"]),
        log_likelihood=from_null(source["logLik"]),
        random=tuple(
            RandomEffects(
                group=row["group"],
                names=tuple(row["names"]),
                blocks=tuple(row["blocks"]),
                levels=tuple(row["levels"]),
                **{name: _array(row[name]) for name in ("sd", "corr", "modes", "conditional_sd")},
            )
            for row in source["effects"]
        ),
        lapse=source.get("lapse", 0.0),
        categories=tuple(source.get("categories", ())),
        thresholds=source.get("thresholds", "flexible"),
        shape_names=tuple(source.get("shape", ())),
        shape=_array(list(source.get("shape", {}).values())),
        joint_covariance=_square(source.get("joint_covariance", [])),
        warnings=tuple(source["warnings"]),
        separated=tuple(source["separated"]),
        remarks=tuple(source.get("remarks", ())),
        **{name: source[name] for name in (*_HEADLINE, *_AS_THEY_ARE)},
    )


def random_rows(result: GlmmResult) -> list[dict[str, Any]]:
    """One row for each standard deviation, with its correlations with the earlier effects.

    ``corr`` is None for an effect with nothing to correlate with, a number where there is one
    earlier effect in its block, a list in their order where there are several.
    """
    rows: list[dict[str, Any]] = []
    for effect in result.random:
        block_of = np.repeat(np.arange(len(effect.blocks)), effect.blocks)
        for index, name in enumerate(effect.names):
            earlier = [j for j in range(index) if block_of[j] == block_of[index]]
            corr = [plain(effect.corr[index, j]) for j in earlier]
            rows.append(
                {
                    "group": effect.group,
                    "name": name,
                    "sd": float(effect.sd[index]),
                    "corr": corr[0] if len(corr) == 1 else corr or None,
                }
            )
    if result.family == "gaussian":
        rows.append({"group": "Residual", "name": None, "sd": result.sigma, "corr": None})
    return rows


def _array(value: Any) -> Floats:
    return np.asarray(value, dtype=float)


def _square(rows: Any) -> Floats:
    return _array(rows).reshape(2 * (len(rows),))
