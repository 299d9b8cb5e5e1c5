"""Kills trainings at random moments and resumes them: does each end as if it had never been killed?

    python tests/kill_and_resume.py --kills 60 --seed 0

A training is killed with SIGKILL, all its processes at once, then resumed with the same command and perhaps killed
again, until it ends by itself. Its last checkpoint must equal that of the unbroken run to the bit, with one number
excepted: the time that an iteration took.
"""
import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.logging import HistoryBuffer

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / 'test_engine')]

from warm_process import Script  # noqa: E402

import mmdet.engine  # noqa: E402, F401  (knows mmengine's histories)
from mmdet.checkpoints import read_checkpoint  # noqa: E402

BY_ITERATION = {'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=False, max_keep_ckpts=2)}
ITERATIONS = {'train_cfg': dict(by_epoch=False, max_iters=11, val_interval=4), 'log_processor.by_epoch': False,
              'param_scheduler': [dict(type='MultiStepLR', by_epoch=False, milestones=[5, 8])], **BY_ITERATION}
INFINITE = {**ITERATIONS, 'train_dataloader.sampler.type': 'InfiniteSampler'}
WORKERS = {'train_dataloader.num_workers': 2}
PERSISTENT = {**WORKERS, 'train_dataloader.persistent_workers': True}
ACCUMULATED = {'optim_wrapper.accumulative_counts': 3}
AMP = {'optim_wrapper.type': 'AmpOptimWrapper'}
EMA = dict(custom_hooks=[dict(type='EMAHook', momentum=0.1, update_buffers=True)])
BEST = {'default_hooks.checkpoint.save_best': 'mAP', 'default_hooks.checkpoint.max_keep_ckpts': 1}
# Name of an arrangement: script, number of processes, options of the config.
ARRANGEMENTS = {
    'epochs': ('toy_run', 1, {}),
    'epochs, best and last kept': ('toy_run', 1, BEST),
    'epochs, workers': ('toy_run', 1, WORKERS),
    'by iteration, persistent workers': ('toy_run', 1, {**BY_ITERATION, **PERSISTENT}),
    'by iteration, accumulation, workers': ('toy_run', 1, {**BY_ITERATION, **ACCUMULATED, **WORKERS}),
    'epochs, accumulation': ('toy_run', 1, ACCUMULATED),
    'by iteration, AMP, EMA': ('toy_run', 1, {**BY_ITERATION, **AMP, **EMA}),
    'iterations, EMA': ('toy_run', 1, {**ITERATIONS, **EMA}),
    'iterations, infinite sampler, persistent workers': ('toy_run', 1, {**INFINITE, **PERSISTENT}),
    'CBN, by iteration, workers': ('cbn_run', 1, {**BY_ITERATION, **WORKERS}),
    'CBN, iterations, accumulation, AMP': ('cbn_run', 1, {**ITERATIONS, **ACCUMULATED, **AMP}),
    'two processes, epochs, workers': ('toy_run', 2, WORKERS),
    'two processes, by iteration, accumulation, EMA': ('toy_run', 2, {**BY_ITERATION, **ACCUMULATED, **EMA}),
    'two processes, CBN, infinite sampler': ('cbn_run', 2, INFINITE),
    'detector, validation loss, early stop, report, classes in turn': ('shapes_run', 1, dict(kind='stopping')),
    'detector, mixed images, by iteration, workers': ('shapes_run', 1, dict(kind='mixing')),
}


def start(script, processes, folder, options):
    """The processes of a training, each the first of a process group."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = str(sock.getsockname()[1])
    words = [f'{key}={value}' for key, value in {**options, 'train_dataloader.dataset.delay': 0.02}.items()]
    launcher = ['launcher=pytorch'] if processes > 1 else []
    return [Script(HERE / f'test_engine/{script}.py', folder, *words, *launcher, OMP_NUM_THREADS='1', RANK=str(rank),
                   WORLD_SIZE=str(processes), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1', MASTER_PORT=port,
                   CUDA_VISIBLE_DEVICES='-1') for rank in range(processes)]


def kill(started):
    for process in started:
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
        workers = children.read_text().split() if children.exists() else []
        for pid in (process.pid, *map(int, workers)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for process in started:
        process.join()


def run(arrangement, folder, after=None):
    """Run to the end, or kill it `after` seconds in which it trained. Returns the seconds, None when it was killed."""
    script, processes, options = arrangement
    resume = (folder / 'last_checkpoint').exists()
    logs = len(list(folder.glob('*/vis_data/config.py')))
    started = start(script, processes, folder, {**options, 'resume': resume})
    while len(list(folder.glob('*/vis_data/config.py'))) <= logs and any(process.is_alive() for process in started):
        time.sleep(0.01)  # it begins
    begun = time.monotonic()
    while any(process.is_alive() for process in started):
        if after is not None and time.monotonic() - begun > after:
            kill(started)
            return None
        time.sleep(0.005)
    codes = [process.exitcode for process in started]
    if any(codes):
        sys.exit('\n'.join([f'{folder} ended with {codes}', *(text for each in started for text in each.told())]))
    return time.monotonic() - begun


def last_checkpoint(folder):
    checkpoint = read_checkpoint(Path((folder / 'last_checkpoint').read_text()))
    scalars = checkpoint['message_hub']['log_scalars']
    for name in [name for name in scalars if name.rpartition('/')[2] in ('time', 'data_time', 'memory')]:
        del scalars[name]
    return checkpoint


def differences(one, other, where=''):
    """Names of the entries in which two checkpoints differ."""
    if type(one) is not type(other):
        yield where
    elif isinstance(one, dict):
        for key in one.keys() | other.keys():
            if key not in one or key not in other:
                yield f'{where}.{key}'
            elif str(key) not in ('time', 'experiment_name', 'cfg', 'eta', 'last_ckpt', 'best_ckpt'):
                yield from differences(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            yield where
        else:
            for i, pair in enumerate(zip(one, other, strict=True)):
                yield from differences(*pair, f'{where}.{i}')
    elif isinstance(one, HistoryBuffer):
        if one.data[0].tolist() != other.data[0].tolist():
            yield where
    elif isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one.nan_to_num(), other.nan_to_num()):
            yield where
    elif one != other:
        yield where


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=60, help='in all (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the moments (%(default)s)')
    parser.add_argument('--only', default='', help='arrangements whose names contain this')
    args = parser.parse_args()
    chance = random.Random(args.seed)
    names = [name for name in ARRANGEMENTS if args.only in name]
    kills = failed = 0
    with tempfile.TemporaryDirectory() as root:
        for number, name in enumerate(names):
            unbroken = Path(root, f'{number}/unbroken')
            seconds = run(ARRANGEMENTS[name], unbroken)
            expected = last_checkpoint(unbroken)
            share = (args.kills - kills + len(names) - number - 1) // (len(names) - number)
            done = attempt = 0
            while done < share:
                attempt += 1
                folder, moments = Path(root, f'{number}/{attempt}'), []
                while True:  # each training is killed up to three times
                    after = chance.uniform(0, seconds) if done + len(moments) < share and len(moments) < 3 else None
                    if run(ARRANGEMENTS[name], folder, after) is not None:
                        break
                    moments.append(f'{after:.2f} s')
                done += len(moments)
                wrong = sorted(differences(expected, last_checkpoint(folder)))
                files = [sorted(path.name for path in each.glob('*.pth')) for each in (unbroken, folder)]
                wrong += ['files'] if files[0] != files[1] else []
                failed += len(moments) if wrong else 0
                print(f'{"DIFFERS" if wrong else "equal":8} {name}: killed {len(moments)} x, after '
                      f'{", ".join(moments)} of {seconds:.1f} s', *wrong[:10], sep='\n    ', flush=True)
            kills += done
    print(f'{kills} kills of {len(names)} arrangements: {kills - failed} resumed and equal to the bit')
    sys.exit(failed > 0)


if __name__ == '__main__':
    main()
