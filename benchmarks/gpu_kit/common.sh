# Sourced by the calls, on the GPU machine, in the repository's root. What they keep comes back as $OUT/kept.tgz, with the
# results of earlier calls on the same machine in it. DRY=1 rehearses a call on a machine without a GPU.
set -u
KIT=$(dirname "$0")
export PYTHONUNBUFFERED=1 PYTHONPATH=/tmp/site HF_HUB_OFFLINE=1 UNSLOTH_DISABLE_STATISTICS=1 TOKENIZERS_PARALLELISM=false
export PIP_DISABLE_PIP_VERSION_CHECK=1
KEPT=${TMPDIR:-/tmp}/kept
KEEP=$KEPT/$(basename "$0" .sh)
LOG=$KEEP/log.txt
dry=${DRY:+--dry-run}
: "${OUT:?names the folder whose contents come back}"
mkdir -p "$KEEP" /tmp/model
keep() { tar czf "$OUT/kept.tgz" -C "$KEPT/.." kept; }
failed=
end() {
    keep
    echo "== in all $SECONDS s; failed: ${failed:-nothing}"
    [ -z "$failed" ] || exit 1
}
trap end EXIT
cp .model-*/* /tmp/model/ 2>/dev/null

# The wheels, once for each machine that lacks them, as the project's own environment does not.
has_unsloth() { PYTHONPATH="" python3 -c 'from importlib.metadata import version; version("unsloth")' 2>/dev/null; }
if [ ! -f /tmp/site/.done ] && ! has_unsloth; then
    failed="the wheels"
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl || exit 1
    failed=
    touch /tmp/site/.done
    echo "== wheels installed: $SECONDS s"
fi

# step SECONDS NAME COMMAND...   runs it with a limit of its own: all output to the log, here a line and what matters
step() {
    local limit=$1 name=$2 began=$SECONDS left=$((BUDGET - SECONDS)) rc
    shift 2
    if ((left < 20)); then echo "== $name: left out, no time"; return 1; fi
    [ -z "$dry" ] || limit=$((8 * limit))
    ((limit > left)) && limit=$left
    timeout -k 5 "$limit" "$@" > "$KEEP/step.txt" 2>&1
    rc=$?
    { echo "##### $name: $*"; cat "$KEEP/step.txt"; } >> "$LOG"
    echo "== $name: rc $rc, $((SECONDS - began)) s"
    grep -E "${SHOW:-^RESULT}" "$KEEP/step.txt" | tail -20 | cut -c1-700
    ((rc == 0)) || tail -12 "$KEEP/step.txt" | cut -c1-300
    keep  # now, since a call that outruns its limit is killed
    ((rc == 0)) || failed+="${failed:+, }$name"
    return $rc
}
