"""What a server may do without a word: change, cut prompts, look at no image. Read off answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

_FEWEST = 10  # answers that must be alike before it is said


def suspicions(answers: pd.DataFrame) -> list[str]:
    """Sentences on what makes the answers of an observer doubtful; none where nothing does.

    Parameters
    ----------
    answers : DataFrame
        As `FewShot.answers`.
    """
    said = []
    for name, own in answers.groupby("observer", sort=False):
        said += [*_changed(str(name), own), *_cut(str(name), own), *_blind(str(name), own)]
    return said


def _changed(name: str, own: pd.DataFrame) -> list[str]:
    if "served" not in own:
        return []
    counts = own.loc[own["served"] != "", "served"].value_counts()
    if len(counts) < 2:
        return []
    listed = ", ".join(f"{served} ({count:,})" for served, count in counts.items())
    return [
        f"WARNING: the server of {name} named itself differently during the study: {listed}. "
        "Its answers may be those of different models."
    ]


def _cut(name: str, own: pd.DataFrame) -> list[str]:
    """More solved trials must make longer prompts: else the server cuts them, as Ollama does."""
    if "input_tokens" not in own:
        return []
    rows = own[(own["ablation"] == "none") & own["input_tokens"].notna()]
    means = rows.groupby("shots")["input_tokens"].mean()
    stuck = [
        f"{more} (as {few})"
        for few, more in zip(means.index[:-1], means.index[1:], strict=True)
        if means[more] <= means[few] * 1.001
    ]
    if not stuck:
        return []
    return [
        f"WARNING: prompts of {name} do not grow with the solved trials: {', '.join(stuck)}. The "
        "server cuts prompts or counts no images; raise its context length. What it was not shown "
        "it cannot have learned."
    ]


def _blind(name: str, own: pd.DataFrame) -> list[str]:
    found = []
    for shots, rows in own[own["ablation"] == "none"].groupby("shots"):
        for _, draw in rows.groupby("draw"):
            both = draw[["difference_a", "difference_b"]].to_numpy(dtype=float)
            values = both[np.isfinite(both)]
            if len(values) >= _FEWEST and np.ptp(values) == 0:
                found.append(str(shots))
    if not found:
        return []
    return [
        f"WARNING: all answers of {name} are the same to the last digit at "
        f"{', '.join(dict.fromkeys(found))} solved trials: it may not see the images at all."
    ]
