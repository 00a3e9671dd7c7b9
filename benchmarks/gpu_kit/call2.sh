#!/bin/bash
# Call 2: seconds, tokens/s and memory of a training step: stock TRL, plain Unsloth, ours on each, in turns.
BUDGET=${1:-250}
. "$(dirname "$0")/common.sh"
SHOW='tokens/s|not measured'
credit=("unsloth unpacked" "ours on unsloth unpacked" "ours on unsloth, credit" "ours on unsloth unpacked, credit")
run="python3 benchmarks/gpu.py --json $KEEP"
if [ -n "$dry" ]; then
    step 240 "dry run" $run/dry.json --dry-run --rounds 1 --whole
    step 240 "dry run, without packing" $run/dry_unpacked.json --dry-run --rounds 1 --flat 0.5 --contenders "${credit[@]}"
    exit
fi
step 150 1.7B $run/1.7B.json --shapes Qwen3-1.7B --rounds 3
step 100 "a whole step" $run/whole.json --shapes Qwen3-0.6B --contenders trl unsloth "ours on unsloth" --flat 0 --rounds 1 --whole
step 110 "4B, Unsloth" $run/4B.json --shapes Qwen3-4B --contenders unsloth "ours on unsloth" --rounds 3
step 110 "long completions" $run/long.json --shapes Qwen3-1.7B --cases long --contenders unsloth "ours on unsloth" --rounds 2
step 100 "without packing" $run/unpacked.json --shapes Qwen3-0.6B --flat 0.5 --rounds 1 --contenders "${credit[@]}"
step 100 0.6B $run/0.6B.json --shapes Qwen3-0.6B --rounds 3
