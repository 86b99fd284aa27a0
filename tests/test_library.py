"""`import imi_bench as imi`: the names, what results can do, and the example of the docs."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.small_study import SmallStudy

import imi_bench as imi

DOCS = Path(__file__).resolve().parents[1] / "docs"
FUNCTIONS = (
    "demo_data",
    "read_trials",
    "read_answers",
    "load_observer",
    "answer",
    "calibrate",
    "score",
    "compare",
    "effects",
    "fit",
    "gate",
    "build_trials",
    "machine_interpretability",
    "report",
    "learn",
    "fewshot",
)


@pytest.fixture(scope="module")
def study(shared_study: SmallStudy) -> SmallStudy:
    return shared_study


@pytest.fixture(scope="module")
def results(study: SmallStudy) -> dict[str, Any]:
    """What every public function gives."""
    effects = study.effects
    return {
        "trials": study.trials,
        "people": study.people,
        "answer": study.runs[0],
        "calibrate": imi.calibrate(study.runs[0], study.people),
        "score": imi.score(study.runs[0], study.people, n_resamples=20),
        "compare": imi.compare(study.runs, study.people, n_resamples=20),
        "gate": imi.gate(study.runs[0], against=study.runs[1], by="mode"),
        "effects": effects,
        "fit": imi.fit("correct ~ synthetic + (1 | unit)", effects.answers),
        "report": imi.report(study.folder / "pixel-l2", out=study.folder / "page.html"),
    }


class TestNames:
    def test_every_name_resolves_and_is_documented(self) -> None:
        assert set(FUNCTIONS) <= set(imi.__all__) <= set(dir(imi))
        for name in FUNCTIONS:
            function = inspect.unwrap(getattr(imi, name))
            assert inspect.isfunction(function)
            assert "Examples" in (function.__doc__ or ""), name
        errors = [n for n in imi.__all__ if inspect.isclass(getattr(imi, n))]
        assert len(errors) == 17
        assert all(issubclass(getattr(imi, name), imi.ImiBenchError) for name in errors)

    def test_a_room_of_the_same_name_is_still_a_package(self) -> None:
        import imi_bench.gate.verdict

        assert callable(imi.gate)
        assert imi_bench.gate.verdict.gate is imi.gate.__wrapped__
        assert "max_drop" in inspect.signature(imi.gate).parameters
        for one in (imi.effects, imi.fewshot, imi.gate, imi.report):  # sent to other processes
            assert pickle.loads(pickle.dumps(one)) is one
            assert copy.deepcopy(one) is one

    def test_a_misspelt_name(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'scroe'"):
            imi.scroe  # type: ignore[attr-defined]  # noqa: B018

    def test_the_import_loads_nothing(self) -> None:
        program = "import sys; before = set(sys.modules); import imi_bench as imi; dir(imi)\n"
        program += "print(*sorted(set(sys.modules) - before - {'__future__'}))"
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert ran.stdout.split() == ["imi_bench"]

    def test_as_a_module(self) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "imi_bench", "--version"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.strip() == f"imi-bench {imi.__version__}"

    @pytest.mark.slow
    def test_type_checkers_see_what_is_there(self, tmp_path: Path) -> None:
        pytest.importorskip("mypy")
        (tmp_path / "user.py").write_text(
            "import imi_bench as imi\nimport imi_bench.gate.verdict\n"
            "trials, people = imi.demo_data()\nrun = imi.answer('chance', trials)\n"
            "reveal_type(imi.gate(run, against=run).passed)\nimi.scroe\n"
        )
        ran = subprocess.run(
            [sys.executable, "-m", "mypy", "--follow-imports=silent", str(tmp_path / "user.py")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert 'Revealed type is "bool"' in ran.stdout or 'builtins.bool"' in ran.stdout
        assert 'Module has no attribute "scroe"' in ran.stdout


class TestResults:
    """What they can do, and that they come back from JSON: tests/test_results.py."""

    @pytest.mark.whole
    def test_simulated_data_say_so(self, results: dict[str, Any]) -> None:
        for name in ("trials", "people", "answer", "calibrate", "score", "compare", "effects"):
            assert "simulated" in repr(results[name]), name


class TestTrials:
    def test_index_and_slice(self, study: SmallStudy) -> None:
        trials = study.trials
        assert trials[3].index.trial_id.tolist() == [trials.index.trial_id[3]]
        assert trials[-2:].index.trial_id.tolist() == trials.index.trial_id[-2:].tolist()
        assert len(trials[trials.index.mode == "natural"]) == 30
        assert len(list(trials)) == len(trials)
        with pytest.raises(IndexError):
            trials[len(trials)]

    def test_query_and_where(self, study: SmallStudy) -> None:
        natural = study.trials.query("mode == 'natural'")
        assert set(natural.index.mode) == {"natural"}
        same = study.trials.where(mode="natural")
        assert same.hash == natural.hash
        with pytest.raises(imi.TrialError, match="condition on trial_id"):
            study.trials.query("mood == 'natural'")
        with pytest.raises(imi.UnknownNameError, match="'mode'"):
            study.trials.where(mood="natural")

    def test_where_compares_as_it_is_written_and_refuses_what_no_trial_has(
        self, study: SmallStudy
    ) -> None:
        index = study.trials.index
        unit, network = int(index.unit[0]), str(index.network[0])
        expected = index.unit == unit
        for written in (unit, str(unit), float(unit), [str(unit)], np.array([unit])):
            found = study.trials.where(unit=written)
            assert found.index.trial_id.tolist() == index.trial_id[expected].tolist()
        assert len(study.trials.where(catch="false")) == len(study.trials.where(catch=False)) > 0
        for wrong in (
            {"unit": 987654},
            {"unit": "one"},
            {"unit": [unit, 987654]},
            {"unit": True},
            {"mode": "none"},
            {"network": f"{network}x"},
            {"catch": 2},
        ):
            (name,) = wrong
            with pytest.raises(imi.UnknownNameError, match=f"unknown {name} of these trials"):
                study.trials.where(**wrong)
        assert len(study.trials[:0].where(mode="natural")) == 0

    def test_show(self, study: SmallStudy) -> None:
        one, all_of_them = study.trials.show(3), study.trials[:2].show()
        assert one.width == all_of_them.width
        assert one.height < all_of_them.height
        with pytest.raises(imi.NotEnoughDataError, match="no such trial"):
            study.trials[:0].show()


class TestSources:
    """Paths as text, tables and objects give the same numbers."""

    def test_answers(self, study: SmallStudy) -> None:
        frame = study.people.to_frame()  # which says that they are made up
        for source in (str(study.folder / "people"), study.folder / "people", frame, study.people):
            read = imi.read_answers(source)
            assert read.hash == study.people.hash
            assert read.responses.simulated
        with pytest.raises(imi.InputError, match="missing columns"):
            imi.read_answers(frame.drop(columns="correct"))
        with pytest.raises(imi.InputError, match="not human answers"):
            imi.read_answers(3)  # type: ignore[arg-type]

    def test_decisions(self, study: SmallStudy) -> None:
        run = study.runs[0]
        sources = (str(study.folder / "pixel-l2"), run, run.decisions, run.decisions.to_frame())
        found = [imi.score(one, study.people, by=(), n_resamples=0).to_json() for one in sources]
        assert all(one == found[0] for one in found)
        with pytest.raises(imi.InputError, match="not an observer's answers"):
            imi.score(3, study.people)  # type: ignore[arg-type]

    def test_gate(self, study: SmallStudy) -> None:
        new, old = study.runs
        by_path = imi.gate(str(study.folder / "pixel-l2"), against=str(study.folder / "chance"))
        assert by_path == imi.gate(new, against=old)
        given = imi.gate(new.decisions, against=old.decisions, trials=study.trials)
        assert given.comparisons == by_path.comparisons
        with pytest.raises(imi.InputError, match="no trial table"):
            imi.gate(new.decisions, against=old.decisions)


def _arguments() -> list[tuple[str, str]]:
    """Every argument of every public function."""
    return [
        (name, one.name)
        for name in FUNCTIONS
        for one in inspect.signature(getattr(imi, name)).parameters.values()
        if one.kind is not one.VAR_KEYWORD
    ]


@pytest.fixture(scope="module")
def needed(study: SmallStudy) -> dict[str, Any]:
    """A value for each argument that must be given."""
    return {
        "against": study.runs[1],
        "answers": study.people,
        "data": pd.DataFrame({"y": [0, 1]}),
        "decisions": study.runs[0],
        "folder": study.folder / "pixel-l2",
        "formula": "y ~ 1",
        "images": "photos",
        "name": "chance",
        "network": "timm:resnet10t",
        "new": study.runs[0],
        "observer": "chance",
        "observers": "vlm:openai/none",
        "path": study.folder,
        "study": study.people,
        "trials": study.trials,
    }


@pytest.mark.parametrize(("function", "argument"), _arguments(), ids=lambda one: one)
def test_a_value_that_nothing_allows_is_one_line(
    function: str, argument: str, needed: dict[str, Any], tmp_path: Path
) -> None:
    """Before any work begins, and named; not a traceback of somebody else."""
    pytest.importorskip("torch")
    called = getattr(imi, function)
    parameters = inspect.signature(called).parameters
    wanted = set(re.findall(r"\w+", str(parameters[argument].annotation)))
    no_number = [*([-1] if "int" in wanted else []), *([math.nan] if "float" in wanted else [])]
    no_truth = [True] if wanted & {"int", "float"} and "bool" not in wanted else []
    for wrong in (object(), b"x", *no_number, *no_truth):
        given = {
            one.name: needed[one.name]
            for one in parameters.values()
            if one.default is one.empty and one.kind is not one.VAR_KEYWORD
        }
        if function in ("compare", "learn"):
            given["decisions"] = [given["decisions"]] * 2
        with pytest.raises(imi.ImiBenchError) as caught:
            called(**{**given, argument: wrong})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("calibrate", "slopes"),
        ("calibrate", "by"),
        ("score", "calibrate_by"),
        ("fit", "family"),
        ("fit", "thresholds"),
        ("fit", "link"),
        ("learn", "head"),
        ("fewshot", "near"),
        ("effects", "lapse"),
        ("build_trials", "crop"),
    ],
    ids=lambda one: one,
)
def test_a_word_that_is_none_of_those_is_refused(
    function: str, argument: str, needed: dict[str, Any]
) -> None:
    called = getattr(imi, function)
    given = {
        one.name: needed[one.name]
        for one in inspect.signature(called).parameters.values()
        if one.default is one.empty
    }
    if function == "learn":
        given["decisions"] = [given["decisions"]] * 2
    for word in ("qq", ""):
        with pytest.raises(imi.UnknownNameError, match=f"unknown value for '{argument}'"):
            called(**{**given, argument: word})


class TestOptionsThatMeanNothing:
    def test_of_a_fit(self) -> None:
        data = pd.DataFrame({"y": [0, 1] * 20, "x": range(40), "g": np.repeat(range(4), 10)})
        for option, told in (
            ({"thresholds": "symmetric"}, "ordinal"),
            ({"levels": ["a", "b"]}, "ordinal"),
            ({"nagq": 101}, "1 to 100"),
        ):
            with pytest.raises(imi.InputError, match=told):
                imi.fit("y ~ x + (1 | g)", data, **option)  # type: ignore[arg-type]

    def test_of_the_others(self, study: SmallStudy) -> None:
        run, people = study.runs[0], study.people
        for lapse in (-0.1, 1.0):
            with pytest.raises(imi.InputError, match="no lapse rate"):
                imi.calibrate(run, people, lapse=lapse)
        with pytest.raises(imi.InputError, match="no score"):
            imi.compare(study.runs, people, scores=())
        with pytest.raises(imi.InputError, match="baseline"):
            imi.learn(study.runs, people, baseline=())
        with pytest.raises(imi.InputError, match="on disk"):
            imi.answer("chance", study.trials, network="mine")
        with pytest.raises(imi.TrialError, match="on disk"):
            imi.read_trials(study.trials, network="mine")
        with pytest.raises(imi.NotEnoughDataError, match="no trials to answer"):
            imi.answer("chance", study.trials[:0])
        with pytest.raises(imi.InputError, match="the folder"):
            imi.report(run, out=study.folder)


class TestTheRemedyIsNamed:
    def test_where_the_table_of_a_model_is(self, study: SmallStudy) -> None:
        with pytest.raises(imi.InputError, match=r"`imi_bench.effects\(people\).answers`"):
            imi.fit("correct ~ synthetic + (1 | unit)", study.people)  # type: ignore[arg-type]
        with pytest.raises(imi.InputError, match=r"`effects.answers`"):
            imi.fit("correct ~ synthetic + (1 | unit)", study.effects)  # type: ignore[arg-type]

    def test_others(self, study: SmallStudy) -> None:
        with pytest.raises(imi.InputError, match=r"`run.decisions`"):
            imi.score(study.runs[0].to_frame(), study.people)
        with pytest.raises(imi.InputError, match="the class MeanColour: give an instance"):
            imi.answer(MeanColour, study.trials)


class TestTablesOfOnesOwn:
    @pytest.mark.parametrize("missing", [None, math.nan, pd.NA], ids=["None", "NaN", "NA"])
    def test_people_without_a_name_are_not_one_person(
        self, study: SmallStudy, missing: object
    ) -> None:
        frame = study.people.to_frame().astype({"participant": object})
        frame.loc[frame.groupby("trial_id").head(1).index, "participant"] = missing
        with pytest.raises(imi.InputError, match="empty cells in a column of text: participant"):
            imi.read_answers(frame)

    def test_other_columns(self, study: SmallStudy) -> None:
        frame = study.people.to_frame()
        for column, value, told in (
            ("chose_first", 7.0, "chose_first: found 7"),
            ("simulated", "no", "simulated: found"),
        ):
            with pytest.raises(imi.InputError, match=told):
                imi.read_answers(frame.assign(**{column: value}))
        with pytest.raises(imi.NotEnoughDataError, match="no answers"):
            imi.read_answers(frame.iloc[:0])

    def test_trials_by_unit_and_by_no_condition(self, study: SmallStudy) -> None:
        unit = study.trials.index.unit_id[0]
        chosen = study.trials.query(f"unit_id == '{unit}'")
        assert set(chosen.index.unit_id) == {unit}
        assert study.trials.where(unit_id=unit).hash == chosen.hash
        for expression in ("unit", "1", "mode"):
            with pytest.raises(imi.TrialError, match="condition"):
                study.trials.query(expression)
        for nothing in (None, True):
            with pytest.raises(IndexError, match="wanted a number below"):
                study.trials[nothing]  # type: ignore[index]


class TestAFitFromJson:
    def test_says_that_its_data_are_gone(self, results: dict[str, Any]) -> None:
        stored = type(results["fit"]).from_json(results["fit"].to_json())
        assert stored.wald("synthetic") == results["fit"].wald("synthetic")
        for ask in (
            lambda: stored.likelihood_ratio("synthetic"),
            lambda: stored.profile("synthetic"),
            lambda: stored.bootstrap(n=2),
            lambda: stored.marginal_means("synthetic"),
            lambda: stored.predict(),
            lambda: stored.residuals(),
            lambda: stored.influence("unit"),
            stored.drop_one,
            stored.variation,
        ):
            with pytest.raises(imi.ModelError, match="fit its formula to the data again"):
                ask()

    def test_a_start_of_another_model(self, study: SmallStudy, results: dict[str, Any]) -> None:
        with pytest.raises(imi.ModelError, match="a start of another model"):
            imi.fit(
                "correct ~ synthetic + (1 | unit) + (1 | participant)",
                study.effects.answers,
                start=results["fit"],
            )

    def test_nothing_to_test(self, results: dict[str, Any]) -> None:
        with pytest.raises(imi.ModelError, match="no term"):
            results["fit"].likelihood_ratio()
        with pytest.raises(imi.InputError, match="degrees of freedom"):
            results["fit"].wald("synthetic", df=-1)

    def test_a_test_is_a_table(self, results: dict[str, Any]) -> None:
        one = results["fit"].wald("synthetic")
        assert one._repr_html_().count("<table") == 1
        assert type(one).from_json(json.dumps(one.to_json())) == one


class TestTooFewDraws:
    def test_say_nothing_of_an_interval(self, study: SmallStudy) -> None:
        found = imi.score(study.runs[0], study.people, by=(), n_resamples=38)
        assert math.isnan(found["network_pearson"].estimate.low)
        assert found["network_pearson"].estimate.reason.startswith("38 draws are too few")


class TestEffectsAsAMapping:
    def test_its_keys(self, study: SmallStudy) -> None:
        keys = list(study.effects)
        assert "parameters" in study.effects
        assert "parametrs" not in study.effects
        one = study.effects[keys[0]]
        assert one.sentence in one.summary()
        assert one.to_frame()["key"].tolist() == [keys[0]]
        assert one._repr_html_().count("<table") == 1


class TestWrongTypes:
    def test_one_text_is_one_name(self, study: SmallStudy) -> None:
        found = imi.score(study.runs[0], study.people, by="mode", n_resamples=0)
        assert set(found.strata) == {"mode"}

    def test_a_size_and_a_seed_of_the_demo(self) -> None:
        with pytest.raises(imi.UnknownNameError, match="did you mean 'n_scenes'"):
            imi.demo_data(n_scene=200)
        for seed in (-1, "x", 1.5):
            with pytest.raises(imi.InputError, match="'seed'"):
                imi.demo_data(seed=seed)  # type: ignore[arg-type]

    def test_a_calibration_as_json(self, study: SmallStudy) -> None:
        run, people = study.runs[0], study.people
        fitted = imi.calibrate(run, people)
        given = imi.score(run, people, calibration=fitted.to_json(), by=(), n_resamples=0)
        assert given.calibration_hash == fitted.hash

    def test_trials_by_id_and_by_nothing(self, study: SmallStudy) -> None:
        name = str(study.trials.index.trial_id[3])
        assert study.trials[name].hash == study.trials[3].hash
        with pytest.raises(imi.UnknownNameError, match="unknown trial"):
            study.trials["x"]
        with pytest.raises(IndexError, match="wanted a number below"):
            study.trials[1.5]  # type: ignore[index]

    def test_made_up_people_stay_made_up_as_a_table(self, study: SmallStudy) -> None:
        assert imi.score(study.runs[0], study.people.to_frame(), by=(), n_resamples=0).simulated


def test_an_observer_prints_its_name_and_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def similarity(one, other):\n    return 1.0\n")
    assert repr(imi.load_observer(Path(f"{tmp_path / 'mine.py'}:similarity"))) == (
        "PairwiseSimilarity('mine.py:similarity')"
    )
    assert repr(imi.load_observer("classical")) == "Embedding('classical')"
    assert repr(imi.load_observer("chance")) == "Chance('chance')"


@pytest.mark.whole
def test_a_report_takes_runs_as_they_are(study: SmallStudy, tmp_path: Path) -> None:
    given = [*study.runs, study.runs[0]]
    page = imi.report(given, responses=study.people, out=tmp_path / "page.html")
    assert page.path.is_file()
    assert len({one.name for one in page.exhibit.runs}) == len(page.exhibit.runs)


def example() -> list[str]:
    """The blocks of Python in the page about the library."""
    return re.findall(r"```python\n(.*?)```", (DOCS / "library.md").read_text("utf-8"), re.S)


class MeanColour:
    """An observer of one's own, as in the docs."""

    name = "mean-colour"

    def describe(self) -> dict[str, Any]:
        return {"version": 1}

    def encode(self, images: Any) -> np.ndarray:
        return np.stack([image.mean(axis=(0, 1)) for image in images])

    def decide(self, trials: Any, codes: Any) -> np.ndarray:
        from imi_bench.observers.pooling import decide

        return decide(codes, trials, similarity="l2")


@pytest.mark.whole
def test_the_example_runs_as_it_stands(
    study: SmallStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verbatim but for sizes: a small demo, a small CSV, a small network with random weights."""
    from PIL import Image
    from support.small_study import COUNTS, SIZE

    from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release

    block = example()[0]
    assert "imi.gate(mine, against=base, max_drop=0.01).passed" in block
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    release = simulate_release(ReleaseParameters.from_json({"study": COUNTS}), seed=1)
    write_release(release, tmp_path / "responses_main.csv")
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(120):
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:03d}.png")
    small = "pretrained=False, input_size=32, device='cpu', references=2"
    for there, here in (
        ("imi.demo_data()", f"imi.demo_data(**{SIZE})"),
        (
            'units=84, difficulties=["easy", "hard95"]',
            f"units=2, batches=1, crop=None, difficulties=['easy', 'hard95'], {small}",
        ),
        (
            'observer="clip-vit-b32"',
            f"observer='pixel-cosine', tasks=2, quantile=0.1, layers='conv1.*', {small}",
        ),
    ):
        assert there in block
        block = block.replace(there, here)
    pytest.importorskip("torch")
    space: dict[str, Any] = {"MeanColour": MeanColour}
    exec(compile(block, "docs/library.md", "exec"), space)
    assert set(space["trials"].index.difficulty) == {"easy", "hard95"}
    (network,) = space["scores"]["network"].unique()
    assert network == "resnet10t-random0-input_size.32"
