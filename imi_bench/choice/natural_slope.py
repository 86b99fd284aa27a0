"""The slope of a calibration for natural trials, as the machine interpretability score takes it."""

from __future__ import annotations

from imi_bench.choice.calibration import Calibration
from imi_bench.errors import InputError, NotComparableError


def natural_slope(
    calibration: Calibration, *, observer: str, where: object = None
) -> tuple[float, str]:
    """Slope of a logistic function from an observer's evidence to people's choices.

    The score has no bias and no lapse: the calibration's are named in the text and not applied.

    Parameters
    ----------
    calibration : Calibration
    observer : str
        Whose evidence will be scored.
    where : object, optional
        The calibration's file, for messages.

    Returns
    -------
    slope : float
        In 1 / evidence.
    source : str
        Where it comes from, one line.

    Raises
    ------
    NotComparableError
        A calibration of another observer.
    InputError
        One that was not fitted to natural trials, not logistic, or whose slope is not positive.

    Examples
    --------
    >>> from imi_bench.choice.calibration import MIS_DREAMSIM
    >>> fixed = Calibration.fixed(MIS_DREAMSIM, label="MIS, DreamSim")
    >>> natural_slope(fixed, observer="anything")
    (0.16, 'calibration: fixed: MIS, DreamSim')
    """
    if calibration.observer not in ("", observer):
        raise NotComparableError(
            "calibration is another observer's",
            where=where,
            found=calibration.observer,
            wanted=observer,
        )
    fit, given = calibration.overall, calibration.parameters
    if fit is not None:
        link, lapse = fit.link, fit.lapse.value
        found = fit.slopes.get("all", fit.slopes.get("natural"))
        slope = None if found is None else found.value
    else:
        link, lapse = (given.link, given.lapse) if given else ("logit", 0.0)
        slope = given.slope if given else None
    if slope is None or link != "logit" or not slope > 0:
        raise InputError(
            "calibration has no slope for the score",
            where=where,
            found=f"link {link}, slope {slope}",
            wanted="a positive slope of a logistic function for natural trials",
        )
    ignored = f"; its lapse {lapse:.3g} is not applied" if lapse else ""
    made_up = ", of simulated answers" if calibration.simulated else ""
    return slope, f"calibration: {calibration.label}{made_up}{ignored}"
