"""Local vision-language models: random ones of three families, scored by likelihood."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tiny_vlm import MAKERS

from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.incontext.prompt import OPTIONS, Prompt, Shown, lay_out
from imi_bench.observers.incontext.transformer import Transformer

pytestmark = [pytest.mark.vision, pytest.mark.filterwarnings("ignore::Warning")]


def trial(seed: int, answer: str | None = None) -> Shown:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 255, (28, 28, 3)).astype(np.uint8) for _ in range(20)]
    return lay_out(images[:9], images[9:18], (images[18], images[19]), side=28, answer=answer)


def prompt(count: int) -> Prompt:
    return Prompt(tuple(trial(i, OPTIONS[i % 2]) for i in range(count)), trial(99))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[] if name == "llava" else [pytest.mark.whole])
        for name in sorted(MAKERS)
    ],
)
def family(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    return (request.param, *MAKERS[request.param]())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_likelihoods_are_those_of_a_plain_forward_pass(
    family: tuple[str, Any, Any], count: int
) -> None:
    """By hand: the whole conversation with the answer in it, and the log-softmax at its tokens."""
    import torch
    from PIL import Image

    name, model, processor = family
    asked = prompt(count)
    found = Transformer(model, processor, identity={"model": name})(asked)
    for option, value in zip(OPTIONS, (found.first, found.second), strict=True):
        turns = []
        for one in (*asked.shots, Shown(asked.question.parts, option)):
            content = [
                {"type": "text", "text": p} if isinstance(p, str) else {"type": "image"}
                for p in one.parts
            ]
            answer = [{"type": "text", "text": one.answer}]
            turns += [
                {"role": "user", "content": content},
                {"role": "assistant", "content": answer},
            ]
        text = processor.apply_chat_template(turns, tokenize=False)
        text = text[: text.rindex(option) + 1]
        images = [Image.fromarray(image) for image in asked.images]
        inputs = processor(text=[text], images=images, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs).logits[0].double().log_softmax(-1)
        ids = inputs["input_ids"][0].tolist()
        tokens = 2 if name == "idefics3" else 1  # " A" where the prompt does not end in a space
        by_hand = sum(float(logits[-1 - k, ids[-k]]) for k in range(1, tokens + 1))
        assert value == pytest.approx(by_hand, abs=1e-4)
    assert found.mass == pytest.approx(math.exp(found.first) + math.exp(found.second))


def test_a_cached_prefix_gives_what_the_whole_prompt_gives(family: tuple[str, Any, Any]) -> None:
    name, model, processor = family
    cached = Transformer(model, processor, identity={"model": name})
    whole = Transformer(model, processor, identity={"model": name}, prefix_cache=False)
    shots = prompt(2).shots
    for seed in (5, 6, 7):
        asked = Prompt(shots, trial(seed))
        assert cached(asked).difference == pytest.approx(whole(asked).difference, abs=1e-4)
    states = {"llava": "used", "idefics3": "not used yet", "qwen2_vl": "given up"}
    assert cached.prefix_state.startswith(states[name])


def test_saved_and_loaded_by_name_it_answers_the_same(
    family: tuple[str, Any, Any], tmp_path: Path
) -> None:
    name, model, processor = family
    model.save_pretrained(tmp_path / "vlm")
    processor.save_pretrained(tmp_path / "vlm")
    loaded = load_observer(
        f"vlm:hf/{tmp_path / 'vlm'}?ledger={tmp_path / 'ledger.db'}", device="cpu"
    )
    asked = prompt(1)
    again = loaded.model(asked)  # type: ignore[attr-defined]
    before = Transformer(model, processor, identity={"model": name})(asked)
    assert again.difference == pytest.approx(before.difference, abs=1e-4)
    assert loaded.describe()["model"]["weights"]
    assert str(tmp_path) not in str(loaded.describe())


def test_bad_models_are_one_line(tmp_path: Path) -> None:
    model, processor = MAKERS["llava"]()
    processor.chat_template = None
    with pytest.raises(InputError, match="without a chat template"):
        Transformer(model, processor, identity={"model": "base"})
    with pytest.raises(NetworkError, match="cannot be loaded"):
        load_observer(f"vlm:hf/{tmp_path / 'nothing'}?ledger={tmp_path / 'l.db'}")
    with pytest.raises(InputError, match="a folder has no revision"):
        load_observer(f"vlm:hf/{tmp_path}?revision=abc&ledger={tmp_path / 'l.db'}")
    with pytest.raises(InputError, match="option prefix_cache"):
        load_observer(f"vlm:hf/{tmp_path}?prefix_cache=maybe&ledger={tmp_path / 'l.db'}")
    with pytest.raises(UnknownNameError, match="did you mean 'revision'"):
        load_observer(f"vlm:hf/x?revison=1&ledger={tmp_path / 'l.db'}")


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    model, processor = MAKERS["llava"]()
    model.config.text_config.max_position_embeddings = 200
    with pytest.raises(InputError, match="does not fit"):
        Transformer(model, processor, identity={"model": "short"})(prompt(2))


def test_the_beginning_is_written_once(family: tuple[str, Any, Any]) -> None:
    """A tokenizer that adds the token of the beginning, and a template that writes it too."""
    import copy

    from tokenizers import processors

    name, model, processor = family
    plain = Transformer(model, processor, identity={"model": name})
    adding = copy.deepcopy(processor)
    tok = adding.tokenizer
    tok.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tok.convert_tokens_to_ids("<s>"))]
    )
    asked = prompt(0)
    first = Transformer(model, adding, identity={"model": name})
    assert first.tokens(asked) == plain.tokens(asked) + 1  # the template writes none
    adding.chat_template = "<s>" + processor.chat_template
    both = Transformer(model, adding, identity={"model": name})
    assert both.tokens(asked) == plain.tokens(asked) + 1
    assert both(asked).difference == pytest.approx(first(asked).difference, abs=1e-5)


def test_a_template_with_an_a_of_its_own_before_the_letter() -> None:
    import copy

    model, processor = MAKERS["llava"]()
    said = copy.deepcopy(processor)
    said.chat_template = processor.chat_template.replace(
        "{{ m['role'] }}: ", "{{ m['role'] }}: {% if m['role'] == 'assistant' %}Answer {% endif %}"
    )
    found = Transformer(model, said, identity={"model": "llava"}).option_tokens(prompt(0))
    assert [said.tokenizer.decode(found[o]) for o in OPTIONS] == ["Answer A", "Answer B"]


def test_many_trials_at_once_get_what_each_gets_alone(family: tuple[str, Any, Any]) -> None:
    from support.bright_trials import bright_trials

    from imi_bench.observers.incontext.observer import InContext
    from imi_bench.observers.incontext.shots import Shots

    name, model, processor = family
    pool, trials = bright_trials(2, seed=5), bright_trials(3)
    shots = Shots(pool, 1, side=28)
    made = Transformer(model, processor, identity={"model": name})
    observer = InContext(made, identity=made.identity, shots=shots, side=28)
    blind = trials.blind(seed=0).without_key()
    together = observer.decide(blind).decision_variable
    for row in (2, 0, 1):
        fresh = Transformer(model, processor, identity={"model": name}, prefix_cache=False)
        alone = InContext(fresh, identity=fresh.identity, shots=shots, side=28)
        one = trials.take(np.array([row])).blind(seed=0).without_key()
        value = alone.decide(one).decision_variable
        # which query is shown first may differ: that turns the sign, exactly
        assert abs(value[0]) == pytest.approx(abs(together[row]), abs=1e-4)
