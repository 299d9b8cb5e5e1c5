#!/usr/bin/env bash
# On a GPU machine: builds for its GPUs, runs every test that needs one, then the operators' tests under compute-sanitizer.
# PYTHON names an interpreter that has PyTorch and the requirements; a .venv is made where it is unset.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  make install
  PYTHON=.venv/bin/python
fi
export MMDET_OPS=mmdet MMDET_CUDA=1 PYTHONPATH=.
"$PYTHON" -c 'import torch; assert torch.cuda.is_available(), "PyTorch sees no GPU"; print(torch.cuda.get_device_name())'
TORCH_CUDA_ARCH_LIST=$("$PYTHON" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
export TORCH_CUDA_ARCH_LIST
"$PYTHON" setup.py build_ext --inplace
"$PYTHON" -m pytest -m gpu

sanitizer=$(command -v compute-sanitizer || echo "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer")
if [ ! -x "$sanitizer" ]; then
  echo 'compute-sanitizer is not installed: memory checks were left out'
  exit 0
fi
for tool in memcheck racecheck; do
  # The caching allocator would hide reads beyond a tensor's end.
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --tool "$tool" --error-exitcode 1 \
    "$PYTHON" -m pytest -q -m gpu tests/test_ops -k 'not 20000 and not compiles and not deterministic and not wait'
done
