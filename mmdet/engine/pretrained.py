"""init_cfg = dict(type='Pretrained', checkpoint=...): weights of another training into a part of the model."""
import logging
from dataclasses import replace

from mmengine.logging import print_log
from mmengine.model import PretrainedInit as _PretrainedInit
from mmengine.model import update_init_info
from torch import nn

from mmdet.checkpoints import load_weights, read_checkpoint, weights_of
from mmdet.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedInit(_PretrainedInit):
    """mmengine's, which here raises ValueError when nothing in the checkpoint fits, and says in a table what does not.

    checkpoint: path, URL, torchvision:// or open-mmlab:// name. prefix: the part of it to take, such as 'backbone.'.
    A classifier that is left over (ImageNet's) is expected and not reported.
    """

    def __call__(self, module: nn.Module) -> None:
        checkpoint = read_checkpoint(self.checkpoint, self.map_location)
        state_dict = weights_of(checkpoint)
        conversion = checkpoint.get('conversion')
        prefix = self.prefix.removesuffix('.') + '.' if self.prefix else ''
        if conversion is not None and conversion.part == 'backbone' and prefix == 'backbone.':
            prefix = ''  # a file of a backbone alone, whatever its names began with
        weights = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
        if conversion is not None:
            print_log(f'{self.checkpoint}\n{conversion}', 'current')
            weights = dict(conversion=replace(conversion, weights=weights), state_dict=weights)
        misfit = load_weights(module, weights, source=f'init_cfg.checkpoint {self.checkpoint}')
        misfit = misfit._replace(unexpected_keys=[key for key in misfit.unexpected_keys if not key.startswith('fc.')])
        print_log(f'{type(module).__name__} takes its weights from {self.checkpoint}', 'current')
        if misfit:
            print_log(f'{self.checkpoint} does not fit everywhere:\n{misfit}', 'current', logging.WARNING)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'Pretrained: {self.checkpoint}')
