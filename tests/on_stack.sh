#!/usr/bin/env bash
# The tests that lean on the libraries, and the quickstart, on one of the sets of versions in gspo_lite/tested_versions.json,
# in a fresh environment of its own:
#
#   tests/on_stack.sh newest             # or oldest, or usual; ENVIRONMENT=folder names the environment's folder
#   tests/on_stack.sh newest tests/data  # other tests than the usual ones; `tests` is the whole suite
#
# `oldest` takes everything else at its lower bound in pyproject.toml, too, so that these bounds are tested.
set -euo pipefail
cd "$(dirname "$0")/.."
stack=${1:?oldest, usual or newest}
shift
environment=${ENVIRONMENT:-.venv-$stack}

tests=("$@")
[ $# -gt 0 ] || tests=(
    tests/objective                              # the definition against an oracle and against the loss of the installed TRL
    tests/training/test_{hooks,signatures,micro_steps,losses}.py  # the names it stands on; gradients of the real trainer
    tests/training/test_{shared_prompts,sampled}.py  # prompts computed once, log-probs of the sampler
    tests/training/test_{drop_in,turns}.py       # checkpoints and resume, tools and environments
    tests/models/test_{sampler,gguf_file}.py     # generation and its cache; reading weights
    tests/sizing/test_meta_device.py tests/recipe/test_grpo_config_fields.py tests/test_doctor.py
)

pins=$(python3 - "$stack" <<'END'
import json, sys
versions = json.load(open("gspo_lite/tested_versions.json"))[sys.argv[1]]
print(*(f"{name}=={version}" for name, version in versions.items() if name not in ("python", "cuda")))
END
)
bounds=highest
[ "$stack" = oldest ] && bounds=lowest-direct

uv venv --quiet --clear --python "${PYTHON:-3.11}" "$environment"
VIRTUAL_ENV=$environment uv pip install --quiet --resolution "$bounds" --editable . --group test $pins
echo "$SECONDS seconds: the environment is made"
"$environment/bin/gspo-lite" doctor
"$environment/bin/python" -m pytest -n 2 "${tests[@]}"
echo "$SECONDS seconds: the tests have passed"
run=$(mktemp -d)
"$environment/bin/gspo-lite" run quickstart --output "$run/quickstart"
"$environment/bin/python" - "$run/quickstart/eval.json" <<'END'
import json, sys
after = json.load(open(sys.argv[1]))["after"]["accuracy"]
assert after >= 0.85, f"the quickstart reached {after:.1%}"
END
echo "$SECONDS seconds: the quickstart has run"
