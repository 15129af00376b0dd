#!/usr/bin/env bash
# Train the preset whose weights ship, on people simulated on the spot: on GPUs where there are any, else on the cores
# that are there. The same command again goes on where the last one stopped.
#
#   benchmarks/train_small.sh [HOURS] [RUN]
#
# The length of the schedule is decided by the first call, from HOURS and the machine (or from $STEPS), and kept in
# RUN/steps. When it is through, benchmarks/ship_weights.py RUN puts the weights into the package.
set -euo pipefail
cd "$(dirname "$0")/.."
hours=${1:-4}
run=${2:-runs/small}
python=${PYTHON:-python}
cores=$(nproc)
gpus=$("$python" -c 'import torch; print(torch.cuda.device_count())')

if [ "$gpus" -gt 0 ]; then
  steps_per_hour=12000 # with eight subjects each; simulating people keeps about 16 cores busy
  workers=$(((cores - gpus) / gpus > 1 ? (cores - gpus) / gpus : 1))
  settings=(--set "training.subjects_per_step=$((8 * gpus))" --set training.precision=bfloat16)
  launcher=(-m torch.distributed.run --standalone --nproc-per-node "$gpus" -m headsup_cli)
  [ "$gpus" -eq 1 ] && launcher=(-m headsup_cli)
else
  steps_per_hour=$((1500 * cores / 2)) # measured on two cores, one of which simulates
  workers=$((cores / 2 > 1 ? cores / 2 : 1))
  settings=()
  launcher=(-m headsup_cli)
fi

mkdir -p "$run"
if [ ! -s "$run/steps" ]; then
  awk -v hours="$hours" -v rate="$steps_per_hour" -v wanted="${STEPS:-0}" \
    'BEGIN { printf "%d\n", wanted > 0 ? wanted : hours * rate }' >"$run/steps"
fi
seconds=$(awk -v hours="$hours" 'BEGIN { printf "%d", hours * 3600 }')
exec "$python" "${launcher[@]}" train --simulate -c small -o "$run" --seconds "$seconds" --workers "$workers" \
  --set "training.steps=$(cat "$run/steps")" "${settings[@]}"
