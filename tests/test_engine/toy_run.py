"""A training of seconds, whose result depends on every random generator, the order of the data and the optimizer.

Run as a script by the tests that need processes of their own: toy_run.py WORK_DIR [key=value of the config ...].
"""
import ast
import random
import sys
import time

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn

from mmdet.engine import Runner
from mmdet.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module()
class ToyDataset(BaseDataset):
    METAINFO = dict(classes=('small', 'large'))
    loaded = []  # indices of the training, in the order they were loaded

    def __init__(self, length=8, delay=0., **kwargs):
        self.length = length
        self.delay = delay  # seconds that loading a sample takes
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(value=i / self.length) for i in range(self.length)]

    def __getitem__(self, index):
        if not self.test_mode:
            self.loaded.append(index)
            if self.delay:
                time.sleep(self.delay)
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        return dict(inputs=torch.tensor([self.get_data_info(index)['value'], noise]), data_samples=index)


@MODELS.register_module()
class ToyModel(BaseModel):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 1)

    def init_weights(self):
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, 0.1)

    def forward(self, inputs, data_samples, mode):
        x = self.norm(self.stem(torch.stack(inputs)))
        x = self.head(torch.nn.functional.dropout(x, 0.5, self.training))[:, 0]
        if mode == 'predict':
            return [dict(index=index, value=value.item()) for index, value in zip(data_samples, x, strict=True)]
        return dict(loss=(x - torch.stack(inputs)[:, 0]).square().mean())


@METRICS.register_module()
class ToyMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [sample['value'] for sample in data_samples]

    def compute_metrics(self, results):
        return dict(mAP=float(np.mean(results)))


def config(work_dir, **options):
    """Three epochs of four steps; `options` are dotted keys of the config."""
    loader = dict(batch_size=2, num_workers=0, drop_last=False, sampler=dict(type='DefaultSampler', shuffle=True),
                  dataset=dict(type='ToyDataset'))
    test_loader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=False),
                       dataset=dict(type='ToyDataset', test_mode=True))
    cfg = Config(dict(
        default_scope='mmdet', work_dir=str(work_dir), launcher='none', resume=False, load_from=None,
        model=dict(type='ToyModel'), train_dataloader=loader, val_dataloader=test_loader, test_dataloader=test_loader,
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3), val_cfg=dict(), test_cfg=dict(),
        val_evaluator=dict(type='ToyMetric'), test_evaluator=dict(type='ToyMetric'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=7),
                         dict(type='MultiStepLR', by_epoch=True, milestones=[2], end=3)],
        default_hooks=dict(report=None, checkpoint=dict(type='CheckpointHook', interval=1),
                           logger=dict(type='LoggerHook', interval=2)),
        log_processor=dict(type='LogProcessor', window_size=5), randomness=dict(seed=3),
        env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl'))))
    cfg.merge_from_dict({key: value for key, value in options.items() if not isinstance(value, dict)})
    for key, value in options.items():
        if isinstance(value, dict):  # replaced, not merged
            node = cfg
            *parents, name = key.split('.')
            for parent in parents:
                node = node[parent]
            node[name] = value
    return cfg


def train(work_dir, **options):
    """Train and return the runner; the indices it loaded are in ToyDataset.loaded."""
    ToyDataset.loaded = []
    runner = Runner.from_cfg(config(work_dir, experiment_name=str(work_dir), **options))
    runner.train()
    return runner


def _value(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == '__main__':
    torch.set_num_threads(1)
    train(sys.argv[1], **{key: _value(value) for key, value in (word.split('=', 1) for word in sys.argv[2:])})
