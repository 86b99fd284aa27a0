"""The join by trial id, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imi_bench.errors import InputError
from imi_bench.tables.align import rows_of

IDS = st.lists(st.text("ab1/", min_size=1, max_size=4), max_size=30)


@given(IDS, IDS)
def test_each_wanted_id_finds_its_row(wanted: list[str], among: list[str]) -> None:
    among = list(dict.fromkeys(among))
    place = {name: row for row, name in enumerate(among)}
    found = rows_of(wanted, among=among)
    assert found.dtype == np.int64
    assert found.tolist() == [place.get(name, -1) for name in wanted]
    assert rows_of(
        np.array(wanted, dtype=object), among=np.array(among, dtype=object)
    ).tolist() == (found.tolist())


def test_a_trial_twice_is_refused() -> None:
    with pytest.raises(InputError, match="trial twice in a table: found 'b'"):
        rows_of(["a"], among=["a", "b", "b"])
