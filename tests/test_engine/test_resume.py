"""A resumed run equals the unbroken one, whatever loads the data and wherever it was cut."""
import copy
import random

import numpy as np
import pytest
import torch
import toy_run
from mmengine.dataset import DefaultSampler, InfiniteSampler
from test_runner import BY_ITERATION, assert_same_state, stopped_at
from torch.utils.data import BatchSampler, DataLoader

from mmdet.checkpoints import read_checkpoint
from mmdet.engine.seeded_batches import SeededBatchSampler, seed_batches

WORKERS = {'train_dataloader.num_workers': 2, 'val_dataloader.num_workers': 1}
ACCUMULATED = {'optim_wrapper.accumulative_counts': 3}
EMA = dict(custom_hooks=[dict(type='EMAHook', momentum=0.1, update_buffers=True)])


class Draws(torch.utils.data.Dataset):
    """Samples that are what the three generators draw."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(1).item()


def collate(samples):
    return samples


def loader(num_workers=0, sampler=DefaultSampler, **options):
    made = DataLoader(Draws(), collate_fn=collate, num_workers=num_workers, generator=torch.Generator(), **options,
                      batch_sampler=BatchSampler(sampler(Draws(), seed=1), 2, False))
    seed_batches(made, 7)
    return made


def passes(loader, epochs=2):
    drawn = []
    for loader.batch_sampler.epoch in range(epochs):
        drawn.append(dict((sample[0], sample[1:]) for batch in loader for sample in batch))
    return drawn


def test_a_sample_draws_the_same_whoever_loads_it_and_something_else_each_epoch():
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    expected = passes(loader())
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == state
    numbers = [number for epoch in expected for drawn in epoch.values() for number in drawn]
    assert len(set(numbers)) == len(numbers) == 2 * 5 * 3
    assert passes(loader(1)) == passes(loader(2, persistent_workers=True)) == expected


def test_an_index_that_comes_again_draws_something_else_and_skipped_batches_count():
    batches = [[sample for sample in batch] for batch, _ in zip(loader(sampler=InfiniteSampler), range(7))]
    assert len({sample[1] for batch in batches for sample in batch}) == 14
    again = loader(sampler=InfiniteSampler)
    again.batch_sampler.skip = 5
    assert [batch for batch, _ in zip(again, range(2))] == batches[5:]
    copy.deepcopy(loader().batch_sampler)


def test_100000_batches_are_skipped_at_once():
    sampler = SeededBatchSampler(BatchSampler(range(400_000), 2, False), 0)
    sampler.skip = 100_000
    assert next(iter(sampler)) == [200_000, 200_001]


@pytest.mark.parametrize('cut, options', [
    (2, dict(WORKERS, **{'train_dataloader.persistent_workers': True})), (5, dict(WORKERS, **ACCUMULATED)),
    (4, dict(ACCUMULATED, **EMA))], ids=str)
def test_workers_and_a_cut_change_nothing(tmp_path, cut, options):
    """The unbroken run loads by itself."""
    alone = {key: value for key, value in options.items() if 'worker' not in key}
    toy_run.train(tmp_path / 'unbroken', **BY_ITERATION, **alone)
    toy_run.train(stopped_at(tmp_path / f'unbroken/iter_{cut}.pth', tmp_path / 'resumed'), resume=True,
                  **BY_ITERATION, **options)
    assert_same_state(tmp_path / 'unbroken/iter_12.pth', tmp_path / 'resumed/iter_12.pth')
    one, other = (read_checkpoint(tmp_path / folder / 'iter_12.pth') for folder in ('unbroken', 'resumed'))
    torch.testing.assert_close(one.get('ema_state_dict'), other.get('ema_state_dict'), rtol=0, atol=0)
    log = next((tmp_path / 'resumed').glob('*/*.log')).read_text()
    assert 'is lost' not in log and 'were accumulated' not in log


SCHEDULE = {'train_cfg': dict(by_epoch=False, max_iters=9, val_interval=3), 'log_processor.by_epoch': False,
            'param_scheduler': [], 'default_hooks.checkpoint': dict(type='CheckpointHook', interval=3, by_epoch=False)}


@pytest.mark.parametrize('first, last, options', [
    ('epoch_1', 'epoch_3', {}), ('iter_3', 'iter_9', SCHEDULE)], ids=['epochs', 'iterations'])
def test_a_validation_that_a_kill_prevented_comes_first(tmp_path, monkeypatch, first, last, options):
    toy_run.train(tmp_path / 'unbroken', **options)
    evaluate = toy_run.ToyMetric.compute_metrics

    def killed(metric, results):
        raise SystemExit
    monkeypatch.setattr(toy_run.ToyMetric, 'compute_metrics', killed)
    with pytest.raises(SystemExit):
        toy_run.train(tmp_path / 'killed', **options)
    assert (tmp_path / 'killed/last_checkpoint').read_text().endswith(f'{first}.pth')
    monkeypatch.setattr(toy_run.ToyMetric, 'compute_metrics', evaluate)
    runner = toy_run.train(tmp_path / 'killed', resume=True, **options)
    assert_same_state(*(tmp_path / folder / f'{last}.pth' for folder in ('unbroken', 'killed')))
    hubs = [read_checkpoint(tmp_path / folder / f'{last}.pth')['message_hub'] for folder in ('unbroken', 'killed')]
    values = [hub['log_scalars']['val/mAP'].data[0].tolist() for hub in hubs]
    assert values[0] == values[1] and len(values[0]) == 2
    # The last one is over, but the checkpoint does not know.
    assert len(runner.message_hub.get_scalar('val/mAP').data[0]) == 3


@pytest.mark.parametrize('options', [{}, SCHEDULE], ids=['epochs', 'iterations'])
def test_a_validation_leaves_the_model_training(tmp_path, monkeypatch, options):
    seen, forward = set(), toy_run.ToyModel.forward

    def recorded(self, inputs, data_samples, mode):
        seen.add((mode, self.training))
        return forward(self, inputs, data_samples, mode)
    monkeypatch.setattr(toy_run.ToyModel, 'forward', recorded)
    toy_run.train(tmp_path, **options)
    assert seen == {('loss', True), ('predict', False)}


def test_a_validation_that_made_the_best_checkpoint_is_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_run.ToyMetric, 'compute_metrics', lambda metric, results: dict(mAP=1.))
    options = {'default_hooks.checkpoint.save_best': 'mAP', 'train_cfg.max_epochs': 1}
    toy_run.train(tmp_path, **options)
    meta = read_checkpoint(tmp_path / 'epoch_1.pth')['meta']
    assert meta['validated'] and torch.equal(meta['random_states'][0]['torch'], torch.get_rng_state())
    monkeypatch.setattr(toy_run.ToyMetric, 'compute_metrics', lambda metric, results: 1 / 0)
    runner = toy_run.train(tmp_path, resume=True, **options)
    assert runner.message_hub.get_scalar('val/mAP').data[0].tolist() == [1.]
