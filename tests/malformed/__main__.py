"""Malformed inputs: does each end as the right result or as one clear error?

    PYTHONPATH=. python tests/malformed [KIND ...] [--seed 0] [--only WORD] [--show]

A kind is a module beside this one with `cases(rng)`, which yields Case. Each case runs in a process forked from this
one, in a folder of its own. Nothing may hang, crash, show a traceback or give another result without a word.
"""
import argparse
import contextlib
import importlib
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import torch  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402

import mmdet.apis  # noqa: E402, F401
from mmdet.command_line import plain_errors  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

KINDS = ('annotations', 'images', 'results', 'configs', 'checkpoints', 'command_lines', 'operators')
SECONDS = 60  # of processor time, or ten times as long by the clock, until a case counts as hanging
GOOD = ('right result', 'clear error', 'told')


def run(case):
    """The verdict on a case, and what it printed."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile('w+') as printed:
        pid = os.fork()
        if pid == 0:
            _child(case, folder, printed.fileno())
        status = _wait(pid)
        printed.seek(0)
        text = printed.read().replace(folder, '')
        if any(Path(folder).rglob('ran')):  # what the hostile ones would write
            return 'code run', text
    return verdict(case, status, text), text


def _child(case, folder, descriptor):
    code = 99
    try:
        for stream in (1, 2):
            os.dup2(descriptor, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        os.chdir(folder)
        random.seed(0)
        torch.manual_seed(0)
        MMLogger.get_instance('malformed', log_level='INFO')
        with plain_errors():
            code = 0 if case.run() else 50
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _wait(pid):
    deadline = time.monotonic() + 10 * SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def verdict(case, status, text):
    """What became of a case, in a few words; those of GOOD are as they should be."""
    if status in (None, -signal.SIGXCPU):
        return 'hang'
    if status < 0:
        return f'signal {-status}'
    if status == 99 or 'Traceback (most recent call last)' in text:
        return 'traceback'
    if status == 0:
        return 'right result'
    if status == 50:  # another result than with a sound input
        return 'told' if case.says and any(word in text for word in case.says) else 'wrong without a word'
    message = text[text.rfind('error:'):] if 'error:' in text else text
    return 'clear error' if all(re.search(word, message) for word in case.names) else 'unclear error'


def main():
    parser = argparse.ArgumentParser(description='Malformed inputs: the right result or one clear error?')
    parser.add_argument('kinds', nargs='*', default=KINDS, metavar='KIND', help=f'of {", ".join(KINDS)} (all)')
    parser.add_argument('--seed', type=int, default=0, help='of what cases draw by chance (%(default)s)')
    parser.add_argument('--only', default='', metavar='WORD', help='cases whose name has this word')
    parser.add_argument('--show', action='store_true', help='print what each case prints, not only what the bad do')
    args = parser.parse_args()
    register_all_modules()
    table = {}
    for kind in args.kinds:
        counts = table[kind] = Counter()
        for case in importlib.import_module(f'kind_{kind}').cases(random.Random(args.seed)):
            if args.only not in case.name:
                continue
            found, text = run(case)
            counts[found] += 1
            if args.show or found not in GOOD:
                print(f'--- {kind}: {case.name}: {found}\n{text[-1500:]}', flush=True)
    heads = [*GOOD, *sorted({found for counts in table.values() for found in counts} - set(GOOD))]
    print('| kind | ' + ' | '.join(['cases', *heads]) + ' |\n' + '| --- ' * (len(heads) + 2) + '|')
    for kind, counts in [*table.items(), ('all', sum(table.values(), Counter()))]:
        numbers = [counts.total(), *(counts[head] for head in heads)]
        print(f'| {kind} | {" | ".join(map(str, numbers))} |')
    total = sum(table.values(), Counter())
    return total.total() > 0 and any(total[found] for found in total if found not in GOOD)


if __name__ == '__main__':
    sys.exit(main())
