"""A run that is asked to stop, or whose disk, memory, workers or numbers fail: what is left, and what is said."""
import errno
import os
import signal
import textwrap
from pathlib import Path

import pytest
import torch
import toy_run
from mmengine.hooks import Hook
from test_runner import assert_same_state
from torch.utils.data import DataLoader
from warm_process import run_two

from mmdet.checkpoints import read_checkpoint
from mmdet.command_line import plain_errors
from mmdet.engine.failures import named_failures
from mmdet.engine.hooks import stop_hook
from mmdet.engine.hooks.checkpoint_hook import DiskFullError
from mmdet.engine.loader_workers import prepare_workers
from mmdet.engine.restart import restarted
from mmdet.errors import UserError
from mmdet.registry import HOOKS

EMA = dict(type='EMAHook', momentum=0.1, update_buffers=True)


@HOOKS.register_module()
class At(Hook):
    """Does something of ACTIONS at an iteration or, with val=True, in the validation behind it."""

    def __init__(self, iteration, what, val=False):
        self.iteration, self.what, self.val = iteration, what, val

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration and not self.val:
            ACTIONS[self.what](runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration and batch_idx == 1 and self.val:
            ACTIONS[self.what](runner)


def send(number):
    """To this process, twice: as a launcher that passes on what the whole group got."""
    return lambda runner: [os.kill(os.getpid(), number) for _ in range(2)]


def spoil(runner):
    with torch.no_grad():
        runner.model.head.weight[0, 3] = float('nan')


def overflow(runner):
    runner.optim_wrapper.optimizer.param_groups[0]['lr'] = 1e39


ACTIONS = dict(SIGTERM=send(signal.SIGTERM), SIGUSR1=send(signal.SIGUSR1), SIGINT=send(signal.SIGINT), spoil=spoil,
               overflow=overflow)


def log_of(folder):
    return ''.join(path.read_text() for path in Path(folder).glob('*/*.log'))


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run') / 'unbroken'
    toy_run.train(folder, custom_hooks=[EMA])
    return folder


@pytest.mark.parametrize('name, at, status', [
    ('SIGTERM', dict(iteration=6), 75), ('SIGUSR1', dict(iteration=8, val=True), 75),
    ('SIGINT', dict(iteration=4), 130)], ids=str)
def test_a_signal_stops_behind_its_step_and_nothing_is_lost(unbroken, tmp_path, name, at, status, capfd, request):
    # A shell lets what it starts in the background ignore SIGINT.
    number = signal.Signals[name]
    before = signal.signal(number, signal.default_int_handler if name == 'SIGINT' else signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(number, before))
    with pytest.raises(SystemExit) as stopped, plain_errors():
        toy_run.train(tmp_path, custom_hooks=[EMA, dict(type='At', what=name, **at)])
    assert stopped.value.code == status
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    assert f'{name}: stops behind this step' in capfd.readouterr().err
    assert f'Stopped by {name} after iteration {at["iteration"]}: the same command with --resume' in log_of(tmp_path)
    assert read_checkpoint(tmp_path / 'stopped.pth')['meta']['iter'] == at['iteration']
    toy_run.train(tmp_path, custom_hooks=[EMA], resume=True)
    assert not (tmp_path / 'stopped.pth').exists()
    assert_same_state(unbroken / 'epoch_3.pth', tmp_path / 'epoch_3.pth')
    ema = [read_checkpoint(folder / 'epoch_3.pth')['ema_state_dict'] for folder in (unbroken, tmp_path)]
    torch.testing.assert_close(*ema, rtol=0, atol=0)


@pytest.mark.parametrize('seconds, status', [(0, -signal.SIGTERM), (60, 0)])
def test_a_later_signal_ends_it_at_once(seconds, status, monkeypatch):
    monkeypatch.setattr(stop_hook, 'ONE_SIGNAL', seconds)
    child = os.fork()
    if child == 0:
        with stop_hook._listening(lambda number: None):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status


def test_two_processes_agree_on_the_step_and_name_one_that_is_gone(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(textwrap.dedent('''
        import os, torch
        from mmdet.engine.distributed import start_process_group
        from mmdet.engine.failures import named_failures
        from mmdet.engine.hooks.stop_hook import LaggedMaximum
        start_process_group('pytorch', timeout=60)
        rank = torch.distributed.get_rank()
        agree = LaggedMaximum()
        print([agree(15 * (rank == 1 and step > 1)) for step in range(5)])
        try:
            with named_failures(patience=1):
                if rank == 1:
                    raise ValueError('lr is odd')
                torch.distributed.all_reduce(torch.ones(1))
        except Exception as error:
            print(type(error).__name__, error)
    '''))
    first, second = run_two(script)
    assert first.splitlines()[0] == second.splitlines()[0] == '[0, 0, 0, 15, 15]'
    assert second.splitlines()[1] == 'ValueError lr is odd'
    assert 'UserError process 1 on ' in first and 'ended with ValueError: lr is odd. Start all' in first


def test_a_loss_that_is_not_finite_is_in_no_checkpoint_and_its_first_iteration_is_named(tmp_path):
    with pytest.raises(UserError, match=r'loss is not finite at iteration 7: loss\. Images of this batch'):
        toy_run.train(tmp_path, custom_hooks=[dict(type='At', iteration=7, what='spoil')],
                      **{'default_hooks.logger.interval': 100})
    assert sorted(path.name for path in tmp_path.glob('*.p*th')) == ['epoch_1.pth']


def test_weights_that_become_infinite_at_the_last_step_end_the_run_with_an_error(tmp_path):
    with pytest.raises(UserError, match=r'\d+ of 8 weights are not finite by iteration 12.*stem.weight'):
        toy_run.train(tmp_path, custom_hooks=[dict(type='At', iteration=12, what='overflow')],
                      **{'default_hooks.checkpoint.interval': -1})


def fail_fsync(monkeypatch, *calls):
    """Let these calls of fsync meet a full disk; the others are left out, as they take time."""
    count = iter(range(100))

    def fsync(file):
        if next(count) in calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, 'fsync', fsync)


def test_a_full_disk_costs_one_checkpoint(tmp_path, monkeypatch):
    fail_fsync(monkeypatch, 1, 3)
    values = iter([.1, .2, .3])
    monkeypatch.setattr(toy_run.ToyMetric, 'compute_metrics', lambda metric, results: dict(mAP=next(values)))
    # Written: epoch_1; not best_1; epoch_2; not best_2; epoch_3; best_3, epoch_3.
    toy_run.train(tmp_path, **{'default_hooks.checkpoint.save_best': 'mAP'})
    assert {path.name for path in tmp_path.glob('*.pth')} == {'best_mAP_epoch_3.pth', 'epoch_1.pth', 'epoch_2.pth',
                                                              'epoch_3.pth'}
    assert not list(tmp_path.glob('.*part'))
    assert log_of(tmp_path).count('could not be written (No space left on device): it needs') == 2


def test_a_full_disk_at_the_last_checkpoint_is_an_error(tmp_path, monkeypatch):
    fail_fsync(monkeypatch, 1, 2)
    with pytest.raises(DiskFullError, match=r'epoch_3.pth could not be written.*it needs [\d,]+ bytes, and [\d,]+ are'):
        toy_run.train(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_too_little_space_is_told_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda path: type('Usage', (), dict(free=100)))
    with pytest.raises(DiskFullError, match='has 100 bytes free, and the weights alone need 2'):
        toy_run.train(tmp_path)
    assert not toy_run.ToyDataset.loaded


class Fails:
    """A batch that cannot be handed over."""

    def __reduce__(self):
        raise RuntimeError('unable to write to file </torch_1>: No space left on device (28)')


def hand_over(samples):
    return Fails()


def die(worker):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize('options, match', [
    (dict(collate_fn=hand_over), 'shm.*is full: it has [0-9,]+ bytes.*num_workers'),
    (dict(worker_init_fn=die), 'loader worker, process [0-9]+, ended .*[Kk]illed.*memory')], ids=['full', 'killed'])
def test_the_end_of_a_worker_is_named(options, match, capfd):
    loader = DataLoader(list(range(4)), num_workers=1, **options)
    prepare_workers(loader)
    with pytest.raises(UserError, match=match), named_failures():
        list(loader)


def test_a_restarted_run_goes_on_from_its_own_checkpoint_alone(tmp_path, monkeypatch):
    pointer = tmp_path / 'last_checkpoint'
    pointer.touch()  # of an earlier run
    assert not restarted(str(tmp_path))
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    os.utime(pointer, (1, 1))
    assert not restarted(str(tmp_path))
    pointer.touch()
    assert restarted(str(tmp_path))
    assert not restarted(str(tmp_path / 'other'))
