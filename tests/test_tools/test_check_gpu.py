"""The checks of a GPU machine, with a Python that only notes what it is asked: their stages and their time."""
import os
import re
import shutil
import subprocess

import pytest
from run_tool import ROOT

PYTHON = '''#!/bin/sh
case "$*" in
  *capability*) echo 9.0;;
  *find_spec*|*get_device_name*) ;;
  *) echo "ran $* with $PYTHONPATH for $TORCH_CUDA_ARCH_LIST";;
esac
case "$*" in *"$FAILS"*) exit 1;; esac
'''


SANITIZER = '''#!/bin/sh
while [ "$1" != "$PYTHON" ]; do shift; done
exec "$@"
'''
pytestmark = pytest.mark.skipif(not shutil.which('timeout'), reason='needs timeout, of coreutils')


@pytest.fixture
def check(tmp_path):
    """Runs a copy of the script; returns its exit status and what it printed."""
    for folder in ('tools', 'tests/test_ops', 'bin'):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / 'tools/check_gpu.sh', tmp_path / 'tools')
    (tmp_path / 'tests/test_ops/test_one.py').write_text('opcheck(torch.ops.mmdet.one)')
    (tmp_path / 'tests/test_ops/test_other.py').write_text('')
    for name, text in {'python': PYTHON, 'make': '#!/bin/sh\necho fetched\n', 'compute-sanitizer': SANITIZER}.items():
        (tmp_path / 'bin' / name).write_text(text)
        (tmp_path / 'bin' / name).chmod(0o755)

    def run(*stages, fails='nothing'):
        env = dict(os.environ, PATH=f'{tmp_path}/bin:{os.environ["PATH"]}', PYTHON=f'{tmp_path}/bin/python',
                   PYTHONPATH='elsewhere', FAILS=fails)
        done = subprocess.run(['bash', tmp_path / 'tools/check_gpu.sh', *stages], env=env, text=True,
                              capture_output=True)
        return done.returncode, done.stdout + done.stderr
    return run


def seconds(told):
    """Of the stages' limits; the sanitizer's two tools run side by side."""
    limits = {name: int(limit) for name, limit in re.findall(r'== (\w+) took \d+ of at most (\d+) s', told)}
    limits.pop('racecheck', None)
    return sum(limits.values())


def test_two_calls_of_eight_minutes_run_all(check):
    status, told = check('tests', 'sanitizer')
    assert status == 0 and seconds(told) < 480
    assert 'ran setup.py build_ext --inplace with .:elsewhere for 9.0' in told and 'fetched' not in told
    ran = re.findall('ran -m pytest .*', told)
    assert len(ran) == 3 and sum('tests/test_ops/test_one.py' in line for line in ran) == 2
    assert not any('test_other' in line for line in ran)
    status, told = check('benchmarks')
    assert status == 0 and seconds(told) < 480 and 'pytest' not in told
    benchmarks = set(re.findall(r'ran (tools/analysis/\w+\.py)', told))
    assert len(benchmarks) >= 4 and all((ROOT / path).exists() for path in benchmarks)


def test_a_stage_that_fails_is_named_in_the_end(check):
    status, told = check('benchmarks', fails='benchmark_masks.py')
    assert status == 1 and told.rstrip().endswith('failed, or ran out of time: masks')
    status, told = check('tests', fails='setup.py')
    assert status == 1 and 'pytest' not in told
