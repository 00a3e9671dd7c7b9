#!/bin/bash
# Call 3: a real model, SmolLM2-135M-Instruct, by GSPO through Unsloth, with held-out figures before and after.
BUDGET=${1:-250}
. "$(dirname "$0")/common.sh"
[ -f /tmp/smol/hf/config.json ] || step 90 "the model" python3 "$KIT/smol.py" /tmp/smol || exit 1
SHOW='^(model|machine|before|after|train)  |accuracy|Held-out|^note|^warn'
more=(--set output.if_exists=overwrite)  # so that the call can be repeated
[ -z "$dry" ] || more+=(--max-steps 2 --set model.backend=transformers --set data.eval.limit=4 --set data.limit=32
    --set training.per_device_train_batch_size=8 --set generation.max_completion_length=24)
for task in json smol; do
    step 150 "SmolLM2 by GSPO: $task" python3 -m gspo_lite run "$KIT/$task.yaml" --allow-outside --output "/tmp/smol/run_$task" "${more[@]}"
    mkdir -p "$KEEP/$task"
    for name in eval.json eval_samples.jsonl metrics.jsonl environment.json report.html; do cp "/tmp/smol/run_$task/$name" "$KEEP/$task/" 2>/dev/null; done
done
