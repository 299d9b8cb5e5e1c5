"""PreciseBNHook against statistics of all the training data in one batch."""
import cbn_run
import pytest
import torch
import toy_run
from mmengine.model import BaseModel
from torch import nn

from mmdet.checkpoints import read_checkpoint
from mmdet.models.layers import build_norm_layer, conv_norm
from mmdet.registry import MODELS

PRECISE = dict(type='PreciseBNHook')


@MODELS.register_module()
class FixedInputs(BaseModel):
    """Norms behind convolutions of the data alone, once each batch, once every second batch."""

    def __init__(self, kind):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)
        self.norm, self.sometimes, self.frozen = (build_norm_layer(dict(type=kind), 3)[1] for _ in range(3))
        self.calls = 0

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, inputs, data_samples, mode):
        x = torch.stack(inputs)[:, :1, None, None].repeat(1, 1, 2, 2)
        self.calls += 1
        rows = slice(0, None if self.calls % 2 else 0)
        out = [conv_norm(x, self.conv, norm) for norm in (self.norm, self.frozen)]
        out += [conv_norm(x[rows], self.conv, self.sometimes)]
        if mode == 'predict':
            return [dict(index=index, value=0.) for index in data_samples]
        return dict(loss=sum(o.square().sum() for o in out))


@pytest.mark.parametrize('kind', ['BN', 'SyncBN', 'CBN'])
def test_statistics_are_those_of_all_the_data(tmp_path, kind):
    runner = toy_run.train(tmp_path, model=dict(type='FixedInputs', kind=kind), custom_hooks=[PRECISE],
                           optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4)))
    model = runner.model
    values = torch.tensor([i / runner.train_dataloader.dataset.length
                           for i in range(runner.train_dataloader.dataset.length)])
    y = model.conv(values.view(-1, 1, 1, 1)).detach()
    torch.testing.assert_close(model.norm.running_mean, y.mean((0, 2, 3)))
    # Each of the 4 batches: 2 images of 4 positions; its unbiased variance counts 8/7 of the biased.
    between = model.norm.running_var / y.var((0, 2, 3), unbiased=False)
    assert ((between > 0.99) & (between < 8 / 7 + 0.01)).all()
    assert not model.frozen.running_mean.any() and (model.frozen.running_var == 1).all()
    assert model.sometimes.running_mean.isfinite().all() and model.norm.momentum == 0.1
    saved = read_checkpoint(tmp_path / 'epoch_3.pth')['state_dict']
    assert torch.equal(saved['norm.running_mean'], model.norm.running_mean)


def test_it_changes_nothing_else(tmp_path):
    cbn_run.train(tmp_path / 'without')
    cbn_run.train(tmp_path / 'with', hooks=[PRECISE])
    without, precise = (read_checkpoint(tmp_path / f'{name}/epoch_3.pth') for name in ('without', 'with'))
    weights = precise['state_dict']
    differ = {name for name, value in without['state_dict'].items() if not torch.equal(value, weights[name])}
    assert differ == {f'{layer}.bn.running_{name}' for layer in ('stem', 'body') for name in ('mean', 'var')}
    torch.testing.assert_close(without['optimizer'], precise['optimizer'], rtol=0, atol=0)


def test_by_iterations(tmp_path):
    runner = cbn_run.train(tmp_path, hooks=[dict(PRECISE, interval=5, by_epoch=False)])
    assert runner.model.stem.bn.num_batches_tracked == 12
