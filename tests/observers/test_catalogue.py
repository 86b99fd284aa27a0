"""Cards are sound, names resolve on use, and outsiders have three ways in."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import numpy as np
import pytest
from support.made_trials import make_trials

from imi_bench.errors import CardError, InputError, UnknownNameError
from imi_bench.observers import catalogue
from imi_bench.observers.card import cards, read_card
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.incontext.transformer import Transformer
from imi_bench.observers.protocol import Observer, fingerprint
from imi_bench.replay.runner import replay

CARDS = cards()
CORE = [name for name, card in CARDS.items() if card.extra is None]

OUTSIDER = """
import numpy as np

class Brightness:
    name = "brightness"
    def __init__(self, *, power=1.0, seed=0):
        self.power, self.seed = power, seed
    def describe(self):
        return {"version": 1, "power": self.power, "seed": self.seed}
    def encode(self, images):
        return np.array([[image.mean() ** self.power] for image in images])
    def decide(self, trials, codes):
        level = codes[:, 0]
        contrast = level[trials.positive].mean(1) - level[trials.negative].mean(1)
        return contrast * (level[trials.queries[:, 0]] - level[trials.queries[:, 1]])

ready = Brightness(power=2.0)
not_an_observer = 3

def explode():
    raise RuntimeError("boom")
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside.py"
    path.write_text(OUTSIDER)
    return path


def test_the_shipped_cards_are_those_of_the_folder() -> None:
    folder = Path(__file__).resolve().parents[2] / "observers"
    assert sorted(path.stem for path in folder.glob("*.toml")) == sorted(CARDS)
    assert set(CARDS) >= {
        "chance",
        "one-side",
        "pixel-cosine",
        "pixel-l2",
        "ssim",
        "classical",
        "clip-vit-b32",
        "clip-rn50",
        "dinov2-vit-b14",
        "convnext-b",
        "resnet50",
    }


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_every_card_names_a_loader_that_takes_its_parameters(card) -> None:
    import inspect

    module, _, attribute = card.loader.partition(":")
    accepted = inspect.signature(getattr(import_module(module), attribute)).parameters
    others = set(card.parameters) - set(accepted)
    assert card.kind == "in-context" or not others
    for other in others:  # of the back end, which refuses what it does not know
        told = Transformer.from_options.__doc__ or ""
        assert f"``{other}``" in told
    learnt = card.kind in ("embedding", "pairwise", "in-context")
    assert learnt == (card.extra in ("vision", "perceptual", "vlm"))
    # DreamSim's are an archive that its package fetches, a vision-language model's a repository
    by_itself = card.name == "dreamsim" or card.kind == "in-context"
    assert (card.weights is not None) == (learnt and not by_itself)


@pytest.mark.parametrize("name", CORE)
def test_every_observer_without_weights_keeps_the_contract(name) -> None:
    observer = catalogue.load_observer(name)
    assert observer.name == name
    report = check(observer, sample_trials(count=2, references=3), seed=1)
    assert [p for p in report.properties if p.outcome == "fail"] == []
    assert report.fingerprint == fingerprint(catalogue.load_observer(name))


@pytest.mark.parametrize("name", CORE)
def test_the_cards_symmetry_is_that_of_the_observer(name) -> None:
    assert getattr(catalogue.load_observer(name), "symmetric", True) == CARDS[name].symmetric


def test_core_observers_have_fingerprints_of_their_own() -> None:
    prints = [fingerprint(catalogue.load_observer(name)) for name in CORE]
    assert len(set(prints)) == len(CORE)


CARD = """
name = "mine"
title = "Mine"
kind = "embedding"
loader = "a.b:c"
licence = "MIT"
training_data = "none"
human_similarity_judgements = false
[weights]
repo = "me/mine"
file = "model.safetensors"
licence = "MIT"
evidence = "I made it"
unpinned_because = "no reason"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", None),
        ('kind = "embedding"', 'kind = "oracle"', "field 'kind'"),
        ('title = "Mine"', 'title = " "', "field 'title'"),
        ('title = "Mine"', 'tittle = "Mine"', r"2 faults\).*'title'"),
        ('loader = "a.b:c"', 'loader = "a.b"', "field 'loader'"),
        ("model.safetensors", "model.bin", "field 'weights.file'"),
        ('unpinned_because = "no reason"', 'revision = "main"', "field 'weights.revision'"),
        ('unpinned_because = "no reason"', "", "either revision or unpinned_because"),
        ('name = "mine"', 'name = "yours"', "differ in name"),
        ('name = "mine"', "name = mine", "not TOML"),
    ],
)
def test_a_card_is_valid_or_refused_in_one_line(tmp_path, old, new, message) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CARD.replace(old, new) if old else CARD)
    if message is None:
        assert read_card(path).weights.revision is None
        return
    with pytest.raises(CardError, match=message) as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


@pytest.mark.whole
def test_listing_names_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from imi_bench.observers import catalogue\n"
        "assert 'clip-vit-b32' in catalogue.names()\n"
        "catalogue.load_observer('chance'); catalogue.load_observer('classical')\n"
        "heavy = {'torch', 'timm', 'open_clip', 'matplotlib', 'seaborn', 'statsmodels'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clasical", "did you mean 'classical'"),
        ("classical?poling=max", "did you mean 'pooling'"),
        ("classical?pooling=mex", "did you mean 'max'"),
        ("pixel-l2?size", "options cannot be read"),
        ("nowhere.py:Thing", "no observer file"),
        ("my_model.py", "no class named.*my_model.py:CLASS"),
    ],
)
def test_unknown_names_and_options(name, message) -> None:
    with pytest.raises(InputError, match=message):
        catalogue.load_observer(name)


def test_card_of_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'pixel-l2'"):
        catalogue.card("pixel-l3")


def test_options_override_the_card_and_stand_in_the_description() -> None:
    changed = catalogue.load_observer("pixel-l2?size=16&pooling=softmax&temperature=0.5")
    assert changed.name == "pixel-l2?size=16&pooling=softmax&temperature=0.5"
    assert changed.describe()["size"] == 16
    assert changed.describe()["comparison"] == {
        "pooling": "softmax",
        "similarity": "l2",
        "temperature": 0.5,
    }
    assert fingerprint(changed) != fingerprint(catalogue.load_observer("pixel-l2"))


def test_the_seed_reaches_chance() -> None:
    assert catalogue.load_observer("chance", seed=7).describe()["seed"] == 7


def test_an_observer_from_a_file(outside) -> None:
    observer = catalogue.load_observer(f"{outside}:Brightness", seed=4)
    assert isinstance(observer, Observer)
    assert observer.describe() == {"version": 1, "power": 1.0, "seed": 4}
    assert check(observer, sample_trials(count=3)).passed


def test_an_edit_to_the_file_makes_another_observer(outside, tmp_path) -> None:
    before = fingerprint(catalogue.load_observer(f"{outside}:Brightness"))
    assert before == fingerprint(catalogue.load_observer(f"{outside}:Brightness"))
    outside.write_text(OUTSIDER.replace("image.mean()", "-image.mean() ** 2"))
    edited = catalogue.load_observer(f"{outside}:Brightness")
    assert edited.describe() == {"version": 1, "power": 1.0, "seed": 0}
    assert fingerprint(edited) != before
    trials = make_trials()
    fresh = replay(edited, trials, cache=tmp_path / "fresh").decisions
    outside.write_text(OUTSIDER)
    replay(catalogue.load_observer(f"{outside}:Brightness"), trials, cache=tmp_path / "used")
    outside.write_text(OUTSIDER.replace("image.mean()", "-image.mean() ** 2"))
    again = replay(
        catalogue.load_observer(f"{outside}:Brightness"), trials, cache=tmp_path / "used"
    )
    np.testing.assert_array_equal(again.decisions.decision_variable, fresh.decision_variable)


def test_two_classes_that_describe_alike_are_two_observers() -> None:
    class One:
        name = "x"

        def describe(self):
            return {}

        def decide(self, trials, codes):
            return np.zeros(len(trials))

    class Other(One):
        pass

    assert fingerprint(One()) != fingerprint(Other())


def test_a_description_that_is_no_json_is_refused_in_one_line() -> None:
    class Odd:
        name = "odd"

        def describe(self):
            return {"path": Path("x")}

        def decide(self, trials, codes):
            return np.zeros(len(trials))

    with pytest.raises(InputError, match=r"describe\(\) is not a JSON object.*observer 'odd'"):
        fingerprint(Odd())


def test_a_ready_object_from_a_file(outside) -> None:
    assert catalogue.load_observer(f"{outside}:ready").describe()["power"] == 2.0


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("Brightnes", "did you mean 'Brightness'"),
        ("not_an_observer", "not an observer.*found int without name, describe, decide"),
    ],
)
def test_what_a_file_holds_must_be_an_observer(outside, attribute, message) -> None:
    with pytest.raises(InputError, match=message):
        catalogue.load_observer(f"{outside}:{attribute}")


def test_a_file_that_breaks_is_named(tmp_path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    with pytest.raises(InputError, match=r"cannot be imported: .*broken.py: found ModuleNotFound"):
        catalogue.load_observer(f"{tmp_path}/broken.py:Thing")


FAULTY = """
import sys
def raises(): raise RuntimeError("no\\nmore")
def exits(): sys.exit(0)
class Thing:
    def __init__(self): self.nothing
"""


@pytest.mark.parametrize("name", ["raises", "exits", "Thing"])
def test_what_raises_while_it_is_built_is_one_line(tmp_path, name) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    with pytest.raises(InputError, match="the observer cannot be built: ") as refused:
        catalogue.load_observer(f"{tmp_path}/faulty.py:{name}")
    assert "\n" not in str(refused.value)
    (tmp_path / "gone.py").write_text("import sys; sys.exit(0)")
    with pytest.raises(InputError, match=r"cannot be imported: .*found SystemExit: 0"):
        catalogue.load_observer(f"{tmp_path}/gone.py:Thing")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("clip-vit-b32?pooling=max", {"pooling": "max"}),
        ("timm:resnet18?input_size=64", {"architecture": "resnet18", "image_size": 64}),
        ("open_clip:RN50?pretrained=openai", {"architecture": "RN50", "pretrained": "openai"}),
        ("torchvision:resnet18?input_size=64", {"architecture": "resnet18", "image_size": 64}),
    ],
)
def test_references_are_described_as_they_would_run(name, parameters) -> None:
    shown = catalogue.described(name)
    assert shown["name"] == name
    assert {key: shown["parameters"][key] for key in parameters} == parameters
    with pytest.raises(UnknownNameError, match="option"):
        catalogue.described(f"{name}&poling=1")


@pytest.fixture
def installed(outside, monkeypatch) -> None:
    """A distribution on the path, with entry points: what pip leaves behind."""
    info = outside.parent / "outside_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[imi_bench.observers]\nbrightness = outside:Brightness\n"
        "chance = outside:Brightness\nlost = outside_lost:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(outside.parent))
    yield
    sys.modules.pop("outside", None)


@pytest.mark.usefixtures("installed")
def test_an_entry_point_of_another_package() -> None:
    assert catalogue.names()[-2:] == ["brightness", "lost"]
    observer = catalogue.load_observer("brightness?power=0.5")
    assert observer.describe()["power"] == 0.5
    values = observer.decide(
        make_trials(4).blind(seed=0).without_key(), observer.encode([np.ones((2, 2, 3))] * 40)
    )
    assert values.tolist() == [0.0] * 4


@pytest.mark.usefixtures("installed")
def test_an_entry_point_cannot_stand_in_for_a_shipped_observer() -> None:
    assert catalogue.names().count("chance") == 1
    with pytest.warns(UserWarning, match="is not used: a shipped observer has its name"):
        assert catalogue.load_observer("chance").describe()["rule"] == "chance"


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_leads_nowhere() -> None:
    assert "lost" in metadata.entry_points(group=catalogue.GROUP).names
    with pytest.raises(InputError, match=r"lost.*found ModuleNotFoundError"):
        catalogue.load_observer("lost")


class Entry:
    """An entry point that hides behind a shipped name."""

    name, value, dist = "classical", "outside:Classical", None


def test_a_plug_in_with_a_shipped_name_is_said_to_be_unused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue.metadata, "entry_points", lambda **_: EntryList([Entry()]))
    with pytest.warns(UserWarning, match="'classical' .* is not used"):
        assert catalogue.load_observer("classical").name == "classical"
    assert set(catalogue.plugins()) == {"classical"}


class EntryList(list):  # type: ignore[type-arg]
    """What `metadata.entry_points` gives."""

    @property
    def names(self) -> set[str]:
        return {entry.name for entry in self}


def test_a_plug_in_is_shown_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from imi_bench.cli.app import app

    entry = Entry()
    entry.name = "brightness"
    monkeypatch.setattr(catalogue.metadata, "entry_points", lambda **_: EntryList([entry]))
    shown = CliRunner().invoke(app, ["observers", "show", "brightness", "--json"])
    assert '"loader": "outside:Classical"' in shown.output
    assert '"kind": "plug-in"' in shown.output
