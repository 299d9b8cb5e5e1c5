"""The CUDA sources, run on the CPU thread by thread: what they compute can be tested where there is no GPU."""
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
from cuda_on_cpu.build import COMPILER, HERE, ROOT, build
from warm_process import Script

pytestmark = pytest.mark.skipif(sys.platform != 'linux' or shutil.which(COMPILER) is None,
                                reason='needs Linux and a C++ compiler')
KERNELS = [path.stem.removesuffix('_cuda') for path in (ROOT / 'mmdet/ops/csrc').rglob('*_cuda.cu')]
FILES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / 'tests/test_ops').glob('test_*.py'))
         if any(f'opcheck(torch.ops.mmdet.{name}' in path.read_text() for name in KERNELS)]
# Left out: what PyTorch serves or derives, what the CPU's kernels refuse, and what takes long.
CHOICE = ('not torchvision- and not [torchvision and not opcheck and not gradcheck and not compiles and not threads '
          'and not refuse and not 20000 and not large_image and (not bitmap or mmdet-cpu-40-56-dtype)')

RACE = '''
#include <cuda_runtime.h>

__global__ void turn_round(int* values) {
  __shared__ int copies[64];
  copies[threadIdx.x] = values[threadIdx.x];
  BARRIER
  values[threadIdx.x] = copies[63 - threadIdx.x];
}

int main() {
  int values[64];
  std::iota(values, values + 64, 0);
  cuda_on_cpu::Launch{1, 64}(turn_round, values);
  for (int i = 0; i < 64; ++i) {
    if (values[i] != 63 - i) {
      return 1;
    }
  }
}
'''

SHARED = '''
#include <cuda_runtime.h>

int main(int argc, char**) {
  char other;
  if (argc > 1) {
    cuda_on_cpu::current_stream = &other;
  }
  float read[2];
  cuda_on_cpu::Launch{2, 1}([](float* read) {
    static float value;
    static uint64_t poisoned;
    cuda_on_cpu::poison(value, poisoned);
    read[blockIdx.x] = value;
    value = 1;
  }, read);
  return std::isnan(read[0]) && std::isnan(read[1]) ? 0 : 1;
}
'''
CELLS = '''
#include <initializer_list>

#include "cell.h"

int main() {
  float map[4] = {1, 1, 1, 1}, sum = 0;
  for (float side : {1e-40f, 1e-30f, 1e-3f, 3.0f, 1e30f}) {
    mmdet::Cells cells{0, side, 2, 5};
    for (int64_t pixel = cells.begin(); pixel < cells.end(); ++pixel) {
      sum += mmdet::value_at(map, cells, cells, pixel, pixel);
    }
  }
  return sum > 0 && std::isfinite(sum) ? 0 : 1;
}
'''


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A copy of the project whose extension has the CUDA kernels for tensors on the CPU."""
    folder = tmp_path_factory.mktemp('cuda_on_cpu')
    build(folder)
    return folder


def run(project, code):
    script = project / 'script.py'  # beside the copy of mmdet, which is the one that it imports
    script.write_text(textwrap.dedent(code))
    process = Script(script, cwd=project, MMDET_OPS='mmdet')
    out, err = process.told(timeout=900)
    assert process.exitcode == 0, out[-4000:] + err[-4000:]
    return out


def test_kernels_pass_the_tests_of_the_operators(project):
    told = run(project, f'''
        import sys
        import pytest
        sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', *{FILES}, '-k', {CHOICE!r}]))
    ''')
    assert int(re.search(r'(\d+) passed', told)[1]) > 70


def test_roi_align_backward_in_whole_quanta(project):
    """As deterministic backward calls it: the sums are those of the other backward, in units of the quantum."""
    run(project, '''
        import torch
        from mmdet import ops
        grad = torch.randn(20, 8, 7, 7).contiguous(memory_format=torch.channels_last)
        rois = torch.cat([torch.randint(0, 2, (20, 1)), torch.rand(20, 2) * 20, 20 + torch.rand(20, 2) * 20], 1)
        args = grad, rois, None, [0.5], [2, 24, 32], 2, True, True
        (sums,), (quanta,) = (torch.ops.mmdet.roi_align_backward(*args, quantum)
                              for quantum in (None, torch.tensor(1e-9, dtype=torch.float64)))
        assert quanta.dtype == torch.int64 and sums.abs().max() > 0.1
        torch.testing.assert_close(quanta.double() * 1e-9, sums.double(), rtol=0, atol=1e-5)
    ''')


@pytest.mark.parametrize('barrier', ['__syncthreads();', ''], ids=['barrier', 'none'])
def test_a_missing_barrier_shows(tmp_path, barrier):
    source, program = tmp_path / 'race.cpp', tmp_path / 'race'
    source.write_text(RACE)
    subprocess.run([COMPILER, '-std=c++20', f'-DBARRIER={barrier}', f'-I{HERE}', source, '-o', program], check=True)
    assert subprocess.run([program]).returncode == (0 if barrier else 1)


def test_shared_memory_is_poisoned_and_a_launch_needs_its_stream(tmp_path):
    source, program = tmp_path / 'shared.cpp', tmp_path / 'shared'
    source.write_text(SHARED)
    subprocess.run([COMPILER, '-std=c++20', f'-I{HERE}', source, '-o', program], check=True)
    assert subprocess.run([program]).returncode == 0
    refused = subprocess.run([program, 'other stream'], capture_output=True, text=True)
    assert refused.returncode < 0 and 'a launch without CurrentStream' in refused.stderr


def test_boxes_of_next_to_no_size_overflow_no_integer(tmp_path):
    source, program = tmp_path / 'cells.cpp', tmp_path / 'cells'
    source.write_text(CELLS)
    subprocess.run([COMPILER, '-std=c++20', '-fsanitize=undefined,float-cast-overflow', '-fno-sanitize-recover=all',
                    f'-I{ROOT}/mmdet/ops/csrc/paste_masks', source, '-o', program], check=True)
    assert subprocess.run([program]).returncode == 0
