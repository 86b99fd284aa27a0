"""The tables that travel between the steps; each is valid or does not exist.

::

    Trials --blind(seed)--> BlindTrials --observer--> DecisionVariables --calibrate/score--> …
                                                        Responses (what people answered) --^

`TrialIndex` says what a trial is about, `Images` holds what is to be seen, `Trials` joins the
two. Field names are those of the released human table where the meaning is the same.
"""

from imi_bench.arrays import Bools, Floats, Ints, Strings
from imi_bench.tables.answers import Responses, Study
from imi_bench.tables.columns import codes
from imi_bench.tables.decisions import (
    ANSWERED,
    STATUSES,
    DecisionsLike,
    DecisionVariables,
    names_apart,
)
from imi_bench.tables.index import DIFFICULTIES, MODES, TrialIndex, split_difficulty
from imi_bench.tables.trials import (
    BlindingKey,
    BlindTrials,
    Skipped,
    Trials,
    shown_first_is_positive,
)

__all__ = [
    "ANSWERED",
    "DIFFICULTIES",
    "MODES",
    "STATUSES",
    "BlindTrials",
    "BlindingKey",
    "Bools",
    "DecisionVariables",
    "DecisionsLike",
    "Floats",
    "Ints",
    "Responses",
    "Skipped",
    "Strings",
    "Study",
    "TrialIndex",
    "Trials",
    "codes",
    "names_apart",
    "shown_first_is_positive",
    "split_difficulty",
]
