"""Prompts computed once for their completions: TRL's log-probs and gradients, in float64, by families of models."""

import inspect
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import transformers
import trl
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from trl import GRPOTrainer

from gspo_lite.training.loss import head, logps, shared_prompt
from gspo_lite.training.loss.logps import SharedPrompts, hindrance
from gspo_lite.training.loss.rows import row_rules
from gspo_lite.training.loss.shared_prompt import blocks_of

FUSED_HEAD = getattr(trl.trainer.utils, "add_fused_lm_head", None)  # from 1.15 on TRL's trainer gives it to its model
OF_TRL = 1e-12 if FUSED_HEAD is None else 2e-6  # it computes in float32, whatever the type of the model
VOCABULARY = 97
COMMON = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "vocab_size": VOCABULARY, "max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": 1,
    "pad_token_id": 0,
}  # fmt: skip
GROUPED = {**COMMON, "num_key_value_heads": 2}
WINDOW = {**GROUPED, "head_dim": 16, "sliding_window": 7}  # shorter than prompts and completions
EXPERTS = {
    **GROUPED, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    "experts_implementation": "eager",
}  # fmt: skip
STILL = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
FAMILIES = {
    "Qwen3": {**GROUPED, "head_dim": 16},
    "Llama": GROUPED,
    "Mistral": WINDOW,
    "Gemma3": {
        **WINDOW,
        "final_logit_softcapping": 9.0,
    },  # scales embeddings, caps logits, two positions
    "Cohere": {**GROUPED, "logit_scale": 0.3},
    "Granite": {**GROUPED, "logits_scaling": 3.0},
    "GPT2": {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 2, "n_head": 4, "eos_token_id": 1, **STILL},
    "Phi": {**COMMON, "resid_pdrop": 0.0},  # a head with a bias
    "Qwen3Moe": EXPERTS,
}
FLOAT32_NORMS = 1e-6  # most families normalise in float32, whatever the type of the model
EXACT = {"GPT2", "Phi"}  # these do not
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16], [17]]
ASKED, LENGTHS, WIDTH = [0, 1, 1, 0, 2, 1, 0, 0], [12, 3, 1, 7, 5, 12, 2, 9], 12


class Trainer(SharedPrompts, GRPOTrainer):
    """TRL's log-probs and ours, with nothing else of a trainer."""

    def __init__(self, model, **changed):
        accelerator = {
            "autocast": nullcontext,
            "distributed_type": "NO",
            "mixed_precision": "no",
            "is_main_process": False,
        }
        self.accelerator = SimpleNamespace(**accelerator)
        self.args = SimpleNamespace(torch_compile=False, report_to=[])
        self.model, self.temperature, self.row_rules = model, 0.9, None
        self._entropy_bonus_enabled = self.use_liger_kernel = self._is_vlm = False
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        self.model_kwarg_keys = inspect.signature(base.forward).parameters.keys()
        if FUSED_HEAD is not None:
            FUSED_HEAD(base, temperature=self.temperature, outputs=("log_probs", "entropy"))


def model_of(family, trained="lora", **changed):
    torch.manual_seed(0)
    name = {"GPT2": "GPT2LMHeadModel"}.get(family, f"{family}ForCausalLM")
    config = getattr(transformers, {"Gemma3": "Gemma3TextConfig"}.get(family, f"{family}Config"))
    model = getattr(transformers, name)(config(**{**FAMILIES[family], **changed}))
    if trained != "full":
        targets = ["c_attn", "c_proj"] if family == "GPT2" else "all-linear"
        more = {"target_modules": ["q_proj", "lm_head"]} if trained == "head" else {"target_modules": targets}
        model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **more))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model.double().train()


def rows(asked=ASKED, lengths=LENGTHS, garbage=0):
    """Prompts on the left and completions on the right, all padding of which holds `garbage`."""
    draw, start = torch.Generator().manual_seed(1), max(len(PROMPTS[one]) for one in asked)
    ids = torch.full((len(asked), start + WIDTH), garbage)
    mask = torch.zeros_like(ids)
    for row, (one, length) in enumerate(zip(asked, lengths, strict=True)):
        prompt = PROMPTS[one]
        ids[row, start - len(prompt) : start] = torch.tensor(prompt)
        ids[row, start : start + length] = torch.randint(2, VOCABULARY, (length,), generator=draw)
        mask[row, start - len(prompt) : start + length] = 1
    return ids, mask, WIDTH


def by_prompts(trainer, batch, **options):
    trainer.shares_prompts = True
    return trainer._get_per_token_logps_and_entropies(trainer.model, *batch, **options)


def by_trl(trainer, batch, **options):
    trainer.shares_prompts = False
    return trainer._get_per_token_logps_and_entropies(trainer.model, *batch, **options)


def by_logits(trainer, batch, *, compute_entropy=False, **_):
    """The definition, on all logits of the padded batch."""
    ids, mask, width = batch
    logits = trainer.model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1]
    found = (logits / trainer.temperature).log_softmax(-1)
    chosen = found.gather(-1, ids[:, -width:, None]).squeeze(-1)
    return chosen, -(found.exp() * found).sum(-1) if compute_entropy else None, None


def scores(way, trainer, batch, **options):
    """Log-probs, entropies and the gradient of a weighted sum of both."""
    found, entropies, _ = way(trainer, batch, **options)
    used = batch[1][:, -WIDTH:].bool()
    weights = torch.randn(used.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    total = (found * weights)[used].sum()
    if entropies is not None:
        entropies = entropies[used]
        total = total + (entropies * weights[used]).sum() * trainer._entropy_bonus_enabled
    gradients = torch.autograd.grad(total, trained, materialize_grads=True)
    return found.detach()[used], entropies, torch.cat([one.flatten() for one in gradients])


def assert_same(trainer, batch, tolerance, **options):
    """The gap to the definition is at most 1e-12, of gradients `tolerance`, and to TRL as far as its head is exact."""
    ours = scores(by_prompts, trainer, batch, **options)
    for way, exact in ((by_logits, 1e-12), (by_trl, OF_TRL)):
        theirs = scores(way, trainer, batch, **options)
        assert (ours[0] - theirs[0]).abs().max() < exact
        assert theirs[1] is None or (ours[1] - theirs[1]).abs().max() < exact
        assert (ours[2] - theirs[2]).norm() <= max(tolerance, exact) * theirs[2].norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_and_gradients_are_those_of_trl(family, monkeypatch):
    trainer = Trainer(model_of(family))
    trainer._get_per_token_logps_and_entropies(trainer.model, *rows())
    assert trainer.shares_prompts
    seen = []
    monkeypatch.setattr(logps, "hidden_states", lambda *given: seen.append(given[1].tokens) or hidden(*given))
    assert_same(trainer, rows(), 1e-12 if family in EXACT else FLOAT32_NORMS, compute_entropy=True)
    assert [len(tokens) for tokens in seen] == [sum(map(len, PROMPTS)) + sum(LENGTHS)]  # each prompt once, no padding


hidden = logps.hidden_states


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("trained", ["lora", "full", "head"])
@pytest.mark.parametrize("at_once", [10**9, 5 * VOCABULARY])
def test_whatever_is_trained_and_however_memory_is_saved(trained, checkpointing, at_once, monkeypatch):
    """Logits of all tokens at once or of five; GPT-2's head is tied to its embeddings, Phi's is not."""
    if trained == "head" and FUSED_HEAD is not None:
        pytest.skip("TRL refuses an adapter on the head")
    monkeypatch.setattr(head, "LOGITS_AT_ONCE", at_once)
    seen, logits = [], head.Head.logits
    monkeypatch.setattr(head.Head, "logits", lambda *given: seen.append(len(given[1])) or logits(*given))
    model = model_of("Phi" if trained == "head" else "GPT2", trained)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    trainer = Trainer(model)
    trainer._entropy_bonus_enabled = True  # entropies have a gradient
    assert_same(trainer, rows(), 1e-12, compute_entropy=True)
    assert max(seen) == min(at_once // VOCABULARY, sum(LENGTHS))


@pytest.mark.parametrize(
    ("asked", "lengths"),
    [([0], [4]), ([0, 1, 2], [4, 12, 1]), ([2, 2], [0, 3]), ([1, 1, 0], [12, 12, 12]), ([1] * 4, [1] * 4)],
    ids=["one row", "no prompt twice", "an empty row", "equal lengths", "one token each"],
)
def test_any_shape_of_a_micro_batch(asked, lengths):
    assert_same(Trainer(model_of("GPT2")), rows(asked, lengths), 1e-12)


def test_padding_changes_nothing():
    trainer = Trainer(model_of("Qwen3"))
    clean, other = (scores(by_prompts, trainer, rows(garbage=value)) for value in (0, 33))
    assert all(torch.equal(one, two) for one, two in zip((clean[0], clean[2]), (other[0], other[2]), strict=True))


def test_rows_are_taken_at_most_as_many_at_a_time_as_is_asked(monkeypatch):
    seen = []
    monkeypatch.setattr(logps, "blocks_of", lambda ids, *rest: seen.append(len(ids)) or blocks_of(ids, *rest))
    assert_same(Trainer(model_of("GPT2")), rows(), 1e-12, batch_size=3)
    assert seen == [3, 3, 2]


@pytest.mark.parametrize("place", [(3, 11), (1, 4)], ids=["in a completion", "in a prompt"])
def test_rows_with_a_gap_are_left_to_trl(place):
    ids, mask, width = rows()
    assert blocks_of(ids, mask, width) is not None
    mask[place] = 0
    assert blocks_of(ids, mask, width) is None
    trainer = Trainer(model_of("GPT2"))
    ours, theirs = (scores(way, trainer, (ids, mask, width)) for way in (by_prompts, by_trl))
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[2], theirs[2])


@pytest.mark.parametrize("at_most", [1, 3])
def test_completions_of_similar_lengths_meet_in_attention(at_most, monkeypatch):
    monkeypatch.setattr(shared_prompt, "PARTS", at_most)
    monkeypatch.setattr(shared_prompt, "PART_COST", 0)
    found = [part.queries.shape for part in blocks_of(*rows()).parts]
    # 12, 12, 9, 7, 5, 3, 2 and 1 tokens; their prompts have 3, 9, 3, 3, 1, 9, 3 and 9
    assert found == [(3, 9), *{1: [(8, 12)], 3: [(2, 12), (3, 9), (3, 3)]}[at_most]]
    assert_same(Trainer(model_of("Gemma3")), rows(), FLOAT32_NORMS)


@pytest.mark.parametrize(
    ("family", "changed", "why"),
    [
        ("Llama", {"attn_implementation": "eager"}, "attention is `eager`"),
        ("Llama", {"attention_dropout": 0.1}, "dropout"),
        ("GPT2", {"resid_pdrop": 0.1}, "dropout"),
        ("Qwen3", {"layer_types": ["full_attention", "linear_attention"]}, "not only attention"),
    ],
)
def test_what_a_model_must_not_have(family, changed, why):
    later = {name: changed.pop(name) for name in ("layer_types",) if name in changed}
    trainer = Trainer(model_of(family, "full", **changed))
    for name, value in later.items():
        setattr(trainer.model.config, name, value)
    assert why in hindrance(trainer)


def test_a_prompt_of_the_adapters_own_and_several_processes_are_left_to_trl():
    trainer = Trainer(model_of("Llama", "full"))
    assert hindrance(trainer) == ""
    trainer.accelerator.distributed_type = "MULTI_GPU"
    assert "processes" in hindrance(trainer)
    tuned = get_peft_model(trainer.model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert "prompt of its own" in hindrance(Trainer(tuned))


def test_a_model_that_computes_something_else_is_left_to_trl(capsys):
    """OPT counts positions by the mask; one difference is enough to leave every row to TRL."""
    sizes = {"hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "dropout": 0.0}
    config = transformers.OPTConfig(vocab_size=VOCABULARY, word_embed_proj_dim=64, **sizes)
    trainer = Trainer(transformers.OPTForCausalLM(config).double().train())
    trainer.row_rules = row_rules("grpo", beta=0, entropy=False, aux_loss=False, rotary=True, processes=1, shared=True)
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, trainer.model, *rows())[0]
    assert torch.equal(trainer._get_per_token_logps_and_entropies(trainer.model, *rows())[0], theirs)
    assert trainer.shares_prompts is trainer.row_rules.shared is False
    trainer._get_per_token_logps_and_entropies(trainer.model, *rows())
    assert capsys.readouterr().err.count("log-probs of OPTForCausalLM would differ by") == 1
