"""Machine observers answer the 2-AFC interpretability experiment of the IMI dataset.

::

    import imi_bench as imi

    trials, people = imi.demo_data()
    mine = imi.answer("classical", trials)
    imi.score(mine, people)

Every name below is imported on first use; importing the package itself loads nothing heavy. To
read the code, start at `imi_bench.study`; the tables that travel between its steps are in
`imi_bench.tables`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what `typing` has, without the time that its import takes

if TYPE_CHECKING:
    from imi_bench import collect as collect
    from imi_bench.choice.calibrate import calibrate as calibrate
    from imi_bench.effects.study import effects as effects
    from imi_bench.errors import *  # noqa: F403
    from imi_bench.fewshot.study import fewshot as fewshot
    from imi_bench.gate.verdict import gate as gate
    from imi_bench.glmm.fitting import fit as fit
    from imi_bench.measure.learned import learn as learn
    from imi_bench.mis.interpretability import machine_interpretability as machine_interpretability
    from imi_bench.networks.build import build_trials as build_trials
    from imi_bench.observers.catalogue import load_observer as load_observer
    from imi_bench.release.study_files import read_answers as read_answers
    from imi_bench.replay.runner import answer as answer
    from imi_bench.report.page import report as report
    from imi_bench.scores.compare import compare as compare
    from imi_bench.scores.report import score as score
    from imi_bench.simulation.demo import demo_data as demo_data
    from imi_bench.stimuli.trial_files import read_trials as read_trials

__version__ = "0.1.0"

# Where each name lives; a name that is its own home is a room.
_HOME = {
    "answer": "replay.runner",
    "build_trials": "networks.build",
    "calibrate": "choice.calibrate",
    "collect": "collect",
    "compare": "scores.compare",
    "demo_data": "simulation.demo",
    "effects": "effects",
    "fewshot": "fewshot",
    "fit": "glmm.fitting",
    "gate": "gate",
    "learn": "measure.learned",
    "load_observer": "observers.catalogue",
    "machine_interpretability": "mis.interpretability",
    "read_answers": "release.study_files",
    "read_trials": "stimuli.trial_files",
    "report": "report",
    "score": "scores.report",
    **dict.fromkeys(
        (
            "CardError",
            "CheckFailedError",
            "DownloadError",
            "FormulaError",
            "ImageError",
            "ImiBenchError",
            "InputError",
            "LeakageError",
            "MissingExtraError",
            "ModelError",
            "NetworkError",
            "NotComparableError",
            "NotEnoughDataError",
            "ResponseError",
            "SubmissionError",
            "TrialError",
            "UnknownNameError",
        ),
        "errors",
    ),
}

__all__ = ["__version__", *_HOME]


if not TYPE_CHECKING:  # so that a misspelt name is an error to type checkers

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'imi_bench' has no attribute {name!r}")
        from importlib import import_module

        home = import_module(f"imi_bench.{_HOME[name]}")
        found = home if _HOME[name] == name else getattr(home, name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME} - {"TYPE_CHECKING", "annotations"})
