"""Builds a fast tokenizer from the vocabulary in a GGUF file's metadata.

Two kinds of vocabulary are known: byte-level BPE with merges ("gpt2"), and SentencePiece with scores ("llama", which
Gemma uses, too). How text is cut before the merges is not in the file, only the name of a pre-tokenizer; an unknown
name is refused, because a wrong cut still gives a tokenizer that seems to work. Must not know weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gspo_lite.errors import UsageError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # GGUF's token types
SPACE = "\u2581"  # how SentencePiece writes a space
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Texts with which chat models end a turn; a file names only one of its end tokens, in Gemma's case the other one.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>")
ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}  # transformers' name, GGUF's name

Fields = Mapping[str, Any]  # a GGUF file's metadata as plain values


def build_tokenizer(fields: Fields) -> Any:
    """Return the tokenizer of a file, with its special tokens and chat template.

    Raises:
        UsageError: the vocabulary or its pre-tokenizer is of a kind that is not known here.
    """
    from transformers import PreTrainedTokenizerFast

    kind = fields.get("tokenizer.ggml.model")
    if kind not in VOCABULARIES:
        raise UsageError(f"its vocabulary is of the kind `{kind}`; known are {listed(VOCABULARIES)}")
    core = VOCABULARIES[kind](fields)
    tokens, ids = fields["tokenizer.ggml.tokens"], special_ids(fields)
    add_specials(core, fields)
    if fields.get("tokenizer.ggml.add_bos_token", begins_with_bos(fields)) and "bos" in ids:
        put_in_front(core, tokens[ids["bos"]], ids["bos"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, clean_up_tokenization_spaces=False, padding_side="left",
        chat_template=fields.get("tokenizer.chat_template"),
        model_max_length=fields[f"{fields['general.architecture']}.context_length"],
        **{f"{role}_token": tokens[index] for role, index in ids.items()},
    )  # fmt: skip


def special_ids(fields: Fields) -> dict[str, int]:
    """Return the ids of the special tokens that the file names, by role; the end token pads if it names no other."""
    named = {role: fields.get(f"tokenizer.ggml.{name}_token_id") for role, name in ROLES.items()}
    found = {role: index for role, index in named.items() if index is not None}
    if "eos" not in found:
        raise UsageError("it names no end token (tokenizer.ggml.eos_token_id)")
    return {"pad": found["eos"]} | found


def end_ids(fields: Fields) -> list[int]:
    """Return the ids of all tokens that end a completion, the tokenizer's own end token first."""
    named = (fields.get(f"tokenizer.ggml.{role}_token_id") for role in ("eos", "eot", "eom"))
    known = (index for index, token in of_type(fields, CONTROL) if token in TURN_ENDS)
    return list(dict.fromkeys(index for index in (*named, *known) if index is not None))


def of_type(fields: Fields, *types: int) -> list[tuple[int, str]]:
    """Return id and text of the tokens of these types."""
    pairs = zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"], strict=True)
    return [(index, token) for index, (token, kind) in enumerate(pairs) if kind in types]


def byte_level_bpe(fields: Fields) -> Any:
    """Return byte-level BPE with the file's merges, cut by the pre-tokenizer that it names."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    name = fields.get("tokenizer.ggml.pre", "default")
    if name not in CUTS:
        raise UsageError(f"its pre-tokenizer is `{name}`; known are {listed(CUTS)}")
    cut = CUTS[name]
    # Rows that only fill the embedding up are no tokens: the original tokenizer ends before them.
    vocabulary = {token: index for index, token in of_type(fields, NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE)}
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]]
    core = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=cut is llama3))
    if cut is qwen2:
        core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(cut(pre_tokenizers))
    core.decoder = decoders.ByteLevel()
    return core


def gpt2(pre: Any) -> list[Any]:
    """Cut as GPT-2 does."""
    return [pre.ByteLevel(add_prefix_space=False)]


def digits(pre: Any) -> list[Any]:
    """Cut digit by digit, the rest as GPT-2 does."""
    return [pre.Digits(individual_digits=True), *gpt2(pre)]


def qwen2(pre: Any) -> list[Any]:
    """Cut words with the sign before them, digits one by one."""
    return by_pattern(pre, CONTRACTIONS + r"\p{N}" + REST)


def llama3(pre: Any) -> list[Any]:
    """Cut words with the sign before them, digits by threes."""
    return by_pattern(pre, CONTRACTIONS + r"\p{N}{1,3}" + REST)


def by_pattern(pre: Any, pattern: str) -> list[Any]:
    """Cut by a pattern, then into bytes."""
    from tokenizers import Regex

    return [pre.Split(Regex(pattern), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]


def sentencepiece(fields: Fields) -> Any:
    """Return SentencePiece's BPE: the pair whose token has the best score is joined first; bytes for unknown text."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers.convert_slow_tokenizer import generate_merges

    tokens, scores = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    aside = [token for _, token in of_type(fields, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE)]
    merges = generate_merges(vocabulary, dict(zip(tokens, scores, strict=True)), aside)
    unknown = tokens[fields.get("tokenizer.ggml.unknown_token_id", 0)]
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", SPACE)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if fields.get("tokenizer.ggml.add_space_prefix", True):
        core.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        steps.append(decoders.Strip(" ", 1, 0))
    else:
        core.normalizer = spaces
    core.decoder = decoders.Sequence(steps)
    return core


def add_specials(core: Any, fields: Fields) -> None:
    """Mark control tokens as special, and keep tokens that a model's author added in one piece."""
    from tokenizers import AddedToken

    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for _, text in of_type(fields, CONTROL)])
    core.add_tokens([AddedToken(text, normalized=False) for _, text in of_type(fields, USER_DEFINED)])


def begins_with_bos(fields: Fields) -> bool:
    """Return whether llama.cpp puts <bos> in front of a text if the file does not say."""
    return fields["tokenizer.ggml.model"] == "llama" or CUTS.get(fields.get("tokenizer.ggml.pre", "")) is llama3


def put_in_front(core: Any, token: str, index: int) -> None:
    """Let every encoded text begin with this token."""
    from tokenizers import processors

    core.post_processor = processors.TemplateProcessing(f"{token} $A", f"{token} $A {token} $B", [(token, index)])


def listed(names: Iterable[str]) -> str:
    """Return names in backticks."""
    return ", ".join(f"`{name}`" for name in names)


VOCABULARIES: dict[Any, Callable[[Fields], Any]] = {"gpt2": byte_level_bpe, "llama": sentencepiece}
# llama.cpp's names; those in one line of its source share their cut.
CUTS: dict[str, Callable[[Any], list[Any]]] = {
    "default": gpt2, "gpt-2": gpt2, "smollm": digits, "qwen2": qwen2, "deepseek-r1-qwen": qwen2, "llama-bpe": llama3,
}  # fmt: skip
