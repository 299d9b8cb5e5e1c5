import cbn_run
import pytest
import torch
from test_runner import BY_ITERATION, assert_same_state, stopped_at
from warm_process import run_two

from mmdet.checkpoints import read_checkpoint
from mmdet.errors import UserError


def test_an_epoch_has_as_many_iterations_as_the_loader(tmp_path):
    runner = cbn_run.train(tmp_path, dict(type='CBN', burnin=1.5))
    norm = runner.model.stem.bn
    assert norm.burnin_iters == 6  # 4 batches an epoch
    assert norm.iteration == 12 and norm.stored == 6


def test_without_the_hook_a_burnin_in_epochs_is_an_error(tmp_path):
    with pytest.raises(UserError, match='CBNHook'):
        cbn_run.train(tmp_path, dict(type='CBN', burnin=1), **{'default_hooks.cbn': None})


@pytest.mark.parametrize('iteration', [1, 2, 3, 6])
def test_resumed_inside_an_epoch_equals_the_unbroken_run(tmp_path, iteration):
    cbn_run.train(tmp_path / 'unbroken', **BY_ITERATION)
    folder = stopped_at(tmp_path / f'unbroken/iter_{iteration}.pth', tmp_path / 'resumed')
    runner = cbn_run.train(folder, resume=True, **BY_ITERATION)
    assert runner.model.stem.bn.stored == 10
    assert_same_state(tmp_path / 'unbroken/iter_12.pth', tmp_path / 'resumed/iter_12.pth')


def test_two_processes_resume_each_with_its_own_history(tmp_path):
    (key, value), = BY_ITERATION.items()
    options = ['launcher=pytorch', f'{key}={value}']
    run_two(cbn_run.__file__, tmp_path / 'unbroken', *options)
    stopped_at(tmp_path / 'unbroken/iter_3.pth', tmp_path / 'resumed')
    run_two(cbn_run.__file__, tmp_path / 'resumed', *options, 'resume=True')
    last = [tmp_path / folder / 'iter_6.pth' for folder in ('unbroken', 'resumed')]
    assert_same_state(*last)
    unbroken, resumed = map(read_checkpoint, last)
    torch.testing.assert_close(unbroken['cbn_histories'], resumed['cbn_histories'], rtol=0, atol=0)
    assert unbroken['cbn_histories'][0] == {}
    of_second = unbroken['cbn_histories'][1]
    for name, value in of_second.items():
        if 'slope' in name:
            assert (value - unbroken['state_dict'][name]).abs().max() > 1e-4
    # On another number of processes it goes on with the history of the first.
    runner = cbn_run.train(stopped_at(tmp_path / 'unbroken/iter_3.pth', tmp_path / 'alone'), resume=True)
    assert runner.model.stem.bn.iteration > 6
