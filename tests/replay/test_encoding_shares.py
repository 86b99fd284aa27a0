"""Encoding by shares, on Ray, and as float16: the same decisions, or a stated error."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.bright_trials import bright_trials
from support.ray_cluster import cluster
from typer.testing import CliRunner

from imi_bench.errors import InputError
from imi_bench.executors import Ray, Shard, SharesMissingError
from imi_bench.replay.cache import Store
from imi_bench.replay.runner import answer, replay
from imi_bench.stimuli.trial_files import write_trials

NAME = "colour-histogram"
runner = CliRunner()


@pytest.fixture(scope="module")
def trials():
    return bright_trials(12)


@pytest.fixture(scope="module")
def whole(trials, tmp_path_factory):
    return answer(NAME, trials, cache=tmp_path_factory.mktemp("whole"), batch_size=8)


def same_bytes(one, other) -> bool:
    return (
        one.decisions.decision_variable.tobytes() == other.decisions.decision_variable.tobytes()
        and one.decisions.status.tolist() == other.decisions.status.tolist()
    )


def test_shares_in_any_order_give_the_same_bytes(trials, whole, tmp_path):
    for index in (2, 0):
        with pytest.raises(SharesMissingError, match="shares are missing"):
            answer(NAME, trials, cache=tmp_path, batch_size=8, executor=Shard(index, 3))
    last = answer(NAME, trials, cache=tmp_path, batch_size=8, executor=Shard(1, 3))
    assert same_bytes(last, whole)
    assert last.record["images"]["embedded"] == 0  # all by shares
    assert same_bytes(answer(NAME, trials, cache=tmp_path, batch_size=8), whole)


def test_a_share_encodes_its_pieces_alone(trials, tmp_path):
    """Two shares, each where the other is not, have every image once but the first one."""
    mine = []
    for index in (0, 1):
        with pytest.raises(SharesMissingError) as missing:
            answer(
                NAME, trials, cache=tmp_path / str(index), batch_size=4, executor=Shard(index, 2)
            )
        assert "pieces done" in str(missing.value.found)
        [folder] = [path for path in (tmp_path / str(index)).glob("codes-*/*") if path.is_dir()]
        mine.append(Store(folder, trials.images.hashes.tolist()).known)
    one, other = mine
    assert (one | other).all()
    assert (one & other).sum() <= 1
    assert abs(int(one.sum()) - int(other.sum())) <= 16  # a piece: four batches of four


class Moody:
    """Says of itself that it is always the same, and is not."""

    name = "moody"

    def __init__(self, mood: float) -> None:
        self.mood = mood

    def describe(self):
        return {"kind": "moody"}

    def encode(self, images):
        return np.array([[image.mean() * self.mood, image.std()] for image in images])

    def decide(self, trials, codes):
        first, second = trials.queries.T
        return np.asarray(codes[first, 0] - codes[second, 0], dtype=np.float64)


def test_pieces_of_two_instances_do_not_mix(trials, tmp_path):
    with pytest.raises(SharesMissingError):
        replay(Moody(1.0), trials, cache=tmp_path, batch_size=4, executor=Shard(0, 2))
    with pytest.raises(InputError, match="another instance"):
        replay(Moody(1.5), trials, cache=tmp_path, batch_size=4, executor=Shard(1, 2))


def test_an_observer_of_whole_trials_has_nothing_to_share(trials, tmp_path):
    with pytest.raises(InputError, match="nothing to share: chance"):
        answer("chance", trials, cache=tmp_path, executor=Shard(0, 2))


@pytest.mark.whole
def test_the_verb_takes_shares_and_says_what_is_missing(trials, whole, tmp_path):
    from imi_bench.cli.app import app

    write_trials(trials, tmp_path / "trials")
    common = ["run", "--observer", NAME, "--trials", str(tmp_path / "trials"), "--batch-size", "8"]
    common += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    first = runner.invoke(app, [*common, "--shard", "0/2", "--json"])
    assert first.exit_code == 0
    assert json.loads(first.stdout)["finished"] is False
    assert not (tmp_path / "out" / "run.json").exists()
    second = runner.invoke(app, [*common, "--shard", "1/2", "--json"])
    assert second.exit_code == 0, second.output
    decided = json.loads(second.stdout)["record"]
    assert decided["answers"]["by_status"]["ok"] == len(whole.decisions)


def test_float16_halves_the_codes_and_keeps_decisions_near(trials, whole, tmp_path):
    half = answer(NAME, trials, cache=tmp_path, batch_size=8, store="float16")
    assert half.record["stored"] == "float16"
    again = answer(NAME, trials, cache=tmp_path, batch_size=8, store="float16")
    assert again.record["images"]["embedded"] == 0
    assert same_bytes(half, again)
    plain, near = whole.decisions.decision_variable, half.decisions.decision_variable
    assert 0 < np.abs(plain - near).max() < 2e-3 * np.abs(plain).max()

    def size(folder: Path) -> int:
        return sum(p.stat().st_size for p in folder.glob("codes-*/*/*.npy"))

    assert size(tmp_path) < 0.6 * size(Path(whole.record["cache"]["folder"]))


def test_codes_too_large_for_float16_are_refused(tmp_path):
    store = Store(tmp_path, ["00" * 32], stored="float16")
    with pytest.raises(InputError, match=r"too large for float16: .* found 1e\+06"):
        store.add(np.array([0]), np.array([[1e6, 1.0]], dtype=np.float32))


@pytest.mark.parametrize("values", [np.array([[3, 4]]), np.array([[0.1, np.nan]], np.float32)])
def test_float16_leaves_whole_numbers_and_gives_back_single_precision(tmp_path, values):
    store = Store(tmp_path, ["00" * 32], stored="float16")
    store.add(np.array([0]), values)
    store.flush()
    back = store.take(np.array([0]))
    assert back.dtype == (np.float32 if values.dtype.kind == "f" else values.dtype)
    np.testing.assert_allclose(back, values, rtol=1e-3)


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_ray_gives_the_same_bytes(trials, whole, tmp_path):
    pytest.importorskip("ray")
    with cluster():
        found = answer(NAME, trials, cache=tmp_path, batch_size=8, executor=Ray())
    assert found.record["images"]["embedded"] == 0
    assert same_bytes(found, whole)
