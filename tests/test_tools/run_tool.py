"""A tool as a user runs it: a process of its own, in another folder."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(tool, *args, cwd, fails=False, **env):
    if tool.endswith('.sh'):
        command = [str(ROOT / 'tools' / tool)]
    else:
        command = [sys.executable, str(ROOT / 'tools' / tool)]
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1',
           'CUDA_VISIBLE_DEVICES': '-1', **env}
    done = subprocess.run([*command, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr
