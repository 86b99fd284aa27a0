"""Pieces of work run here, in shares, or on Ray: the same result; a death costs only time."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from support.ray_cluster import cluster
from typer.testing import CliRunner

from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.executors import Local, Piece, Ray, Shard, choose

LAYERS = "conv1_0|bn1|layer2_0_conv1"
runner = CliRunner()


def write_number(path: Path, number: int) -> None:
    path.write_text(str(number))


def numbered(folder: Path, count: int) -> list[Piece]:
    return [
        Piece(f"piece {i}", folder / f"{i}.txt", partial(write_number, folder / f"{i}.txt", i))
        for i in range(count)
    ]


def test_shares_cover_every_piece_once(tmp_path):
    for index in range(3):
        before = set(tmp_path.iterdir())
        Shard(index, 3).run(numbered(tmp_path, 8), label="test")
        made = {int(path.stem) for path in set(tmp_path.iterdir()) - before}
        assert made == set(range(index, 8, 3))


def test_finished_pieces_are_left_alone(tmp_path):
    (tmp_path / "1.txt").write_text("kept")
    Local().run(numbered(tmp_path, 3), label="test")
    assert [(tmp_path / f"{i}.txt").read_text() for i in range(3)] == ["0", "kept", "2"]


@pytest.mark.parametrize("text", ["3/3", "a/b", "1", "-1/2", "0/0", ""])
def test_bad_shards(text):
    with pytest.raises(InputError, match=r"bad shard.*wanted i/n"):
        Shard.parse(text)


def test_choice_of_executor():
    assert choose("local") == Local()
    assert choose("local", shard="1/4") == Shard(1, 4)
    assert choose("ray", gpus=0.5) == Ray(None, 0.5)
    assert choose("ray:auto").address == "auto"
    for name, shard in (("slurm", None), ("local:x", None), ("ray", "0/2")):
        with pytest.raises(InputError):
            choose(name, shard=shard)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    pytest.importorskip("timm")
    from imi_bench.mis.run import MisJob

    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    pixels[:20] //= 4
    np.savez(folder / "images.npz", images=pixels)
    return MisJob(
        network="timm:test_resnet?num_classes=10&input_size=32",
        pretrained=False,
        device="cpu",
        images=folder / "images.npz",
        observer="pixel-cosine",
        out=folder / "whole",
        slope=5.0,
        quantile=0.1,
        n_references=3,
        n_tasks=5,
        batch_size=8,
        shard_size=8,
        seed=4,
        layers=LAYERS,
    )


@pytest.fixture(scope="module")
def whole(job):
    from imi_bench.mis.run import run_job

    return run_job(job, executor=Local())


def scores_of(folder: Path) -> bytes:
    return (folder / "scores.parquet").read_bytes()


@pytest.mark.vision
def test_a_run_scores_every_unit(job, whole):
    from imi_bench.vision.loading import load_network

    network = load_network(job.network, pretrained=False, layers=LAYERS, device="cpu")
    frame = pd.read_parquet(job.out / "scores.parquet")
    assert_frame_equal(frame, whole.scores, check_dtype=False)
    assert len(frame) == network.width
    scored = frame["reason"] == ""
    assert scored.sum() > 50
    assert frame.loc[scored, "score"].between(0, 1).all()
    assert frame.loc[~scored, ["score", "standard_error", "hard_score"]].isna().all(axis=None)
    assert frame.groupby("layer")["unit"].agg(list).map(lambda u: u == list(range(len(u)))).all()
    assert (job.out / "run.json").is_file()


@pytest.mark.vision
def test_a_run_equals_the_function_on_arrays(job, whole):
    """The matrix of all activations and embeddings, without shards, streams or shuffles."""
    from imi_bench.mis.scores import image_order, score_pools
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.tasks import find_pools, pool_size
    from imi_bench.networks.units import Unit
    from imi_bench.observers.catalogue import load_observer
    from imi_bench.vision.loading import load_network

    network = load_network(job.network, pretrained=False, seed=job.seed, device="cpu")
    layer = network.layer("bn1")
    units = [Unit(layer.name, channel) for channel in range(layer.width)]
    found = collect_activations(network, job.images, layers=["bn1"], sampled=units, batch_size=8)
    pixels = np.load(job.images)["images"]
    codes = np.asarray(load_observer("pixel-cosine").encode(list(pixels))).reshape(60, -1)
    size = pool_size(60, quantile=job.quantile, n_references=job.n_references)
    pools = find_pools(found.values, size=size, order=image_order(60))
    direct = score_pools(
        codes.astype(np.float32),
        pools,
        units=[str(unit) for unit in units],
        n_tasks=5,
        n_references=3,
        slope=5.0,
        seed=4,
    )
    mine = whole.scores[whole.scores["layer"] == "bn1"]
    np.testing.assert_allclose(mine["score"], direct.score, atol=1e-6)


@pytest.mark.whole
@pytest.mark.vision
def test_shares_that_draw_other_tasks_are_refused(job, tmp_path):
    from imi_bench.mis.run import run_job

    first = replace(job, out=tmp_path / "shares")
    assert not run_job(first, executor=Shard(0, 2)).finished
    for other in ({"n_tasks": 6}, {"slope": 4.0}, {"seed": 5}, {"n_references": 2}):
        with pytest.raises(InputError, match=r"another run that is not finished|another pass"):
            run_job(replace(first, **other), executor=Shard(1, 2))
    assert run_job(first, executor=Shard(1, 2)).finished
    again = run_job(replace(first, n_tasks=6), executor=Local())  # the pass of a finished run
    assert set(again.scores["n_tasks"]) <= {0, 6}


@pytest.mark.vision
def test_shares_in_any_order_give_the_same(job, whole, tmp_path):
    from imi_bench.mis.run import run_job

    shared_out = replace(job, out=tmp_path / "shares")
    assert not run_job(shared_out, executor=Shard(1, 2)).finished
    assert run_job(shared_out, executor=Shard(0, 2)).finished
    assert scores_of(shared_out.out) == scores_of(job.out)


@pytest.mark.vision
def test_a_kill_at_any_piece_changes_nothing(job, whole, tmp_path):
    from imi_bench.mis.run import run_job

    class Dying:
        def run(self, pieces, *, label):
            Local().run(pieces[:5], label=label)
            raise KeyboardInterrupt

    again = replace(job, out=tmp_path / "killed")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_job(again, executor=Dying())
    run_job(again, executor=Local())
    assert scores_of(again.out) == scores_of(job.out)


@pytest.mark.vision
def test_other_tasks_reuse_the_pass_and_other_observers_are_refused(job, whole):
    from imi_bench.mis import run as mis_run

    assert mis_run.pieces(job) == []
    harder = mis_run.run_job(replace(job, slope=1.0), executor=Local())
    np.testing.assert_array_equal(harder.scores["hard_score"], whole.scores["hard_score"])
    assert (harder.scores["score"] != whole.scores["score"]).any()
    mis_run.run_job(job, executor=Local())
    with pytest.raises(InputError, match="other embeddings"):
        mis_run.run_job(replace(job, observer="ssim"), executor=Local())


@pytest.mark.whole
@pytest.mark.vision
def test_networks_share_embeddings(job, whole, tmp_path):
    from imi_bench.mis import run as mis_run

    shared = replace(job, out=tmp_path / "one", embeddings=tmp_path / "shared", shard_size=24)
    late = [piece for piece in mis_run.pieces(shared) if "embeddings" in piece.name]
    assert late
    mis_run.run_job(shared, executor=Local())
    assert scores_of(shared.out) == scores_of(job.out)
    for piece in late:  # of a run that began before these were merged
        piece.run()
        assert not piece.finished
    other = replace(shared, out=tmp_path / "two", seed=5)  # other random weights
    assert not any("embeddings" in piece.name for piece in mis_run.pieces(other))
    done = mis_run.run_job(other, executor=Local())
    assert (done.scores["score"] != whole.scores["score"]).any()
    assert sorted(path.name for path in (tmp_path / "shared").iterdir() if path.is_file()) == [
        "embeddings-instance.npy",
        "embeddings.json",
        "embeddings.npy",
    ]
    with pytest.raises(InputError, match="other embeddings"):
        mis_run.run_job(replace(other, observer="ssim"), executor=Local())


@pytest.mark.vision
def test_another_process_may_merge_embeddings_first(job, whole, tmp_path, monkeypatch):
    from imi_bench.mis import embeddings as mis_embeddings
    from imi_bench.mis import run as mis_run

    late = replace(job, out=tmp_path)
    merge = mis_embeddings._merge

    def beaten(*arguments):
        monkeypatch.setattr(mis_embeddings, "_merge", merge)
        mis_embeddings.merged_embeddings(late)  # the other process
        merge(*arguments)

    monkeypatch.setattr(mis_embeddings, "_merge", beaten)
    mis_run.run_job(late, executor=Local())
    assert scores_of(tmp_path) == scores_of(job.out)


@pytest.mark.vision
def test_passes_within_a_memory_give_the_same(job, whole, tmp_path):
    from imi_bench.mis.job import open_job
    from imi_bench.mis.run import run_job
    from imi_bench.networks.memory import pass_bytes

    layers = open_job(job).network.layers
    widest = max(layer.width for layer in layers)
    budget = pass_bytes(widest, keep=6, batch_size=8) / 1e9
    bounded = replace(job, out=tmp_path, memory=budget)
    assert not run_job(bounded, executor=Shard(0, 2)).finished
    done = run_job(bounded, executor=Local())
    assert 1 < done.record["passes"] <= len(layers)
    assert open_job(bounded).needed <= budget * 1e9
    assert scores_of(tmp_path) == scores_of(job.out)
    with pytest.raises(InputError, match=r"memory too small for a layer: layer '.*wanted"):
        run_job(replace(bounded, memory=budget / 2), executor=Local())


@pytest.mark.vision
def test_more_memory_than_there_is_is_refused(job, tmp_path, monkeypatch):
    from imi_bench.mis.run import run_job
    from imi_bench.networks import memory

    monkeypatch.setattr(memory, "available_bytes", lambda device: 1000)
    refused = replace(job, out=tmp_path)
    with pytest.raises(InputError, match=r"not enough memory .*: cpu: found .* memory="):
        run_job(refused, executor=Local())
    assert not list(tmp_path.iterdir())


@pytest.mark.whole
@pytest.mark.vision
def test_command_line(job, whole, tmp_path):
    from imi_bench.cli.app import app

    common = [
        "mis",
        "--network",
        job.network,
        "--random",
        "--images",
        str(job.images),
        "--observer",
        "pixel-cosine",
        "--out",
        str(tmp_path),
        "--slope",
        "5",
        "--quantile",
        "0.1",
        "--references",
        "3",
        "--tasks",
        "5",
        "--batch-size",
        "8",
        "--shard-size",
        "8",
        "--seed",
        "4",
        "--layers",
        LAYERS,
        "--device",
        "cpu",
        "--json",
    ]
    first = runner.invoke(app, [*common, "--shard", "0/2"])
    assert json.loads(first.stdout) == {"out": str(tmp_path), "finished": False}
    assert "other shares are missing" in first.stderr
    second = runner.invoke(app, common)
    assert json.loads(second.stdout)["run"]["units"]["count"] == len(whole.scores)
    assert scores_of(tmp_path) == scores_of(job.out)
    assert json.loads(second.stdout)["run"]["slope"]["source"] == "given"
    assert "warning" not in second.stderr
    place = common.index("--slope")
    unknown = runner.invoke(app, [*common[:place], *common[place + 2 :]])
    assert json.loads(unknown.stdout)["run"]["slope"]["value"] == 0.16
    assert "warning: slope 0.16 was published with DreamSim" in unknown.stderr
    few = runner.invoke(app, [*common, "--references", "9"])
    assert isinstance(few.exception, NotEnoughDataError)
    assert "wanted at least 10" in str(few.exception)


@pytest.mark.vision
def test_the_printout_says_why_units_are_not_scored(whole, capsys):
    from imi_bench.cli.mis import show_scores

    silent = whole.scores.copy()
    rows = silent["layer"] == "bn1"
    silent.loc[rows, ["score", "hard_score"]] = np.nan
    silent.loc[rows, "reason"] = "constant"
    show_scores(replace(whole, scores=silent), Path("out"), as_json=False)
    printed = capsys.readouterr()
    assert f"not scored: {rows.sum()} units (constant)" in printed.err
    (line,) = [line for line in printed.out.splitlines() if line.split()[:1] == ["bn1"]]
    assert line.split()[-3:] == ["0", "–", "–"]
    assert "nan" not in printed.out


@pytest.mark.cluster
@pytest.mark.vision
@pytest.mark.filterwarnings("default")
def test_ray_with_a_killed_worker_gives_the_same(job, whole, tmp_path):
    pytest.importorskip("ray")
    from imi_bench.mis import run as mis_run

    again = replace(job, out=tmp_path / "ray")
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def dying_once(piece: Piece) -> Piece:
        marker = deaths / piece.name.replace(" ", "-")

        def run() -> None:
            if not marker.exists():
                marker.write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            piece.run()

        return Piece(piece.name, piece.file, run)

    class Cluster:
        def run(self, pieces, *, label):
            chosen = [dying_once(p) if i in (1, 6) else p for i, p in enumerate(pieces)]
            Ray().run(chosen, label=label)

    with cluster():
        mis_run.run_job(again, executor=Cluster())
    assert len(list(deaths.iterdir())) == 2
    assert scores_of(again.out) == scores_of(job.out)


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_ray_that_does_not_start_is_one_line(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    piece = Piece("one", tmp_path / "one", lambda: None)
    with pytest.raises(InputError, match="Ray does not start: not-an-address") as caught:
        Ray("not-an-address").run([piece], label="work")
    assert "\n" not in str(caught.value)
    assert "executor='local'" in str(caught.value)


@pytest.mark.parametrize(
    ("said", "do"),
    [
        (Exception("The current node timed out during startup.\nOverloaded."), "less busy"),
        (ConnectionError("nobody at 10.0.0.1"), "check the address"),
    ],
)
def test_a_start_of_ray_that_fails_in_any_way_is_one_line(said, do, tmp_path, monkeypatch):
    def init(**_: object) -> None:
        raise said

    monkeypatch.setitem(
        sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init)
    )
    with pytest.raises(InputError, match=do) as caught:
        Ray().run([Piece("one", tmp_path / "one", lambda: None)], label="work")
    assert "\n" not in str(caught.value)
