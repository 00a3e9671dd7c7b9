#!/usr/bin/env bash
# The tests that lean on the libraries, and the quickstart, on one of the sets of versions in gspo_lite/tested_versions.json,
# in a fresh environment of its own:
#
#   tests/on_stack.sh newest             # or oldest, or usual; a second word names the environment's folder
#
# `oldest` takes everything else at its lower bound in pyproject.toml, too, so that these bounds are tested.
set -euo pipefail
cd "$(dirname "$0")/.."
stack=${1:?oldest, usual or newest}
venv=${2:-.venv-$stack}

pins=$(python3 - "$stack" <<'END'
import json, sys
versions = json.load(open("gspo_lite/tested_versions.json"))[sys.argv[1]]
print(*(f"{name}=={version}" for name, version in versions.items() if name not in ("python", "cuda")))
END
)
bounds=highest
[ "$stack" = oldest ] && bounds=lowest-direct

uv venv --quiet --clear --python "${PYTHON:-3.11}" "$venv"
VIRTUAL_ENV=$venv uv pip install --quiet --resolution "$bounds" --editable . --group test $pins
"$venv/bin/gspo-lite" doctor
"$venv/bin/python" -m pytest tests/objective tests/training tests/models tests/data tests/recipe tests/sizing tests/test_*.py
run=$(mktemp -d)
"$venv/bin/gspo-lite" run quickstart --output "$run/quickstart"
"$venv/bin/python" - "$run/quickstart/eval.json" <<'END'
import json, sys
after = json.load(open(sys.argv[1]))["after"]["accuracy"]
assert after >= 0.85, f"the quickstart reached {after:.1%}"
END
