"""A sheet says of every trial what it is, however narrow it is."""

from __future__ import annotations

from dataclasses import replace

from support.made_trials import make_trials

from imi_bench.tables.contact_sheet import contact_sheet


def test_titles_take_more_lines_where_the_sheet_is_narrow() -> None:
    trials = make_trials(2)
    side = int(trials.positive.shape[1] ** 0.5 + 0.999)
    marked = replace(trials, simulated=True)
    extra = {}
    for tile in (12, 400):
        panel = side * (tile + 3) - 3
        extra[tile] = len(contact_sheet(marked, tile=tile)) - 2 * panel
    assert extra[12] >= extra[400] + 2 * 16  # a line of text for each of two trials
