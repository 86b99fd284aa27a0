"""The report: its numbers against references, its page against what a page must be."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.made_trials import make_index, make_trials

from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError
from imi_bench.report.browser import ease_of, make_browser
from imi_bench.report.contents import ObserverRun, ReportData, write_report_data
from imi_bench.report.figures import PANEL, Dot, Figure, Pairs, dots, looks_of, scatter
from imi_bench.report.page import render
from imi_bench.report.reading import read_report_data
from imi_bench.report.summary import Stratum, Summary, proportion_correct, summarise
from imi_bench.stats.estimate import Estimate
from imi_bench.stimuli.trial_files import write_trials
from imi_bench.tables import DecisionVariables, Responses, Study, Trials

COUNT = 24


def make_run(trials: Trials, name: str, correct: np.ndarray) -> ObserverRun:
    """A run whose evidence is right where `correct` is 1, wrong at 0, a tie at one half."""
    key = trials.blind(seed=0).key
    assert key is not None
    strength = np.linspace(1, 2, len(correct)) * np.sign(np.asarray(correct) - 0.5)
    values = np.where(key.first_is_positive, strength, -strength)
    return ObserverRun(DecisionVariables.from_values(values, observer=name, key=key))


def make_study(trials: Trials, *, share: np.ndarray, people: int = 8) -> Study:
    """`people` answers a trial, of which the share given is correct."""
    correct = np.arange(people)[None, :] < np.round(share * people)[:, None]
    count = len(trials)
    answers = Responses(
        trial_id=np.repeat(trials.index.trial_id, people),
        participant=np.tile([f"S{p}" for p in range(people)], count),
        correct=correct.ravel(),
        chose_first=np.full(count * people, np.nan),
        confidence=np.full(count * people, np.nan),
        seconds=np.full(count * people, np.nan),
        simulated=True,
        source="made for a test",
    )
    return Study(trials.index, answers)


@pytest.fixture(scope="module")
def trials() -> Trials:
    return renamed(make_trials(COUNT))


def renamed(trials: Trials, **columns: object) -> Trials:
    """The same trials, two to a unit of one layer, with other columns."""
    index = make_index(len(trials), **{"layer": ["layer"] * len(trials), **columns})
    return Trials(index, trials.images, trials.positive, trials.negative, trials.queries)


@pytest.fixture(scope="module")
def alone(trials: Trials) -> ReportData:
    """One observer, nobody else."""
    right = np.arange(COUNT) % 4 != 0
    return ReportData("A page", trials, (make_run(trials, "a-machine", right),))


@pytest.fixture(scope="module")
def held(trials: Trials) -> ReportData:
    """Three observers and a panel."""
    rng = np.random.default_rng(0)
    runs = tuple(
        make_run(trials, name, rng.random(COUNT) < p)
        for name, p in (("good", 0.9), ("fair", 0.7), ("chance", 0.5))
    )
    study = make_study(trials, share=rng.uniform(0.4, 1, COUNT))
    notes = {str(unit): "planted" for unit in trials.index.unit_id}
    return ReportData("A page with people", trials, runs, study, notes)


@pytest.fixture(scope="module")
def summary(held: ReportData) -> Summary:
    return summarise(held, n_resamples=200)


@pytest.fixture(scope="module")
def page(held: ReportData, summary: Summary) -> str:
    return render(held, summary)


# ---------------------------------------------------------------- numbers


def test_proportions_by_hand(trials: Trials) -> None:
    credit = np.tile([1.0, 0.0, 0.5, 1.0], COUNT // 4)
    exhibit = ReportData("x", trials, (make_run(trials, "o", credit),))
    found = proportion_correct(exhibit, np.ones(COUNT, bool), run=exhibit.runs[0])
    assert found.value == 0.625
    assert (found.n, found.clusters) == (COUNT, COUNT // 2)
    assert found.low < 0.625 < found.high


def test_catch_trials_do_not_count() -> None:
    trials = renamed(make_trials(4), catch=[False, False, False, True])
    exhibit = ReportData("x", trials, (make_run(trials, "o", np.array([1, 0, 1, 0])),))
    found = summarise(exhibit, n_resamples=20).correct["o", Stratum()]
    assert found.value == pytest.approx(2 / 3)
    assert found.n == 3
    only = renamed(make_trials(2), catch=[True, True])
    with pytest.raises(NotEnoughDataError, match="no trial but catch trials"):
        summarise(ReportData("x", only, (make_run(only, "o", np.array([1, 0])),)))


def test_an_observer_without_error_gets_the_exact_interval(trials: Trials) -> None:
    """All of 12 units right: the exact 95% interval begins at 0.025 ** (1 / 12)."""
    exhibit = ReportData("x", trials, (make_run(trials, "o", np.ones(COUNT)),))
    found = proportion_correct(exhibit, np.ones(COUNT, bool), run=exhibit.runs[0])
    assert found.low == pytest.approx(0.025 ** (1 / 12))
    assert found.high == 1.0
    wrong = ReportData("x", trials, (make_run(trials, "o", np.zeros(COUNT)),))
    found = proportion_correct(wrong, np.ones(COUNT, bool), run=wrong.runs[0])
    assert (found.low, found.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 12)))


def test_units_all_alike_give_no_interval(trials: Trials) -> None:
    """Every unit has one of its two trials right: units cannot show any spread."""
    exhibit = ReportData("x", trials, (make_run(trials, "o", np.tile([1, 0], COUNT // 2)),))
    found = proportion_correct(exhibit, np.ones(COUNT, bool), run=exhibit.runs[0])
    assert found.value == 0.5
    assert np.isnan(found.low)
    assert "same in every unit" in found.reason


def test_strata_add_up(held: ReportData, summary: Summary) -> None:
    """Trials of the modes add up to all, and so does credit."""
    for name in ("good", PANEL):
        whole = summary.correct[name, Stratum()]
        parts = [summary.correct[name, Stratum(mode=mode)] for mode in ("natural", "synthetic")]
        assert sum(part.n for part in parts) == whole.n
        assert sum(part.n * part.value for part in parts) == pytest.approx(whole.n * whole.value)


def test_the_panel_by_hand(held: ReportData, summary: Summary) -> None:
    assert held.study is not None
    found = summary.correct[PANEL, Stratum()]
    assert found.value == pytest.approx(held.study.responses.correct.mean())
    assert found.n == len(held.study.responses)


def test_no_seed_moves_a_proportion(held: ReportData) -> None:
    keep = np.ones(COUNT, bool)

    def with_seed(seed: int) -> Estimate:
        exhibit = ReportData("x", held.trials, held.runs, held.study, seed=seed)
        return proportion_correct(exhibit, keep, run=held.runs[1])

    assert with_seed(1) == with_seed(2)


# ---------------------------------------------------------------- exhibits


def test_runs_on_other_trials_are_refused(trials: Trials) -> None:
    fewer = trials.take(np.arange(COUNT - 1))
    with pytest.raises(NotComparableError, match="run on other trials"):
        ReportData("x", trials, (make_run(fewer, "o", np.ones(COUNT - 1)),))


def test_two_runs_of_one_name_are_refused(trials: Trials) -> None:
    run = make_run(trials, "o", np.ones(COUNT))
    with pytest.raises(InputError, match="one run an observer"):
        ReportData("x", trials, (run, run))


def test_labels_drop_options_while_that_is_unique(trials: Trials) -> None:
    names = ("timm:a?seed=0", "clip?pooling=max", "clip?pooling=mean")
    runs = tuple(make_run(trials, name, np.ones(COUNT)) for name in names)
    assert list(ReportData("x", trials, runs).labels.values()) == ["timm:a", *names[1:]]


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the folder that `imi-bench demo` or"):
        read_report_data(tmp_path)


def test_a_study_folder_that_is_damaged(tmp_path: Path, held: ReportData) -> None:
    write_trials(held.trials, tmp_path)
    write_report_data(held, tmp_path)
    (tmp_path / "responses.json").unlink()
    with pytest.raises(InputError, match=r"of unknown origin.*wanted simulated, source"):
        read_report_data(tmp_path)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(InputError, match=r"study\.json"):
        read_report_data(tmp_path)


# ---------------------------------------------------------------- browser


def test_easiest_first_by_the_panel(trials: Trials) -> None:
    share = np.linspace(0, 1, COUNT)
    run = make_run(trials, "o", np.ones(COUNT))
    exhibit = ReportData("x", trials, (run,), make_study(trials, share=share, people=COUNT - 1))
    browser = make_browser(exhibit)
    shown = [trial["id"] for trial in browser.payload["trials"]]
    assert shown == list(reversed(trials.index.trial_id.tolist()))
    first = browser.payload["trials"][0]["panel"]
    assert first[:2] == [COUNT - 1, COUNT - 1]
    assert "panel" in browser.order


def test_easiest_first_by_evidence_without_people(alone: ReportData) -> None:
    ease, meaning = ease_of(alone)
    toward = alone.runs[0].decisions.toward_correct
    assert np.argsort(-ease, kind="stable").tolist() == np.argsort(-toward).tolist()
    assert "evidence for the correct query" in meaning


def test_marks_say_right_wrong_tie_and_none(trials: Trials) -> None:
    key = trials.blind(seed=0).key
    assert key is not None
    sign = np.where(key.first_is_positive, 1.0, -1.0)
    values = sign * np.tile([3.0, 0.0, np.nan, -3.0], COUNT // 4)
    run = ObserverRun(DecisionVariables.from_values(values, observer="o", key=key))
    payload = make_browser(ReportData("x", trials, (run,))).payload
    of_trial = {
        t["id"]: m for t, m in zip(payload["trials"], payload["observers"][0]["marks"], strict=True)
    }
    assert [of_trial[f"t{i}"] for i in range(4)] == ["1", "t", "-", "0"]
    first = {
        t["id"]: f for t, f in zip(payload["trials"], payload["observers"][0]["first"], strict=True)
    }
    assert [first[f"t{i}"] == "1" for i in range(COUNT)] == key.first_is_positive.tolist()


def test_pictures_of_a_trial_are_its_own(alone: ReportData) -> None:
    payload = make_browser(alone).payload
    trial = payload["trials"][0]
    assert len(trial["positive"]) == len(trial["negative"]) == 3
    shown = [*trial["positive"], *trial["negative"], *trial["queries"]]
    assert len(set(shown)) == 8
    assert all(payload["images"][row].startswith("data:image/webp;base64,") for row in shown)


# ---------------------------------------------------------------- figures


def draw() -> Figure:
    points = [
        Dot("o", "row <b>", "natural", Estimate(0.7, 0.6, 0.8, n=10, clusters=5, method="m")),
        Dot("o", "other $x$", "natural", Estimate.undefined("none", n=0)),
    ]
    return dots(
        points,
        name="f",
        title="t",
        caption="c",
        alt="a",
        axis="proportion correct",
        labels={},
        looks=looks_of(["o"]),
    )


def test_a_figure_is_the_same_bytes_again_and_follows_the_page() -> None:
    one, two = draw(), draw()
    assert one.svg == two.svg
    assert one.svg.startswith("<svg")
    assert "var(--ink)" in one.svg
    assert not re.search(r"#0(10203|40506|70809)", one.svg)
    assert "<metadata" not in one.svg


def test_a_figure_escapes_and_keeps_its_labels() -> None:
    svg = draw().svg
    assert "row &lt;b&gt;" in svg
    assert "other $x$" in svg


def test_ids_in_figures_do_not_clash() -> None:
    ids = re.findall(r'\bid="([^"]+)"', draw().svg)
    assert all(name.startswith("f-") for name in ids)
    used = re.findall(r'(?:url\(#|href="#)([^")]+)', draw().svg)
    assert set(used) <= set(ids)


def test_the_numbers_stand_beside_the_figure() -> None:
    figure = draw()
    assert figure.header[-3:] == ("proportion correct [95% interval]", "n", "clusters")
    assert figure.table[0][-3:] == ("0.700 [0.600, 0.800]", "10", "5")
    assert figure.table[1][-3] == "undefined (none)"


def test_scatter_takes_panes_in_any_number() -> None:
    x = np.linspace(0, 1, 5)
    panes = [Pairs(f"o{i}", x, x, x - 0.1, x + 0.1, note="n") for i in range(4)]
    figure = scatter(
        panes,
        name="s",
        title="t",
        caption="c",
        alt="a",
        axes_labels=("x", "y"),
        looks=looks_of([p.title for p in panes]),
        labels={},
        joined=True,
        answers=20,
    )
    assert len(figure.table) == 4


# ---------------------------------------------------------------- the page


class Outline(HTMLParser):
    """What a page consists of."""

    _VOID = frozenset({"meta", "link", "img", "br", "input", "path", "use", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [facts for name, facts in self.tags if name == tag]


def test_the_page_is_well_formed_and_accessible(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert outline.all("html")[0]["lang"] == "en"
    assert all(facts.get("alt") for facts in outline.all("img"))
    assert all(facts.get("scope") for facts in outline.all("th"))
    assert sum(tag == "h1" for tag, _ in outline.tags) == 1
    ids = [facts["id"] for _, facts in outline.tags if facts.get("id")]
    assert len(ids) == len(set(ids))
    labelled = {f.get("aria-labelledby") for _, f in outline.tags} - {None}
    assert labelled <= set(ids)


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    outline = Outline(page)
    for _, facts in outline.tags:
        for name in ("src", "href", "xlink:href", "action"):
            value = facts.get(name) or "#"
            assert value.startswith(("#", "data:")), value
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_is_the_same_bytes_again(held: ReportData, page: str) -> None:
    assert render(held, summarise(held, n_resamples=200)) == page


def test_the_page_says_that_it_is_simulated(page: str, alone: ReportData) -> None:
    assert "Simulated data." in page
    assert "participants on this page were made up" in page
    plain = render(alone, summarise(alone, n_resamples=20))
    assert "Simulated data" not in plain
    assert "No human answers were given" in plain
    for figure in ("agreement", "units", "reliability"):
        assert f'id="figure-{figure}"' in page
        assert f'id="figure-{figure}"' not in plain


def test_table_rows_and_order(page: str) -> None:
    rows = re.findall(r'<tr><th scope="row">([^<]+)', page[: page.index('id="figures"')])
    assert rows == ["good", "fair", "Simulated panel", "chance"]


def test_names_cannot_become_markup(trials: Trials) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    hostile = renamed(trials, network=[evil] * COUNT)
    exhibit = ReportData(evil, hostile, (make_run(hostile, evil, np.ones(COUNT)),), unit_notes={})
    html = render(exhibit, summarise(exhibit, n_resamples=20))
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    kinds = [tag.get("type", "") for tag in Outline(html).all("script")]
    assert kinds == ["", "application/json", ""]  # theme, payload, trial browser


def test_published_means_stand_beside_a_network_of_the_paper(trials: Trials) -> None:
    known = renamed(trials, network=["googlenet"] * COUNT)
    exhibit = ReportData("x", known, (make_run(known, "o", np.arange(COUNT) % 3 > 0),))
    html = render(exhibit, summarise(exhibit, n_resamples=20))
    assert "People, as published" in html
    assert "0.879 [0.852, 0.900]" in html


def test_one_trial_of_one_unit(trials: Trials) -> None:
    """The smallest run there is."""
    few = trials.take(np.arange(1))
    exhibit = ReportData("x", few, (make_run(few, "o", np.ones(1)),))
    html = render(exhibit, summarise(exhibit, n_resamples=20))
    assert "no interval" in html or "[0.025, 1.000]" in html


def test_coordinates_are_rounded_and_names_are_not() -> None:
    figure = dots(
        [Dot("o", "net 1.23456", "", Estimate(2 / 3, 0.5, 0.9, n=3, clusters=3, method="m"))],
        name="f",
        title="t",
        caption="c",
        alt="a",
        axis="x",
        labels={},
        looks=looks_of(["o"]),
    )
    assert "net 1.23456" in figure.svg
    tags = "".join(re.findall(r"<[^>]+>", figure.svg))
    assert not re.search(r"\d\.\d{3,}", tags)
