import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import toy_run
from warm_process import Script, run_two

from mmdet.checkpoints import read_checkpoint
from mmdet.engine import Runner
from mmdet.errors import UserError

BY_ITERATION = {'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1, by_epoch=False)}


def stopped_at(checkpoint, folder):
    """A work_dir as a run leaves it that is stopped just after writing `checkpoint`."""
    folder.mkdir()
    shutil.copy(checkpoint, folder)
    (folder / 'last_checkpoint').write_text(str(folder / checkpoint.name))
    return folder


def assert_same_state(one, other):
    """Weights, momentum, schedules and generators of two checkpoints are equal to the bit."""
    one, other = read_checkpoint(one), read_checkpoint(other)
    torch.testing.assert_close(one['state_dict'], other['state_dict'], rtol=0, atol=0)
    assert one['optimizer']['state'], 'the optimizer has no momentum to compare'
    torch.testing.assert_close(one['optimizer'], other['optimizer'], rtol=0, atol=0)
    assert one['param_schedulers'] == other['param_schedulers']
    for a, b in zip(one['meta']['random_states'], other['meta']['random_states'], strict=True):
        assert a['python'] == b['python'] and a['numpy'] == b['numpy'] and torch.equal(a['torch'], b['torch'])
    assert (one['meta']['epoch'], one['meta']['iter']) == (other['meta']['epoch'], other['meta']['iter'])


@pytest.mark.parametrize('epoch', [1, 2])
def test_resumed_after_an_epoch_equals_the_unbroken_run(tmp_path, epoch):
    toy_run.train(tmp_path / 'unbroken')
    order = toy_run.ToyDataset.loaded
    toy_run.train(stopped_at(tmp_path / f'unbroken/epoch_{epoch}.pth', tmp_path / 'resumed'), resume=True)
    assert_same_state(tmp_path / 'unbroken/epoch_3.pth', tmp_path / 'resumed/epoch_3.pth')
    assert toy_run.ToyDataset.loaded == order[8 * epoch:]


@pytest.mark.parametrize('iteration', [1, 6, 8])
def test_resumed_inside_an_epoch_loads_only_what_is_left_and_equals_the_unbroken_run(tmp_path, iteration):
    toy_run.train(tmp_path / 'unbroken', **BY_ITERATION)
    order = toy_run.ToyDataset.loaded
    toy_run.train(stopped_at(tmp_path / f'unbroken/iter_{iteration}.pth', tmp_path / 'resumed'), resume=True,
                  **BY_ITERATION)
    assert_same_state(tmp_path / 'unbroken/iter_12.pth', tmp_path / 'resumed/iter_12.pth')
    assert toy_run.ToyDataset.loaded == order[2 * iteration:]


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
@pytest.mark.parametrize('iteration', [4, 6])
def test_resumed_by_iterations_equals_the_unbroken_run(tmp_path, sampler, iteration):
    schedule = [dict(type='MultiStepLR', by_epoch=False, milestones=[5, 8])]
    options = {**BY_ITERATION, 'train_cfg': dict(by_epoch=False, max_iters=11, val_interval=4),
               'train_dataloader.sampler.type': sampler, 'log_processor.by_epoch': False, 'param_scheduler': schedule}
    toy_run.train(tmp_path / 'unbroken', **options)
    order = toy_run.ToyDataset.loaded
    toy_run.train(stopped_at(tmp_path / f'unbroken/iter_{iteration}.pth', tmp_path / 'resumed'), resume=True, **options)
    assert_same_state(tmp_path / 'unbroken/iter_11.pth', tmp_path / 'resumed/iter_11.pth')
    assert toy_run.ToyDataset.loaded == order[2 * iteration:]
    assert len(order) == 22 and sorted(order[:8]) == list(range(8)) and order[:8] != order[8:16]


def test_a_loader_without_batches_is_named(tmp_path):
    with pytest.raises(ValueError, match='train_dataloader holds no batch: the data set has 8 images.*batch_size'):
        toy_run.train(tmp_path, **{'train_cfg': dict(by_epoch=False, max_iters=1), 'param_scheduler': [],
                                   'train_dataloader.batch_size': 9, 'train_dataloader.drop_last': True})


def test_resume_finds_the_order_of_a_run_without_a_seed(tmp_path):
    toy_run.train(tmp_path / 'unbroken', randomness=dict(seed=None))
    order = toy_run.ToyDataset.loaded
    toy_run.train(stopped_at(tmp_path / 'unbroken/epoch_2.pth', tmp_path / 'resumed'), resume=True,
                  randomness=dict(seed=None))
    assert toy_run.ToyDataset.loaded == order[16:]


def test_validation_does_not_change_the_training(tmp_path):
    toy_run.train(tmp_path / 'with')
    toy_run.train(tmp_path / 'without', val_cfg=None, val_dataloader=None, val_evaluator=None)
    assert_same_state(tmp_path / 'with/epoch_3.pth', tmp_path / 'without/epoch_3.pth')


def test_resume_of_a_finished_run_validates(tmp_path):
    toy_run.train(tmp_path)
    runner = toy_run.train(tmp_path, resume=True)
    assert len(runner.message_hub.get_scalar('val/mAP').data[0]) == 3  # two before epoch_3.pth was written
    assert toy_run.ToyDataset.loaded == []


def test_resume_follows_a_moved_work_dir(tmp_path):
    toy_run.train(tmp_path / 'here')
    (tmp_path / 'here').rename(tmp_path / 'there')
    assert toy_run.train(tmp_path / 'there', resume=True).epoch == 3


def test_resume_without_a_checkpoint_starts_from_the_beginning(tmp_path):
    toy_run.train(tmp_path, resume=True)
    assert len(toy_run.ToyDataset.loaded) == 24


def test_resume_with_other_batches_begins_the_epoch_again(tmp_path):
    toy_run.train(tmp_path / 'first', **BY_ITERATION)
    folder = stopped_at(tmp_path / 'first/iter_6.pth', tmp_path / 'resumed')
    toy_run.train(folder, resume=True, **{'train_dataloader.batch_size': 4})
    assert len(toy_run.ToyDataset.loaded) == 16
    assert read_checkpoint(folder / 'epoch_3.pth')['meta']['iter'] == 6


def test_resume_of_weights_alone_says_what_to_do(tmp_path):
    toy_run.train(tmp_path)
    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=read_checkpoint(tmp_path / 'epoch_1.pth')['state_dict']), weights)
    with pytest.raises(ValueError, match='weights.pth cannot be resumed.*load_from='):
        toy_run.train(tmp_path, resume=True, load_from=str(weights))


def test_killed_run_is_resumed(tmp_path):
    process = Script(toy_run.__file__, tmp_path / 'killed', 'train_dataloader.dataset.delay=0.05')
    deadline = time.monotonic() + 120
    while not (tmp_path / 'killed/last_checkpoint').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, 'the run ended before it could be killed'
    assert not (tmp_path / 'killed/epoch_3.pth').exists()
    torch.set_num_threads(1)
    toy_run.train(tmp_path / 'killed', resume=True)
    toy_run.train(tmp_path / 'unbroken')
    assert_same_state(tmp_path / 'unbroken/epoch_3.pth', tmp_path / 'killed/epoch_3.pth')


def test_two_processes_train_and_resume_like_an_unbroken_run(tmp_path):
    run_two(toy_run.__file__, tmp_path / 'unbroken', 'launcher=pytorch')
    run_two(toy_run.__file__, stopped_at(tmp_path / 'unbroken/epoch_1.pth', tmp_path / 'resumed'), 'launcher=pytorch',
            'resume=True')
    assert_same_state(tmp_path / 'unbroken/epoch_3.pth', tmp_path / 'resumed/epoch_3.pth')
    meta = read_checkpoint(tmp_path / 'unbroken/epoch_1.pth')['meta']
    assert meta['iter'] == 2 and len(meta['random_states']) == 2  # four samples each


@pytest.mark.parametrize('keep', [1, -1])
def test_a_crash_while_writing_leaves_the_checkpoint_before_it(tmp_path, monkeypatch, keep):
    write = torch.save

    def crash_at_the_second(checkpoint, file):
        if checkpoint['meta']['epoch'] == 2:
            raise KeyboardInterrupt
        write(checkpoint, file)
    monkeypatch.setattr(torch, 'save', crash_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        toy_run.train(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': keep})
    latest = Path((tmp_path / 'last_checkpoint').read_text())
    assert latest.name == 'epoch_1.pth' and read_checkpoint(latest)['meta']['epoch'] == 1
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_only_the_last_checkpoints_are_kept(tmp_path):
    toy_run.train(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 2})
    assert sorted(path.name for path in tmp_path.glob('*.p*th')) == ['epoch_2.pth', 'epoch_3.pth']
    toy_run.train(tmp_path, resume=True, **{'default_hooks.checkpoint.max_keep_ckpts': 1, 'train_cfg.max_epochs': 4})
    assert sorted(path.name for path in tmp_path.glob('*.p*th')) == ['epoch_4.pth']


def test_save_best(tmp_path):
    for name in ('mAP', 'auto'):
        toy_run.train(tmp_path / name, **{'default_hooks.checkpoint.save_best': name})
        assert len(list(tmp_path.glob(f'{name}/best_mAP_epoch_*.pth'))) == 1


def test_a_test_needs_every_weight(tmp_path):
    toy_run.train(tmp_path)
    options = dict(load_from=str(tmp_path / 'epoch_3.pth'), experiment_name='test')
    metrics = Runner.from_cfg(toy_run.config(tmp_path, **options)).test()
    assert set(metrics) == {'mAP'}
    with pytest.raises(ValueError, match=r'epoch_3.pth does not fit ToyModel(.|\n)*stem.weight'):
        Runner.from_cfg(toy_run.config(tmp_path, **options, **{'model.width': 4})).test()


def test_fine_tuning_takes_what_fits(tmp_path, caplog):
    toy_run.train(tmp_path)
    checkpoint = read_checkpoint(tmp_path / 'epoch_3.pth')
    del checkpoint['state_dict']['head.bias']
    torch.save(checkpoint, tmp_path / 'part.pth')
    runner = Runner.from_cfg(toy_run.config(tmp_path, load_from=str(tmp_path / 'part.pth')))
    runner.load_or_resume()
    assert torch.equal(runner.model.stem.weight, checkpoint['state_dict']['stem.weight'])
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'missing in the file: 1' in log and 'head.bias' in log


def test_log_holds_memory_and_eta_as_text_and_json(tmp_path):
    runner = toy_run.train(tmp_path)
    text = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'memory: ' in text and 'eta: 0:00:0' in text and 'data_time: ' in text
    assert 'FileClient' not in text
    scalars = (Path(runner.log_dir) / 'vis_data/scalars.json').read_text()
    assert all(f'"{name}"' in scalars for name in ('memory', 'eta', 'data_time', 'loss', 'lr', 'mAP'))


def test_missing_log_backend_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='WandbVisBackend')])
    with pytest.raises(UserError, match='WandbVisBackend.*pip install wandb'):
        Runner.from_cfg(toy_run.config(tmp_path, visualizer=visualizer))


def test_launcher_without_its_variables_says_how_to_start(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
            monkeypatch.delenv(name)
    with pytest.raises(ValueError, match='RANK is not set.*dist_train.sh'):
        Runner.from_cfg(toy_run.config(tmp_path, launcher='pytorch'))
