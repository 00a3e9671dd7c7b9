"""One prompt in ten kinds of chat model: training and evaluation ask the same tokens, and end at the same tokens."""

import json
from types import SimpleNamespace

import pytest

from gspo_lite import load_recipe
from gspo_lite.load_parts import load_parts
from gspo_lite.models import generate
from gspo_lite.models.defaults import end_tokens
from gspo_lite.training import build
from gspo_lite.training.sampling import end_at_every_token, heeded_ends
from tests.models.chat_families import CHAT, FAMILIES, write_family

OTHER = [CHAT[0], {"role": "user", "content": "Größer als 3,\n oder?"}]
TRAINED_ON = [[CHAT[0], {"role": "user", "content": f"1 + {n}?"}] for n in range(8)]
SETTINGS = [
    "model.backend=transformers", "model.load_in_4bit=false", "data.source=rows.jsonl", "data.subset=null",
    "data.prompt=plain", "rewards=[{name: boxed_format}]", "generation.num_generations=2",
    "generation.max_completion_length=4", "generation.max_prompt_length=200", "model.max_seq_length=300",
    "training.per_device_train_batch_size=4", "training.max_steps=1",
    "data.eval={source: held.jsonl, batch_size: 2}",
]  # fmt: skip


@pytest.fixture(scope="module")
def parts_of(tmp_path_factory):
    """Load a family as a run does, once for the module."""
    folder, loaded = tmp_path_factory.mktemp("families"), {}
    for name, chats in (("rows", TRAINED_ON), ("held", [CHAT, OTHER])):
        lines = [json.dumps({"prompt": chat, "answer": "4"}) for chat in chats]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))

    def parts(name):
        if name not in loaded:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                model = write_family(FAMILIES[name], folder / name)
                kwargs = json.dumps(FAMILIES[name].kwargs)
                settings = [*SETTINGS, f"model.name={model}", f"model.chat_template_kwargs={kwargs}"]
                loaded[name] = load_parts(load_recipe("quickstart", settings, output="out").recipe)
        return loaded[name]

    return parts


@pytest.fixture
def asked(parts_of, tmp_path, monkeypatch):
    """Token ids of the same two prompts in a rollout and in an evaluation."""

    def ids_of(name):
        parts, seen = parts_of(name), []
        model, processing, rows = parts.loaded.model, parts.loaded.processing_class, list(parts.problems.held_out)
        trainer = build.build_trainer(
            parts.recipe, tmp_path, model, processing, parts.rewards, parts.problems.train, parts.args
        )
        trainer.model.train()
        output = trainer._generate_and_score_completions([row for row in rows for _ in range(2)])
        pairs = zip(output["prompt_ids"][::2], output["prompt_mask"][::2].bool(), strict=True)
        trained = [ids[mask].tolist() for ids, mask in pairs]
        real = model.generate
        with monkeypatch.context() as patch:
            patch.setattr(model, "generate", lambda **batch: seen.append(batch) or real(**batch))
            generate.answer(model, processing, rows, parts.recipe, None)
        pairs = zip(seen[0]["input_ids"], seen[0]["attention_mask"].bool(), strict=True)
        evaluated = [ids[mask].tolist() for ids, mask in pairs]
        return trained, evaluated[::-1], trainer  # the longest is answered first

    return ids_of


@pytest.mark.parametrize("name", FAMILIES)
def test_training_and_evaluation_ask_the_same_tokens(name, parts_of, asked):
    trained, evaluated, trainer = asked(name)
    tokenizer, family = parts_of(name).loaded.processing_class, FAMILIES[name]
    assert evaluated == trained
    assert tokenizer.decode(trained[0]) == family.prompt
    ends = set(tokenizer.convert_tokens_to_ids(list(family.ends)))
    assert end_tokens(trainer.model, tokenizer) == ends
    one = not hasattr(trainer, "eos_token_ids")  # before TRL 1.14
    assert heeded_ends(trainer) == ({tokenizer.eos_token_id} if one else ends)


def test_when_evaluation_drops_a_message_all_ten_differ(asked, monkeypatch):
    real = generate.model_inputs

    def broken(processing, rows, kwargs):
        return real(processing, [{**row, "prompt": row["prompt"][1:]} for row in rows], kwargs)

    monkeypatch.setattr(generate, "model_inputs", broken)
    pairs = [asked(name)[:2] for name in FAMILIES]
    assert len(pairs) == 10
    assert [trained for trained, evaluated in pairs if trained == evaluated] == []


def ending(ends):
    """A trainer whose model ends at 2 and 7, its tokenizer at 2."""
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[2, 7]))
    tokenizer = SimpleNamespace(eos_token_id=2, convert_ids_to_tokens=lambda ids: [f"<{one}>" for one in ids])
    vllm = SimpleNamespace(generation_kwargs={"stop_token_ids": [9], "seed": 1})
    return SimpleNamespace(
        args=SimpleNamespace(use_vllm=True), vllm_generation=vllm, model=model, processing_class=tokenizer, **ends
    )


def test_vllm_ends_completions_at_the_same_tokens():
    trainer = ending({"eos_token_ids": [7, 2]})
    end_at_every_token(trainer)
    assert trainer.vllm_generation.generation_kwargs == {"stop_token_ids": [2, 7, 9], "seed": 1}


def test_vllm_ends_nowhere_where_full_length_is_asked_for():
    trainer = ending({"eos_token_ids": [7, 2]})
    trainer.vllm_generation.generation_kwargs = {"ignore_eos": True}
    end_at_every_token(trainer)
    assert trainer.vllm_generation.generation_kwargs == {"ignore_eos": True}


def test_a_trl_that_knows_one_end_token_is_said(capsys):
    trainer = ending({})  # as before 1.14
    end_at_every_token(trainer)
    assert trainer.vllm_generation.generation_kwargs["stop_token_ids"] == [2, 9]
    assert "completions do not end at `<7>`, which the installed TRL does not know" in capsys.readouterr().err
