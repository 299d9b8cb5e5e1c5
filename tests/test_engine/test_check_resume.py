"""A checkpoint that no training can go on from is named with the entry, before anything is run or taken."""
import os

import numpy as np
import pytest
import torch
import toy_run

from mmdet.checkpoints import read_checkpoint
from mmdet.engine.check_resume import check_training_state
from mmdet.errors import UserError

ADAM = dict(type='Adam', lr=0.01)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """The folder of a training by SGD and of one by Adam, and their optimizers and schedules."""
    folder = tmp_path_factory.mktemp('saved')
    sgd, adam = (toy_run.train(folder / name, **options, **{'train_cfg.max_epochs': 1}) for name, options in (
        ('SGD', {}), ('Adam', {'optim_wrapper.optimizer': ADAM})))
    return folder, *((runner.optim_wrapper, runner.param_schedulers) for runner in (sgd, adam))


def entry(path, value):
    """Sets `value` at a dotted path of a checkpoint."""
    def change(checkpoint):
        *parents, name = (int(part) if part.isdigit() else part for part in path.split('.'))
        for parent in parents:
            checkpoint = checkpoint[parent]
        checkpoint[name] = value
    return change


MISTAKES = {
    'meta.epoch is ': [entry('meta.epoch', value) for value in (-1, None, 1.5, 'abc')],
    'meta.iter is ': [entry('meta.iter', value) for value in (-4, [1], np.int64(3))],
    'meta.seed is ': [entry('meta.seed', 'a')],
    'message_hub.log_scalars is ': [entry('message_hub', value) for value in (None, [], dict(log_scalars=3))],
    'message_hub.runtime_info is ': [entry('message_hub.runtime_info', {1: 2})],
    'cbn_histories is ': [entry('cbn_histories', value) for value in (None, [3])],
    'optimizer is ': [entry('optimizer', value) for value in (None, [], dict(state=3, param_groups=[]))],
    'optimizer is of 5 parameters in 1 groups, this training has 6 in 1': [
        lambda checkpoint: checkpoint['optimizer']['param_groups'][0]['params'].pop()],
    r'optimizer.state\[0\].momentum_buffer is torch.float32 of shape \(2,\)': [
        entry('optimizer.state.0.momentum_buffer', torch.ones(2))],
    r'optimizer.state\[1\].momentum_buffer is torch.int64': [
        entry('optimizer.state.1.momentum_buffer', torch.ones(8, dtype=torch.long))],
    r'optimizer.state\[1\].momentum_buffer holds values that are not finite': [
        entry('optimizer.state.1.momentum_buffer', torch.full((8,), torch.nan))],
    r'optimizer.state\[2\].momentum_buffer is a list': [entry('optimizer.state.2.momentum_buffer', [1.])],
    r'optimizer.state\[2\] holds exp_avg, but SGD needs momentum_buffer': [
        entry('optimizer.state.2', dict(exp_avg=torch.ones(8)))],
    r'optimizer.state is empty after \d+ iterations': [entry('optimizer.state', {})],
    r'optimizer.param_groups\[0\].lr is ': [entry('optimizer.param_groups.0.lr', value)
                                            for value in ('abc', float('nan'), None)],
    r'optimizer.loss_scaler is ': [entry('optimizer.loss_scaler', value) for value in (3, dict(scale='a'))],
    r'param_schedulers is ': [entry('param_schedulers', value) for value in (None, [3])],
    r'param_schedulers\[0\].last_step is ': [entry('param_schedulers.0.last_step', 'a')],
    r'param_schedulers\[1\].base_values is ': [entry('param_schedulers.1.base_values', value)
                                               for value in (None, [float('inf')])],
}


def test_mistakes_are_named(subtests, saved):
    folder, sgd, _ = saved
    for message, changes in MISTAKES.items():
        with subtests.test(message):
            for change in changes:
                checkpoint = read_checkpoint(folder / 'SGD/epoch_1.pth')
                change(checkpoint)
                with pytest.raises(UserError, match=f'^a.pth: {message}'):
                    check_training_state(checkpoint, 'a.pth', *sgd)


def test_the_state_of_another_optimizer_is_named(saved):
    folder, sgd, adam = saved
    with pytest.raises(UserError, match=r'optimizer.state\[0\] holds step, .* but SGD needs momentum_buffer'):
        check_training_state(read_checkpoint(folder / 'Adam/epoch_1.pth'), 'a.pth', *sgd)
    with pytest.raises(UserError, match=r'optimizer.state\[0\] holds momentum_buffer, but Adam needs exp_avg'):
        check_training_state(read_checkpoint(folder / 'SGD/epoch_1.pth'), 'a.pth', *adam)


def test_a_hostile_checkpoint_of_an_older_torch(saved, tmp_path, monkeypatch):
    """mmengine would read meta.config as a program; options that were not saved are the config's."""
    monkeypatch.chdir(tmp_path)
    checkpoint = read_checkpoint(saved[0] / 'SGD/epoch_1.pth')
    checkpoint['meta']['config'] = 'open("ran", "w").close()'
    del checkpoint['optimizer']['param_groups'][0]['nesterov']
    torch.save(checkpoint, tmp_path / 'hostile.pth')
    runner = toy_run.train('resumed', resume=True, load_from='hostile.pth')
    assert not os.path.exists('ran')
    assert runner.optim_wrapper.param_groups[0]['nesterov'] is False and runner.epoch == 3
    checkpoint['optimizer']['state'][0]['momentum_buffer'] = torch.ones(1)
    torch.save(checkpoint, 'hostile.pth')
    with pytest.raises(UserError, match='hostile.pth: optimizer'):
        toy_run.train('resumed', resume=True, load_from='hostile.pth')
