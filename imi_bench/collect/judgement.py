"""Whether a session is kept: the paper's criteria on what was stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.collect.session import Session
from imi_bench.release.cells import CRITERION_IN_RELEASE
from imi_bench.release.columns import criteria_columns
from imi_bench.release.exclusions import Rules


def criteria(
    sessions: Sequence[Session],
    answers: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    rules: Rules,
) -> pd.DataFrame:
    """Each session's verdict on every criterion, as the released table has them.

    Times are seconds on the server's clock: total from consent to the last answer, gaps included.
    A session that was not finished does not pass. Tasks without two rows of buttons are not judged
    on rows.

    Parameters
    ----------
    sessions : sequence of Session
    answers : mapping of str to sequence of mapping
        By session, as `Store.answers` gives them.
    rules : Rules

    Returns
    -------
    DataFrame
        One row a session; see `imi_bench.release.columns.criteria_columns`.
    """
    main = [[a for a in answers[s.session] if a["block"] == "main"] for s in sessions]
    upper = [sum(a["button"] <= 2 for a in listed) for listed in main]
    if any(screen.upper < 0 for s in sessions for screen in s.script):
        rules = rules.with_(row_min=None)
    begun = [s.begun if s.consented is None else s.consented for s in sessions]
    columns = criteria_columns(
        catch=[[bool(a["correct"]) for a in listed if a["screen"].check] for listed in main],
        upper=upper,
        lower=[len(listed) - up for listed, up in zip(main, upper, strict=True)],
        total_time=[
            max((a["received"] for a in listed), default=np.nan) - start
            for listed, start in zip(main, begun, strict=True)
        ],
        instruction_time=[
            np.nan if s.instruction_seconds is None else s.instruction_seconds for s in sessions
        ],
        attempts=[len({a["block"] for a in answers[s.session]} - {"main"}) for s in sessions],
        rules=rules,
    )
    complete = [len(listed) == len(s.script) for listed, s in zip(main, sessions, strict=True)]
    columns["passed_checks"] &= np.array(complete)
    return columns


def judge(
    session: Session, answers: Sequence[Mapping[str, Any]], *, rules: Rules
) -> dict[str, Any]:
    """One session's verdict: ``kept`` by criterion, and ``passed``."""
    row = criteria([session], {session.session: answers}, rules=rules).iloc[0]
    kept = {name: bool(row[f"{label}_result"]) for name, label in CRITERION_IN_RELEASE.items()}
    return {"kept": kept, "passed": bool(row["passed_checks"])}
