"""The toy training with convolutions and CBN. As a script: cbn_run.py WORK_DIR [key=value of the config ...]."""
import sys

import torch
import toy_run
from mmengine.model import BaseModel
from torch import nn

from mmdet.models.layers import ConvModule
from mmdet.registry import MODELS


@MODELS.register_module()
class ToyConvModel(BaseModel):
    def __init__(self, norm_cfg):
        super().__init__()
        self.stem = ConvModule(2, 4, 3, norm_cfg=norm_cfg)
        self.body = ConvModule(4, 4, 1, norm_cfg=norm_cfg)
        self.head = nn.Linear(4, 1)

    def features(self, inputs):
        images = torch.stack(inputs)
        return torch.sin(images[:, :, None, None] * torch.arange(30.).view(1, 1, 5, 6))

    def forward(self, inputs, data_samples, mode):
        x = self.head(self.body(self.stem(self.features(inputs))).mean((2, 3)))[:, 0]
        if mode == 'predict':
            return [dict(index=index, value=value.item()) for index, value in zip(data_samples, x, strict=True)]
        return dict(loss=(x - torch.stack(inputs)[:, 0]).square().mean())


def train(work_dir, norm_cfg=None, hooks=(), **options):
    model = dict(type='ToyConvModel', norm_cfg=norm_cfg or dict(type='CBN', buffer_num=2, burnin=0.5))
    return toy_run.train(work_dir, **{'model': model, **options, 'custom_hooks': list(hooks)})


if __name__ == '__main__':
    torch.set_num_threads(1)
    options = (word.split('=', 1) for word in sys.argv[2:])
    train(sys.argv[1], **{key: toy_run._value(value) for key, value in options})
