"""A hand-written GSPO loop with `gspo_loss` alone: no trainer, no recipe. Run it: python docs/own_loop.py

A batch holds input_ids, attention_mask and response_mask (B, L), rewards (B,) in groups, and optional token_advantages
(B, L). The task here: learn to answer with an even digit.
"""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gspo_lite.models.starter import starter_folder
from gspo_lite.objective import group_advantages, gspo_loss

GROUP, STEPS, MINI_BATCHES = 16, 12, 4


def token_logps(model, batch):
    """Log-probs (B, L - 1) of every token given those before it."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    return logits.log_softmax(-1).gather(2, batch["input_ids"][:, 1:, None]).squeeze(2)


def rollout(model, tokenizer, questions):
    """Sample a group of answers to each question and score them: 1 for an even last digit."""
    prompts = tokenizer([question for question in questions for _ in range(GROUP)], return_tensors="pt")
    ids = model.generate(**prompts, max_new_tokens=24, do_sample=True)
    width = prompts["input_ids"].shape[1]
    response = (ids != tokenizer.pad_token_id) & (torch.arange(ids.shape[1]) >= width)
    texts = tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)
    digits = [[c for c in text if c.isdigit()] for text in texts]
    rewards = torch.tensor([float(bool(d) and int(d[-1]) % 2 == 0) for d in digits])
    attention = ids != tokenizer.pad_token_id
    return {"input_ids": ids, "attention_mask": attention, "response_mask": response, "rewards": rewards}


def train(model, tokenizer, questions):
    """GSPO: a rollout, its old log-probs, then several optimizer steps on parts of it; mean reward of each rollout."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)
    seen = []
    for _ in range(STEPS):
        with torch.no_grad():
            batch = rollout(model, tokenizer, questions)
            batch["old"] = token_logps(model, batch)
        batch["advantages"] = group_advantages(batch["rewards"], GROUP)
        for part in torch.randperm(len(batch["rewards"])).chunk(MINI_BATCHES):
            rows = {name: value[part] for name, value in batch.items()}
            advantages, level = rows["advantages"], "sequence"
            if "token_advantages" in rows:
                advantages, level = rows["token_advantages"][:, 1:], "sequence_token"
            logps = token_logps(model, rows)
            gspo_loss(logps, rows["old"], rows["response_mask"][:, 1:], advantages, level=level).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        seen.append(batch["rewards"].mean().item())
    return seen


if __name__ == "__main__":
    torch.manual_seed(0)
    folder = starter_folder()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    print(train(model, tokenizer, ["What is 12 + 13?", "What is 27 + 35?", "What is 58 + 29?", "What is 44 + 19?"]))
