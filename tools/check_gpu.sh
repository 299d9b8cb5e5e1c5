#!/usr/bin/env bash
# On a GPU machine: builds for its GPU, runs every test that needs one, those of our kernels under compute-sanitizer,
# and the benchmarks: tools/check_gpu.sh [tests] [sanitizer] [benchmarks], by default all three. What each stage prints
# is kept in work_dirs/check_gpu. The stages' time limits, meant for an H100 with 16 cores, sum to less than 15 minutes;
# PATIENCE=3 triples them.
# PYTHON names an interpreter that has PyTorch and the requirements, and pytest-xdist for quick tests; nothing is fetched
# then. Where it is unset, a .venv is made.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  make install
  PYTHON=.venv/bin/python
fi
export MMDET_OPS=mmdet MMDET_CUDA=1 PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}"
wanted=" ${*:-tests sanitizer benchmarks} "
"$PYTHON" -c 'import torch; torch.cuda.is_available() or exit("error: PyTorch sees no GPU"); print(torch.cuda.get_device_name())'
TORCH_CUDA_ARCH_LIST=$("$PYTHON" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
export TORCH_CUDA_ARCH_LIST
out=work_dirs/check_gpu
mkdir -p "$out"
: > "$out/failed.txt"

stage() { # NAME SECONDS COMMAND...; one that fails or takes too long stops no other
  local name=$1 limit=$(($2 * ${PATIENCE:-1})) start=$SECONDS
  shift 2
  timeout --kill-after 5 "$limit" "$@" 2>&1 | tee "$out/$name.txt" || echo "$name" >> "$out/failed.txt"
  echo "== $name took $((SECONDS - start)) of at most $limit s"
}

sanitize() { # TOOL
  # The caching allocator would hide reads beyond a tensor's end. Only tests that run our kernels, and only those kernels.
  # shellcheck disable=SC2086
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 stage "$1" 150 "$sanitizer" --tool "$1" --error-exitcode 1 --kernel-name kns=mmdet \
    "$PYTHON" -m pytest -q -m gpu $files -k "$sanitized"
}

stop_if_failed() {
  if [ -s "$out/failed.txt" ]; then
    echo "failed, or ran out of time: $(xargs < "$out/failed.txt")"
    exit 1
  fi
}

stage build 120 "$PYTHON" setup.py build_ext --inplace
stop_if_failed
if [[ $wanted == *" tests "* ]]; then
  workers=$("$PYTHON" -c 'import importlib.util; print("-n 8" if importlib.util.find_spec("xdist") else "")')
  # shellcheck disable=SC2086
  stage tests 180 "$PYTHON" -m pytest -q -rs -m gpu $workers
fi

# Of the tests in the files of operators that have kernels for GPUs, those that run ours and soon end.
sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
files=$(grep -lE 'opcheck\(torch.ops.mmdet' tests/test_ops/test_*.py)
sanitized='not [torchvision and not -torchvision and not opcheck and not gradcheck and not 20000 and not compiles'
sanitized+=' and not deterministic and not wait and not large'
if [[ $wanted == *" sanitizer "* ]]; then
  if [ -x "$sanitizer" ]; then
    sanitize memcheck &
    sanitize racecheck &
    wait
  else
    echo 'compute-sanitizer is not installed: memory checks were left out'
  fi
fi

if [[ $wanted != *" benchmarks "* ]]; then
  stop_if_failed
  exit
fi

benchmark() { # STAGE SECONDS SCRIPT OPTIONS...
  local name=$1 limit=$2 script=$3
  shift 3
  stage "$name" "$limit" "$PYTHON" "tools/analysis/benchmark_$script.py" "$@"
}
image=(--size 800x1333 --dtype bfloat16)
benchmark train_batch_16 75 model train "${image[@]}" --batch-size 16 --repeats 20 --memory
benchmark train_gn_batch_2 30 model train "${image[@]}" --batch-size 2 --repeats 20 --norm GN
benchmark inference_batch_1 30 model inference "${image[@]}" --batch-size 1 --repeats 30
benchmark ops 45 ops roi_align nms
benchmark norms 30 norms --shapes 1024x256x14x14 16x256x200x336 --channels-last --dtype bfloat16
benchmark norm_steps 30 norms --step 2x800x1333 --dtype bfloat16 --repeats 10
benchmark masks 30 masks
stop_if_failed
