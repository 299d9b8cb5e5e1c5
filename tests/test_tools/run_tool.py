"""A tool as a user runs it: a process of its own, in another folder."""
import os
import subprocess
import sys
from pathlib import Path

from warm_process import Script

ROOT = Path(__file__).parents[2]


def run(tool, *args, cwd, fails=False, **env):
    """What the tool prints. A shell script starts Python anew, a tool in Python is forked from a warm process."""
    env = {'PYTHONPATH': str(ROOT), 'PYTHON': sys.executable, 'CUDA_VISIBLE_DEVICES': '-1', **env}
    if tool.endswith('.sh'):
        done = subprocess.run([ROOT / 'tools' / tool, *map(str, args)], cwd=cwd, env={**os.environ, **env}, text=True,
                              capture_output=True)
        code, text = done.returncode, done.stdout + done.stderr
    else:
        script = Script(ROOT / 'tools' / tool, *args, cwd=cwd, **env)
        text = ''.join(script.told())
        code = script.exitcode
    assert (code != 0) == fails, text[-4000:]
    return text
