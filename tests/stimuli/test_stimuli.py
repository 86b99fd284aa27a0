"""Reading trials: the authors' two layouts, our own table, and everything that can be wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.made_trials import fill, make_task, make_trials, make_unit, picture

from imi_bench.errors import ImageError, ImiBenchError, InputError, TrialError
from imi_bench.stimuli.trial_files import read_trials, write_trials
from imi_bench.tables import Trials


def names_of(trials: Trials, row: int) -> tuple[list[str], list[str], list[str]]:
    """File names of positive references, negative references and queries."""

    def named(rows: np.ndarray) -> list[str]:
        return [trials.images.sources[i].name for i in rows]

    return named(trials.positive[row]), named(trials.negative[row]), named(trials.queries[row])


# -- the authors' stimuli ---------------------------------------------------------------------


def test_the_papers_stimuli(shared: Path) -> None:
    read = read_trials(shared / "imi" / "stimuli", network="googlenet")
    index = read.index
    assert len(read) == 10
    assert len(read.images) == 190
    assert read.skipped == ()
    assert read.notes == ()
    assert set(index.network) == {"googlenet"}
    assert sorted(set(index.unit)) == [1, 52, 105]
    assert set(index.batch) == {1}
    assert not index.catch.any()
    assert (index.mode == "natural").sum() == (index.mode == "synthetic").sum() == 5
    assert index.trial_id[-1] == (
        "googlenet/mixed4e_pool_reduce_pre_relu_conv/105/synthetic/easy/1"
    )
    for row in range(10):
        positive, negative, queries = names_of(read, row)
        assert positive == [f"max_{i}.png" for i in range(9)]
        assert negative == [f"min_{i}.png" for i in range(9)]
        assert queries == ["max_9.png", "min_9.png"]
        for side in (read.positive, read.negative):
            folders = {read.images.sources[i].parent.name for i in side[row]}
            wanted = "natural_images" if index.mode[row] == "natural" else "optimized_images"
            assert folders == {wanted}
        shown = {read.images.sources[i].parent.name for i in read.queries[row]}
        assert shown == {"natural_images"}


def test_networks_batches_and_catch_trials(tmp_path: Path) -> None:
    make_unit(tmp_path / "resnet50" / "layer1_0_conv1", 3, batches=2)
    make_unit(tmp_path / "vit_hard95" / "blocks_0", 12, batches=1, synthetic=False)
    read = read_trials(tmp_path)
    assert read.index.trial_id.tolist() == [
        "resnet50/layer1_0_conv1/3/natural/easy/0/catch",
        "resnet50/layer1_0_conv1/3/synthetic/easy/0/catch",
        "resnet50/layer1_0_conv1/3/natural/easy/1",
        "resnet50/layer1_0_conv1/3/synthetic/easy/1",
        "vit/blocks_0/12/natural/hard95/0/catch",
    ]
    positive, negative, queries = names_of(read, 0)
    assert queries == ["max_8.png", "min_8.png"]
    assert "max_8.png" in positive
    assert "min_8.png" in negative
    assert read.queries[0, 0] in read.positive[0]
    assert names_of(read, 2)[2] == ["max_9.png", "min_9.png"]
    query = read.images.sources[read.queries[3, 0]]
    assert query.parent.name == "batch_1"


def test_a_hard_network_borrows_the_optimized_images_of_its_base(tmp_path: Path) -> None:
    make_unit(tmp_path / "net" / "layer", 1)
    make_unit(tmp_path / "net_hard99" / "layer", 1, synthetic=False)
    trials = read_trials(tmp_path)
    row = trials.index.trial_id.tolist().index("net/layer/1/synthetic/hard99/1")
    files = trials.images.sources
    assert files[trials.queries[row, 0]].parts[-5] in ("net", "net_hard99")
    assert {files[i].parts[-5] for i in trials.positive[row]} == {"net"}


def test_channels_are_in_natural_order(tmp_path: Path) -> None:
    for channel in (10, 9, 100):
        make_unit(tmp_path / "layer", channel, synthetic=False)
    assert read_trials(tmp_path).index.unit.tolist() == [9, 10, 100]


def test_one_content_is_one_image(tmp_path: Path) -> None:
    unit = make_unit(tmp_path / "layer", 1, synthetic=False) / "natural_images"
    shutil.copy(unit / "max_0.png", unit / "max_1.png")
    trials = read_trials(tmp_path)
    assert len(trials.images) == 19
    assert trials.positive[0, 0] == trials.positive[0, 1]


# -- what can be wrong: one line that names the file, or skipped, counted and listed ------------

Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def html(path: Path) -> None:
    path.write_text("<html>404</html>")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_out(path: Path) -> None:
    outside = path.resolve().parents[4] / "secret.png"
    outside.write_bytes(picture("secret"))
    path.unlink()
    path.symlink_to(outside)


def link_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone.png"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"image missing: .*max_4\.png: found 8 of 9 files, wanted max_0"),
        (cut, r"damaged or truncated: .*max_4\.png"),
        (html, r"not an image: .*max_4\.png: found 16 bytes of something else"),
        (folder_instead, r"image missing: .*max_4\.png"),
        (link_out, r"link leaves the folder: .*max_4\.png: found .*secret\.png, wanted a path in"),
        (link_nowhere, r"image missing: .*max_4\.png"),
    ],
    ids=["missing", "truncated", "html", "folder", "link-out", "dangling"],
)
def test_one_bad_file(damage: Damage, message: str, tmp_path: Path) -> None:
    root = tmp_path / "in" / "stimuli"
    for channel in (1, 2):
        make_unit(root / "layer", channel)
    damage(root / "layer" / "channel_1" / "natural_images" / "max_4.png")
    with pytest.raises(InputError, match=message) as caught:
        read_trials(root)
    assert "\n" not in str(caught.value)
    read = read_trials(root, skip_bad=True)
    assert read.index.trial_id.tolist() == [
        "unnamed/layer/1/synthetic/easy/1",
        "unnamed/layer/2/natural/easy/1",
        "unnamed/layer/2/synthetic/easy/1",
    ]
    assert len(read.skipped) == 1
    assert "max_4.png" in read.skipped[0].reason


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda unit: fill(unit / "natural_images", range(10, 11)), r"too many images.*_10\.png"),
        (lambda unit: shutil.rmtree(unit / "natural_images"), "unit without natural images"),
        (
            lambda unit: (unit / "natural_images" / "min_9.png").unlink(),
            r"min_9\.png: found 1 of 2 files, wanted queries \*_9\.png",
        ),
        (
            lambda unit: (unit / "optimized_images" / "min_0.png").unlink(),
            r"optimized_images/min_0\.png",
        ),
        (
            lambda unit: shutil.copy(
                unit / "natural_images" / "max_9.png", unit / "natural_images" / "min_9.png"
            ),
            r"two queries are the same image: trial 'unnamed/layer/1/natural.*max_9.*min_9",
        ),
        (
            lambda unit: fill(unit / "optimized_images" / "batch_7", range(9)),
            "no optimized images for a batch",
        ),
    ],
    ids=["eleven", "no-natural", "no-query", "synthetic", "same-queries", "batches-differ"],
)
def test_wrong_counts(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make(make_unit(tmp_path / "layer", 1))
    make_unit(tmp_path / "layer", 2)
    with pytest.raises(TrialError, match=message):
        read_trials(tmp_path)
    read = read_trials(tmp_path, skip_bad=True)
    assert {2} <= set(read.index.unit) <= {1, 2}
    assert read.skipped


@pytest.mark.parametrize(
    "level", ["", "layer", "layer/channel_1", "layer/channel_1/natural_images"]
)
def test_folders_that_lead_out(level: str, tmp_path: Path) -> None:
    make_unit(tmp_path / "outside" / "layer", 5)
    root = tmp_path / "in"
    make_unit(root / "layer", 1)
    target = root / level / "linked"
    if level == "layer":
        target = root / level / "channel_7"
    elif level == "layer/channel_1":
        target = root / level / "optimized_images"
        shutil.rmtree(target)
    elif level.endswith("natural_images"):
        target = root / level / "batch_1"
    target.symlink_to(tmp_path / "outside" / "layer")
    with pytest.raises(TrialError, match=rf"leaves the folder: .*{target.name}: found .*outside"):
        read_trials(root)


def test_links_inside_the_folder_are_fine(tmp_path: Path) -> None:
    unit = make_unit(tmp_path / "layer", 1, synthetic=False) / "natural_images"
    (unit / "max_0.png").rename(tmp_path / "layer" / "channel_1" / "kept.png")
    (unit / "max_0.png").symlink_to("../kept.png")
    read = read_trials(tmp_path)
    assert len(read) == 1
    assert any("kept.png" in note for note in read.notes)


def test_links_to_nothing_are_named(tmp_path: Path) -> None:
    unit = make_unit(tmp_path / "layer", 1, synthetic=False) / "natural_images"
    (unit / "more.png").symlink_to("nowhere.png")
    assert any("more.png" in note for note in read_trials(tmp_path).notes)
    (unit / "max_0.png").unlink()
    (unit / "max_0.png").symlink_to("nowhere.png")
    with pytest.raises(ImiBenchError, match=r"max_0.png"):
        read_trials(tmp_path)


def test_unknown_entries_are_named(tmp_path: Path) -> None:
    unit = make_unit(tmp_path / "net" / "layer", 1)
    for where in (tmp_path, tmp_path / "net", unit.parent, unit, unit / "natural_images"):
        (where / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    read = read_trials(tmp_path)
    assert sum("notes.txt" in note for note in read.notes) == 5
    assert any("empty" in note for note in read.notes)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(TrialError, match="no such file or folder"):
        read_trials(tmp_path / "nowhere")
    with pytest.raises(TrialError, match=r"no trials found.*empty folder.*channel_N"):
        read_trials(tmp_path)
    make_unit(tmp_path / "layer", 1, synthetic=False)
    with pytest.raises(TrialError, match=r"no trials found.*found channel_1"):
        read_trials(tmp_path / "layer")
    cut(tmp_path / "layer" / "channel_1" / "natural_images" / "max_0.png")
    with pytest.raises(TrialError, match=r"no trial left: found 1 skipped.*max_0\.png"):
        read_trials(tmp_path, skip_bad=True)


# -- served tasks -----------------------------------------------------------------------------


def test_the_papers_tasks(shared: Path) -> None:
    read = read_trials(shared / "imi" / "tasks")
    index = read.index
    assert (
        index.layer.tolist()
        == ["demo_natural_9_references"] * 2 + ["demo_optimized_9_references"] * 2
    )
    assert index.mode.tolist() == ["natural"] * 2 + ["synthetic"] * 2
    assert index.unit.tolist() == [1, 2, 1, 2]
    positive, negative, queries = names_of(read, 0)
    assert positive == [f"max_{i}.png" for i in range(9)]
    assert negative == [f"min_{i}.png" for i in range(1, 10)]
    assert queries == ["max.png", "min.png"]
    positive, negative, _ = names_of(read, 2)
    assert positive == [f"max_{i}.png" for i in range(9)]
    assert negative == [f"min_{i}.png" for i in range(9)]
    assert sum("max_9.png" in note for note in read.notes) == 2
    one = read_trials(shared / "imi" / "tasks" / "demo_natural_9_references", network="googlenet")
    assert one.index.network.tolist() == ["googlenet"] * 2


def test_task_facts(tmp_path: Path) -> None:
    make_task(
        tmp_path / "task_1",
        trials=3,
        numbers=range(6, 9),
        n_reference_images="3",
        catch_trial_idxs=[2],
        task_name="net_hard95_optimized/task_1",
    )
    index = read_trials(tmp_path / "task_1").index
    assert index.catch.tolist() == [False, True, False]
    assert set(index.network) == {"net"}
    assert set(index.difficulty) == {"hard95"}
    assert set(index.mode) == {"synthetic"}
    assert set(index.layer) == {"net_hard95_optimized_task_1"}
    named = read_trials(tmp_path / "task_1", network="other").index
    assert set(named.network) == {"other"}


def test_a_task_that_hides_its_mode_is_said_to_be_guessed(tmp_path: Path) -> None:
    make_task(tmp_path / "exp1")
    read = read_trials(tmp_path)
    assert any("does not tell its mode" in note for note in read.notes)
    assert set(read.index.mode) == {"natural"}


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"n_reference_images": "nine"}, r"bad n_reference_images: .*index\.json: found 'nine'"),
        ({"n_reference_images": 0}, "bad n_reference_images"),
        ({"n_reference_images": True}, "bad n_reference_images"),
        ({"n_reference_images": 10}, r"wrong number of references.*found 9 max_.*wanted 10"),
        ({"n_trials": 3}, r"trial_3.*wanted a folder"),
        ({"n_trials": 1}, r"wrong number of trials.*also trial_2"),
        ({"n_trials": -2}, "bad n_trials"),
        ({"task_name": 3}, "bad task_name"),
        ({"catch_trial_idxs": [3]}, "bad catch_trial_idxs.*not 3"),
        ({"catch_trial_idxs": "2"}, "bad catch_trial_idxs"),
    ],
    ids=str,
)
def test_a_bad_index(index: dict[str, object], message: str, tmp_path: Path) -> None:
    make_task(tmp_path / "natural", **index)
    with pytest.raises(TrialError, match=message):
        read_trials(tmp_path / "natural")


@pytest.mark.parametrize("text", ["", "[]", "{", '"task"', "\x00"])
def test_an_index_that_is_none(text: str, tmp_path: Path) -> None:
    (make_task(tmp_path / "natural") / "index.json").write_text(text)
    with pytest.raises(TrialError, match=r"index.*index\.json"):
        read_trials(tmp_path / "natural")


@pytest.mark.parametrize(
    "entry",
    [
        "index.json",
        "trials",
        "trials/trial_1",
        "trials/trial_1/references",
        "trials/trial_1/queries/max.png",
        "trials/trial_1/references/min_3.png",
    ],
)
def test_task_parts_that_lead_out(entry: str, tmp_path: Path) -> None:
    task = make_task(tmp_path / "in" / "natural_task")
    outside = tmp_path / "out"
    (task / entry).rename(outside)
    (task / entry).symlink_to(outside)
    with pytest.raises(TrialError, match="leaves the folder"):
        read_trials(task)


def test_bad_task_trials_are_skipped_and_listed(tmp_path: Path) -> None:
    task = make_task(tmp_path / "natural", trials=3)
    (task / "trials" / "trial_1" / "queries" / "max.png").unlink()
    cut(task / "trials" / "trial_2" / "references" / "min_0.png")
    read = read_trials(task, skip_bad=True)
    assert read.index.unit.tolist() == [3]
    reasons = [one.reason for one in read.skipped]
    assert any("image missing" in reason and "max.png" in reason for reason in reasons)
    assert any("truncated" in reason and "min_0.png" in reason for reason in reasons)
    assert len(reasons) == 2


def test_tasks_with_different_counts_are_refused(tmp_path: Path) -> None:
    make_task(tmp_path / "a_natural")
    make_task(tmp_path / "b_natural", numbers=range(5, 9), n_reference_images=4)
    with pytest.raises(TrialError, match=r"different numbers of references.*\[4, 9\]"):
        read_trials(tmp_path)


# -- our own table ----------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder in our own layout, made from arrays and files."""
    root = tmp_path / "stimuli"
    make_unit(root / "net" / "layer", 1, batches=2)
    trials = read_trials(root)
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(len(trials), 2))
    activations[0] = np.nan
    known = Trials(
        trials.index,
        trials.images,
        trials.positive,
        trials.negative,
        trials.queries,
        activations,
        simulated=True,
    )
    write_trials(known, tmp_path / "own")
    return tmp_path / "own"


def test_writing_and_reading_change_nothing(written: Path) -> None:
    original = read_trials(written.parent / "stimuli")
    for path in (written, written / "trials.parquet"):
        again = read_trials(path)
        assert again.hash == original.hash
        assert again.simulated
        assert np.isnan(again.query_activations[0]).all()
        assert np.isfinite(again.query_activations[1:]).all()
        pd.testing.assert_frame_equal(again.index.to_frame(), original.index.to_frame())


def test_arrays_keep_their_hash_on_disk(tmp_path: Path) -> None:
    trials = make_trials()
    again = read_trials(write_trials(trials, tmp_path))
    assert again.hash == trials.hash
    assert np.array_equal(again.query_activations, trials.query_activations)
    assert not again.simulated


def test_only_used_images_are_written(tmp_path: Path) -> None:
    few = make_trials().take(np.array([3]))
    write_trials(few, tmp_path)
    assert len(list((tmp_path / "images").iterdir())) == 8


def test_names_in_csv_stay_as_they_are_written(written: Path) -> None:
    table = pd.read_parquet(written / "trials.parquet")
    names = [f"{number:03d}" for number in range(len(table))]
    table.assign(trial_id=names, network="007", layer="null").to_csv(
        written / "trials.csv", index=False
    )
    index = read_trials(written / "trials.csv").index
    assert index.trial_id.tolist() == names
    assert (set(index.network), set(index.layer)) == ({"007"}, {"null"})


def test_csv_says_the_same(written: Path) -> None:
    pd.read_parquet(written / "trials.parquet").to_csv(written / "trials.csv", index=False)
    one, two = (read_trials(written / f"trials.{kind}") for kind in ("csv", "parquet"))
    assert one.hash == two.hash
    assert one.simulated
    assert np.array_equal(one.query_activations, two.query_activations, equal_nan=True)


def test_ids_and_optional_columns_may_be_left_out(written: Path) -> None:
    path = written / "trials.parquet"
    frame = pd.read_parquet(path)
    optional = ["trial_id", "simulated", "activation_positive", "activation_negative"]
    frame.drop(columns=optional).to_parquet(path)
    trials = read_trials(written)
    assert trials.index.trial_id.tolist() == frame["trial_id"].tolist()
    assert not trials.simulated
    assert np.isnan(trials.query_activations).all()


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../stimuli/a.png",
        "images/../../a.png",
        "C:\\a.png",
        "..\\a.png",
        "\\\\h\\a",
        "",
        None,
        "out.png",
    ],
    ids=str,
)
def test_paths_that_leave_the_folder(name: str | None, written: Path) -> None:
    (written / "out.png").symlink_to(written.parent / "stimuli")
    frame = pd.read_parquet(written / "trials.parquet")
    frame["positive_3"] = frame["positive_3"].astype(object)
    frame.loc[1, "positive_3"] = name
    frame.to_parquet(written / "trials.parquet")
    where = r"trials\.parquet, row 1, column 'positive_3'"
    with pytest.raises(TrialError, match=f"{where}: found .*, wanted a relative path inside"):
        read_trials(written)
    read = read_trials(written, skip_bad=True)
    assert len(read) == len(frame) - 1
    assert [one.where for one in read.skipped] == [frame["trial_id"][1]]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("unit", 1.5, r"column 'unit': .*row 1: found .*1\.5.*wanted a whole number"),
        ("unit", "x", "column 'unit'"),
        ("batch", None, "column 'batch'"),
        ("catch", "no", "column 'catch'.*'no', wanted True or False"),
        ("mode", "optimized", "unknown mode"),
        ("difficulty", None, "column 'difficulty'"),
        ("activation_positive", "high", "column 'activation_positive'"),
        ("query_positive", "gone.png", r"cannot be read: .*gone\.png"),
    ],
)
def test_bad_values(column: str, value: object, message: str, written: Path) -> None:
    frame = pd.read_parquet(written / "trials.parquet")
    frame[column] = frame[column].astype(object)
    frame.loc[1, column] = value
    frame.to_csv(written / "trials.csv", index=False)
    with pytest.raises(InputError, match=message):
        read_trials(written / "trials.csv")


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        ("mode", "missing columns.*wanted mode"),
        ("query_negative", "missing columns.*wanted query_negative"),
        ("positive_8", "unequal numbers of references.*8 positive and 9 negative"),
        ("negative_0", "columns of negative references"),
    ],
)
def test_missing_columns(drop: str, message: str, written: Path) -> None:
    frame = pd.read_parquet(written / "trials.parquet").drop(columns=drop)
    frame.to_parquet(written / "trials.parquet")
    with pytest.raises(TrialError, match=message):
        read_trials(written)


def test_files_that_are_no_tables(written: Path) -> None:
    (written / "trials.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(TrialError, match=r"not a Parquet file: .*trials\.parquet"):
        read_trials(written)
    (written / "a.txt").write_text("hello")
    with pytest.raises(TrialError, match=r"not a table of trials: .*found '\.txt'"):
        read_trials(written / "a.txt")
    (written / "empty.csv").write_text("")
    with pytest.raises(TrialError, match="not a CSV table"):
        read_trials(written / "empty.csv")


def test_images_may_lie_elsewhere_if_the_caller_says_so(written: Path, tmp_path: Path) -> None:
    shutil.move(written / "trials.parquet", tmp_path / "moved.parquet")
    with pytest.raises(ImageError, match="cannot be read"):
        read_trials(tmp_path / "moved.parquet")
    assert len(read_trials(tmp_path / "moved.parquet", image_root=written)) == 4


def test_a_damaged_copy_is_noticed_on_writing(tmp_path: Path) -> None:
    unit = make_unit(tmp_path / "in" / "layer", 1, synthetic=False) / "natural_images"
    trials = read_trials(tmp_path / "in")
    (unit / "max_3.png").write_bytes(picture("other"))
    with pytest.raises(ImageError, match=r"changed while it was used: .*max_3\.png"):
        write_trials(trials, tmp_path / "out")
    assert not (tmp_path / "out" / "trials.parquet").exists()
