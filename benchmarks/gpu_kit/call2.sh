#!/bin/bash
# Call 2: seconds, tokens/s and memory of a training step: stock TRL, plain Unsloth, ours on each, in turns.
BUDGET=${1:-250}
. "$(dirname "$0")/common.sh"
SHOW='tokens/s|not measured'
if [ -n "$dry" ]; then step 240 "dry run" python3 benchmarks/gpu.py --dry-run --rounds 1 --json "$KEEP/dry.json"; exit; fi
step 150 1.7B python3 benchmarks/gpu.py --shapes Qwen3-1.7B --rounds 3 --json "$KEEP/1.7B.json"
step 110 "4B, Unsloth" python3 benchmarks/gpu.py --shapes Qwen3-4B --contenders unsloth "ours on unsloth" --rounds 3 --json "$KEEP/4B.json"
step 100 0.6B python3 benchmarks/gpu.py --shapes Qwen3-0.6B --rounds 3 --json "$KEEP/0.6B.json"
run="python3 benchmarks/gpu.py --json $KEEP"
step 100 "a whole step" $run/whole.json --shapes Qwen3-0.6B --contenders unsloth "ours on unsloth" --flat 0 --rounds 1 --whole
step 110 "long completions" $run/long.json --shapes Qwen3-1.7B --cases long --contenders unsloth "ours on unsloth" --rounds 2
step 100 "without packing" $run/unpacked.json --shapes Qwen3-0.6B --flat 0.5 --rounds 1 \
    --contenders "unsloth unpacked" "ours on unsloth unpacked" "ours on unsloth, credit" "ours on unsloth unpacked, credit"
