"""The runs that are compared, from wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imi_bench.replay.output import read_record, recorded_decisions
from imi_bench.replay.run import Run
from imi_bench.stimuli.trial_table import find_table, read_index
from imi_bench.tables import DecisionsLike, DecisionVariables, TrialIndex

__all__ = ["GivenRun", "given_run"]


@dataclass(frozen=True, eq=False)
class GivenRun:
    """An observer's answers, and what the run says of its trials.

    Attributes
    ----------
    decisions : DecisionVariables
    index : TrialIndex or None
        None where the run does not carry its trials.
    simulated : bool or None
        Whether the trials are made up; None where nothing says.
    """

    decisions: DecisionVariables
    index: TrialIndex | None = None
    simulated: bool | None = None


def given_run(source: DecisionsLike) -> GivenRun:
    """Take a run's folder, a `Run`, or bare decisions.

    Raises
    ------
    InputError
        As `DecisionVariables.read`; decisions that are not those ``run.json`` speaks of.
    """
    if isinstance(source, Run):
        return GivenRun(source.decisions, source.trials.index, source.trials.simulated)
    if not isinstance(source, str | Path) or not Path(source).is_dir():
        return GivenRun(DecisionVariables.read(source))
    folder = Path(source)
    record = read_record(folder) or {}
    simulated = record.get("simulated")
    # a submission holds the run's decisions packed anew; `leaderboard check` compares those
    packed = (folder / "submission.toml").is_file()
    return GivenRun(
        DecisionVariables.read(folder) if packed else recorded_decisions(folder),
        None if find_table(folder) is None else read_index(folder),
        simulated if isinstance(simulated, bool) else None,
    )
