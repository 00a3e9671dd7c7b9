#!/bin/bash
# Rehearses the calls on a twin of the GPU machine that lacks the card alone. After prepare.sh, as root, with a python3.12, from the
# repository's root:
#     bash benchmarks/gpu_kit/twin.sh FOLDER [CALL ...]      all three unless named; 12 minutes on one core
# FOLDER gets a Python 3.12 with the packages of installed.txt but those that only a card needs (3 GB, from a package index, once).
# The calls then run without a network and with an empty /tmp of their own, so what installed.txt does not name comes from .whl or
# is missing. What they keep lies in FOLDER/call1 and so on.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
shift
python=$folder/venv/bin/python3
named() { grep -v '^#' "$here/installed.txt" | sort; }
if [ ! -x "$python" ]; then
    python3.12 -m venv "$folder/venv"
    named | grep -vE '^(cupy-cuda13x|jax-cuda13-.*|numba-cuda|pip)$' |
        sed -E 's/^torch(audio)?$/&==2.11.0/; s/^transformers$/&==5.17.0/; s/^accelerate$/&==1.15.0/' > "$folder/names.txt"
    "$python" -m pip install -q -r "$folder/names.txt"
    unnamed=$("$python" -m pip list --format=freeze | sed 's/==.*//; s/[_.]/-/g; s/.*/\L&/' | sort | comm -23 - <(named))
    [ -z "$unnamed" ] || "$python" -m pip uninstall -q -y $unnamed  # what today's versions ask for, and the machine lacks
fi
rm -rf "$folder/tmp" && mkdir "$folder/tmp"  # a fresh machine
(($#)) || set -- 1 2 3
failed=0
for call in "$@"; do
    mkdir -p "$folder/call$call"
    # The twin is seen at /mnt, since its folder may lie in the /tmp that is replaced.
    unshare --net --mount bash -c '
        mount --bind "$0" /mnt && mount --bind /mnt/tmp /tmp
        PATH=/mnt/venv/bin:$PATH DRY=1 OUT=/mnt/call$1 HOME=/tmp exec bash ".gpu/call$1.sh" 1800' "$folder" "$call" || failed=1
done
exit $failed
