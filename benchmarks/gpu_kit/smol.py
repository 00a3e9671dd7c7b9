"""SmolLM2-135M-Instruct from its two halves as a model folder, and two tasks to train on.

    python3 .gpu/smol.py FOLDER

The halves, in /tmp/model, are parts of a gzipped GGUF file (Q4_1). FOLDER/hf gets the model in bfloat16;
FOLDER/train.jsonl and FOLDER/test.jsonl problems that share none, each after two worked ones, which teach the form but
not the adding; FOLDER/json_train.jsonl and FOLDER/json_test.jsonl sentences of which name and age are to be written as
JSON.

What transformers reads out of a GGUF file is wrong in three places for this model, put right here: the tokenizer's end
token is the one that begins a message, the model says it is quantized and refuses to be saved, and it is named after a
checkpoint.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HALVES = [Path("/tmp/model/part-aa"), Path("/tmp/model/part-ab")]
WORKED = ((31, 46), (58, 27))
NAMES = (
    "Anna", "Tom", "Ben", "Lucy", "Sam", "Mia", "Jack", "Rosa", "Paul", "Ella", "Omar", "Kim", "Noah", "Emma", "Liam",
    "Zoe", "Max", "Ivy", "Leo", "Nora", "Carl", "Dana", "Eric", "Faye", "Gina", "Hugo",
)  # fmt: skip
SENTENCES = (
    "{} is {}.",
    "{} turned {} last week.",
    "My friend {} is {} years old.",
    "Meet {}, aged {}.",
    "{} will be {} for a few more months.",
)


def assemble(target: Path) -> None:
    """Write the GGUF file whose parts the halves are."""
    missing = [half.name for half in HALVES if not half.is_file()]
    if missing:
        sys.exit(f"missing on this machine: {missing}; bring .model-a and .model-b again, one a call")
    data = gzip.decompress(b"".join(half.read_bytes() for half in HALVES))
    if hashlib.sha256(data).hexdigest() != (HALVES[0].parent / "sha256").read_text().strip():
        sys.exit("the halves do not make the file they were cut from")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def convert(source: Path, target: Path) -> tuple[Any, Any]:
    """Write the GGUF file `source` as an ordinary folder in bfloat16; return model and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).to(torch.bfloat16)
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.config._name_or_path = "SmolLM2-135M-Instruct"
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return model, tokenizer


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def question(a: int, b: int) -> dict[str, str]:
    return {"role": "user", "content": f"What is {a} + {b}?"}


def write_additions(folder: Path) -> None:
    """Write 3595 additions to train on and 500 held out."""
    worked = []
    for a, b in WORKED:
        worked += [question(a, b), {"role": "assistant", "content": f"{a} + {b} = {a + b}\n#### {a + b}"}]
    pairs = random.Random(0).sample([(a, b) for a in range(10, 100) for b in range(a, 100)], 4095)
    rows = [{"prompt": [*worked, question(a, b)], "answer": str(a + b)} for a, b in pairs]
    write_rows(folder / "train.jsonl", rows[:3595])
    write_rows(folder / "test.jsonl", rows[3595:])


def write_sentences(folder: Path) -> None:
    """Write 500 sentences to train on and 500 held out."""
    draw = random.Random(3)
    rows = []
    for name, age in draw.sample([(name, age) for name in NAMES for age in range(5, 91)], 1000):
        answer = {"name": name, "age": age}
        schema = {
            "type": "object", "properties": {key: {"const": value} for key, value in answer.items()},
            "required": ["name", "age"], "additionalProperties": False,
        }  # fmt: skip
        prompt = [
            {"role": "system", "content": "Reply in JSON with name and age."},
            {"role": "user", "content": draw.choice(SENTENCES).format(name, age)},
        ]
        rows.append({"prompt": prompt, "answer": json.dumps(answer), "schema": json.dumps(schema)})
    write_rows(folder / "json_train.jsonl", rows[:500])
    write_rows(folder / "json_test.jsonl", rows[500:])


def main() -> None:
    folder, began = Path(sys.argv[1]), time.time()
    assemble(folder / "gguf" / "model.gguf")
    write_additions(folder)
    write_sentences(folder)
    model, tokenizer = convert(folder / "gguf" / "model.gguf", folder / "hf")
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=24, do_sample=False)
    text = tokenizer.decode(out[0, ids["input_ids"].shape[1] :])
    facts = {"model": model.num_parameters(), "eos": tokenizer.eos_token_id, "says": text}
    print("RESULT " + json.dumps({**facts, "seconds": round(time.time() - began, 1)}))
    assert "Paris" in text, "the model does not speak"


if __name__ == "__main__":
    main()
