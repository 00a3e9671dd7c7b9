#!/bin/bash
# Call 1: does the kit work, is the loss right on this card, do real shapes train in the memory that plan predicts?
BUDGET=${1:-280}
. "$(dirname "$0")/common.sh"
if [ -z "$dry" ]; then
    nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used --format=csv,noheader
    step 100 check python3 "$KIT/check.py" || { python3 -m pip list > "$KEEP/pip.txt" 2>&1; exit 1; }
else
    step 100 "check on a pretended card" python3 "$KIT/fakecuda.py" "$KIT/check.py" --dry-run || exit 1
fi
step 110 "0.6B gspo_token" python3 "$KIT/shape.py" "0.6B gspo_token" $dry
together="python3 $KIT/noise.py $dry > /tmp/noise.txt 2>&1 & python3 $KIT/parity.py $dry; rc=\$?
    wait \$! || rc=1; cat /tmp/noise.txt; exit \$rc"
step 130 "parity and noise" bash -c "$together"
step 110 "4B gspo" python3 "$KIT/shape.py" "4B gspo" $dry
step 90 "0.6B gspo" python3 "$KIT/shape.py" "0.6B gspo" $dry
