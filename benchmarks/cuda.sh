#!/usr/bin/env bash
# All that needs a GPU, in at most 6 minutes: the tests marked `cuda`, and the figures of the README.
#
#   benchmarks/cuda.sh DATA [OUT] [--dry-run]
#
# DATA  folder of Pascal-Part (long side 320), or its .tar.gz
# OUT   folder for results.jsonl, one line per part, and log.txt (default: $OUT, or cuda_results)
#
# Run it in the root of the repository, with the packages of setup.cfg (and its extra `dev`, for the
# tests) installed for `python3` or $PYTHON; wheels in .whl/ are installed first. hieraseg itself
# need not be installed. With --dry-run, all parts run on the CPU, as small as possible and without
# compiling, which shows whether the script works.
set -uo pipefail

DRY=""
[ "${!#}" = --dry-run ] && { DRY=1; set -- "${@:1:$#-1}"; }
[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
DATA=$1
OUT=$(realpath -m "${2:-${OUT:-cuda_results}}")
PYTHON=${PYTHON:-python3}
LIMIT=${LIMIT:-350}   # seconds for everything
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$OUT"
RESULTS=$OUT/results.jsonl LOG=$OUT/log.txt
: > "$RESULTS"; : > "$LOG"

# hieraseg finds its plugins by the entry points of an installed package: these are enough of one.
if compgen -G ".whl/*.whl" > /dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$WORK/site" .whl/*.whl >> "$LOG" 2>&1 || exit 1
fi
"$PYTHON" - "$WORK/site/hieraseg-0.dist-info" <<'PY' || exit 1
import configparser, pathlib, sys
setup, folder = configparser.ConfigParser(), pathlib.Path(sys.argv[1])
setup.read("setup.cfg")
folder.mkdir(parents=True)
lines = [f"[{group}]{names}" for group, names in setup["options.entry_points"].items()]
(folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
(folder / "METADATA").write_text(f"Name: hieraseg\nVersion: {setup['metadata']['version']}\n")
PY
export PYTHONPATH=$WORK/site:$PWD/framework:$PWD/plugins${PYTHONPATH:+:$PYTHONPATH}
export HIERASEG_CACHE=$WORK/cache PYTHONUNBUFFERED=1
hieraseg() { "$PYTHON" -m hieraseg "$@"; }
if [ -f "$DATA" ]; then
    mkdir "$WORK/data" && tar -xzf "$DATA" -C "$WORK/data" || exit 1
    DATA=$(dirname "$(find "$WORK/data" -name train_id.txt)")
fi

RECIPE=recipes/pascal_part/tree_min.yaml
ARGS=(--data.root "$DATA" --backbone.weights null)
STEPS=100 SHORT=2 LONG=7 TESTS=(tests) WHOLE=step
PREDECESSOR=(--steps 40 --rounds 2 --images 300)
COUNTING=(--device cuda --rounds 5)
SCORING=(--device cuda --rounds 2 --images 426)
CLASSES=(--device cuda --rounds 3)
if [ -n "$DRY" ]; then
    LIMIT=3000
    mkdir "$WORK/tiny"
    ln -s "$(realpath "$DATA")/JPEGImages" "$(realpath "$DATA")/gt_masks" "$WORK/tiny"
    cp "$DATA/classes.txt" "$WORK/tiny"
    head -n 8 "$DATA/train_id.txt" > "$WORK/tiny/train_id.txt"
    head -n 3 "$DATA/val_id.txt" > "$WORK/tiny/val_id.txt"
    DATA=$WORK/tiny
    ARGS=(--data.root "$DATA" --backbone.weights null --training.device cpu --input.size "[64, 64]"
        --training.batch_size 2 --training.precision 32-true --decoder.width 8)
    STEPS=1 SHORT=1 LONG=2 TESTS=(--collect-only tests/test_draws.py) WHOLE=off
    PREDECESSOR=(--steps 1 --rounds 1 --device cpu --batch 2 --size 64 --images 3 --workers 1)
    COUNTING=(--rounds 1 --batch-size 2 --size 64)
    SCORING=(--rounds 1 --batch-size 2 --images 2)
    CLASSES=(--rounds 1 --classes 10 --size 16)
    export TORCH_COMPILE_DISABLE=1
fi

# part NAME SECONDS COMMAND...: run a command, at most so long, and add its JSON to the results.
part() {
    local name=$1 limit=$2 left=$((LIMIT - SECONDS)) started code
    shift 2
    [ -n "$DRY" ] && limit=$((limit * 10))
    [ "$left" -lt "$limit" ] && limit=$left
    echo "== $name ($SECONDS s)" | tee -a "$LOG" >&2
    started=$(date +%s.%N) code=skipped
    : > "$WORK/stdout"
    if [ "$limit" -gt 5 ]; then
        timeout -k 5 "$limit" "$@" > "$WORK/stdout" 2>> "$LOG"
        code=$?
    fi
    "$PYTHON" - "$name" "$code" "$started" "$WORK/stdout" >> "$RESULTS" <<'PY'
import json, sys, time
name, code, started, path = sys.argv[1:]
text = open(path).read()
try:
    result = json.loads(text)
except ValueError:
    result = text[-2000:]
if isinstance(result, list):  # of `hieraseg run`: the scores are in no target
    result = [{"run": one["run"], "cost": one["cost"]} for one in result]
seconds = round(time.time() - float(started), 2)
print(json.dumps({"part": name, "exit": code, "seconds": seconds, "result": result}))
PY
    tail -n 1 "$RESULTS" | cut -c 1-1500 >&2
}

bench() { part "$1" "$2" "$PYTHON" -m hieraseg bench "$RECIPE" "${ARGS[@]}" --steps "$STEPS" --json "${@:3}"; }
run() {
    part "run_$1_epochs" 70 "$PYTHON" -m hieraseg run "$RECIPE" "${ARGS[@]}" --json \
        --training.epochs "$1" --out "$WORK/runs$1"
}

part machine 20 "$PYTHON" -c '
import json, os, torch
name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(json.dumps({"gpu": name, "torch": torch.__version__, "cores": os.cpu_count()}))'
part cuda_tests 100 "$PYTHON" -m pytest -m cuda -p no:cacheprovider --tb=short -rf \
    --continue-on-collection-errors "${TESTS[@]}"
bench eager 45 --training.capture off
bench captured 45
run "$SHORT"
run "$LONG"
# The first evaluation imports and prepares what the second one has, so that is only scoring.
part evaluate_holdout 45 "$PYTHON" -c '
import json, sys, time
from hieraseg.evaluate import evaluate
seconds = []
for _ in range(3):
    started = time.perf_counter()
    evaluate(sys.argv[1], "holdout")
    seconds.append(round(time.perf_counter() - started, 2))
print(json.dumps({"first": seconds[0], "again": seconds[1:]}))' "$(echo "$WORK/runs$LONG"/*/*)"
bench compiled_model 90 --training.compile model
part predecessor 60 "$PYTHON" benchmarks/predecessor.py --root "$DATA" --ours "$RECIPE" --json \
    "${PREDECESSOR[@]}" "${ARGS[@]:2}"
part counting 40 "$PYTHON" benchmarks/counting.py "${COUNTING[@]}"
part scoring 40 "$PYTHON" benchmarks/evaluation.py --root "$DATA" "${SCORING[@]}"
part many_classes 60 "$PYTHON" benchmarks/many_classes.py "${CLASSES[@]}"
bench compiled_step 90 --training.compile "$WHOLE"

# 50 epochs with validation, pictures and checkpoint each: the first run, and 48 times what an
# epoch of the second run takes more.
part epochs_50 20 "$PYTHON" - "$RESULTS" "$WORK" "$SHORT" "$LONG" <<'PY'
import json, pathlib, sys
results, work, short, long = sys.argv[1:]
seconds = {one["part"]: one["seconds"] for one in map(json.loads, open(results))}
first = seconds[f"run_{short}_epochs"]
epoch = (seconds[f"run_{long}_epochs"] - first) / (int(long) - int(short))
(metrics,) = pathlib.Path(work, f"runs{long}").glob("*/*/metrics.jsonl")
epochs = list(map(json.loads, metrics.read_text().splitlines()))
print(json.dumps({
    "seconds": first + (50 - int(short)) * epoch,
    "of_an_epoch": epoch,
    "images_per_second": [one["images_per_second"] for one in epochs],
    "waiting_for_data": [one["waiting_for_data"] for one in epochs],
}))
PY
echo "results are in $RESULTS, the log in $LOG ($SECONDS s)" >&2
