#!/bin/bash
# Call 2: seconds, tokens/s and memory of a training step: stock TRL, plain Unsloth, ours on each, in turns.
BUDGET=${1:-250}
. "$(dirname "$0")/common.sh"
SHOW='tokens/s|not measured'
if [ -n "$dry" ]; then step 240 "dry run" python3 benchmarks/gpu.py --dry-run --rounds 1 --json "$KEEP/dry.json"; exit; fi
step 150 1.7B python3 benchmarks/gpu.py --shapes Qwen3-1.7B --rounds 3 --json "$KEEP/1.7B.json"
step 110 "4B, Unsloth" python3 benchmarks/gpu.py --shapes Qwen3-4B --contenders unsloth "ours on unsloth" --rounds 3 --json "$KEEP/4B.json"
step 100 0.6B python3 benchmarks/gpu.py --shapes Qwen3-0.6B --rounds 3 --json "$KEEP/0.6B.json"
