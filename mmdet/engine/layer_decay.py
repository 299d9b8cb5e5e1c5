"""Learning rates that fall from the heads to the first layers of a backbone."""
import re
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmdet.errors import UserError
from mmdet.registry import OPTIM_WRAPPER_CONSTRUCTORS

BLOCK = re.compile(r'backbone\.layer(\d)\.(\d+)\.')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name=['LearningRateDecayOptimizerConstructor',
                                                  'LayerDecayOptimizerConstructor'])
class LearningRateDecayOptimizerConstructor(DefaultOptimWrapperConstructor):
    """optim_wrapper.constructor: the rate of layer i of n is lr * decay_rate^(n + 1 - i); the neck and heads have lr.

    optim_wrapper.paramwise_cfg:
        decay_rate: above 0, at most 1.
        decay_type: 'layer_wise' (default): the backbone's blocks in num_layers layers of about as many blocks each;
            'stage_wise': its stages. The stem is layer 0 in both.
        num_layers: n; for 'stage_wise' the number of stages, 4.

    Biases and the parameters of norms have no weight decay.

    Source: BEiT (arXiv 2106.08254); keys and numbers follow mmdetection 3.3, which has it for other backbones.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        options = self.paramwise_cfg
        unknown = options.keys() - {'decay_rate', 'decay_type', 'num_layers'}
        if unknown or 'decay_rate' not in options or 'num_layers' not in options:
            raise UserError(f'optim_wrapper.paramwise_cfg of {type(self).__name__} takes decay_rate, num_layers and '
                            f'decay_type; it holds {", ".join(options)}')
        rate, count = options['decay_rate'], options['num_layers']
        kind = options.get('decay_type', 'layer_wise')
        if kind not in ('layer_wise', 'stage_wise'):
            raise UserError(f"optim_wrapper.paramwise_cfg.decay_type is {kind!r}; known: 'layer_wise', 'stage_wise'")
        blocks = sorted({match.groups() for name, _ in module.named_parameters() if (match := BLOCK.search(name))},
                        key=lambda block: tuple(map(int, block)))
        if not blocks:
            raise UserError(f'optim_wrapper.constructor {type(self).__name__} needs a backbone of stages `layer1`, ...')
        groups: dict[tuple[int, bool], dict] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = count + 1
            if match := BLOCK.search(name):
                stage, index = int(match[1]), blocks.index(match.groups())
                layer = stage if kind == 'stage_wise' else 1 + index * count // len(blocks)
            elif name.removeprefix('module.').startswith('backbone.'):
                layer = 0
            decays = parameter.dim() > 1
            scale = rate ** max(count + 1 - layer, 0)
            group = groups.setdefault((layer, decays), dict(
                params=[], weight_decay=self.base_wd if decays else 0., lr=self.base_lr * scale, lr_scale=scale,
                group_name=f'layer_{layer}_{"decay" if decays else "no_decay"}'))
            group['params'].append(parameter)
        params += groups.values()
        rates = ', '.join(f'{group["group_name"]} {group["lr"]:.2g}' for group in groups.values())
        print_log(f'learning rates: {rates}', 'current')
