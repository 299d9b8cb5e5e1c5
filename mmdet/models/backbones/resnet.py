"""ResNet (arXiv 1512.03385).

Shapes: image (B, 3, H, W); stage i of 1..4 gives (B, base_channels * 2^(i-1) * expansion, H / 2^(i+1), W / 2^(i+1)).
"""
import logging
from collections.abc import Sequence

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdet.errors import UserError
from mmdet.models.layers import build_conv_layer, build_norm_layer, conv_norm, freeze_norm
from mmdet.registry import MODELS


class _Block(BaseModule):
    """What both residual blocks share: numbered convolutions and norms, the shortcut, activation checkpointing.

    Args:
        convs: constructor arguments (in, out, kernel_size, stride, padding, dilation) of each convolution.
        stride: of the block, taken by the shortcut where the shape changes.
    """

    def __init__(self, convs: Sequence[tuple], stride: int, conv_cfg: dict | None, norm_cfg: dict, with_cp: bool):
        super().__init__()
        self.norm_names = []
        for i, (inp, out, kernel_size, *rest) in enumerate(convs, 1):
            self.add_module(f'conv{i}', build_conv_layer(conv_cfg, inp, out, kernel_size, *rest, bias=False))
            name, norm = build_norm_layer(norm_cfg, out, postfix=i)
            self.add_module(name, norm)
            self.norm_names.append(name)
        self.downsample = None
        inp, out = convs[0][0], convs[-1][1]
        if stride != 1 or inp != out:
            self.downsample = nn.Sequential(build_conv_layer(conv_cfg, inp, out, 1, stride, bias=False),
                                            build_norm_layer(norm_cfg, out)[1])
        self.with_cp = with_cp

    @property
    def last_norm(self) -> nn.Module:
        return getattr(self, self.norm_names[-1])

    def forward(self, x: Tensor) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, use_reentrant=False)
        return self._forward(x)

    def _forward(self, x):
        shortcut = x if self.downsample is None else conv_norm(x, *self.downsample)
        for i, name in enumerate(self.norm_names, 1):
            residual = shortcut if i == len(self.norm_names) else None
            x = conv_norm(x, getattr(self, f'conv{i}'), getattr(self, name), residual, relu=True)
        return x


class BasicBlock(_Block):
    """Two 3x3 convolutions."""
    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int, dilation: int, style: str, conv_cfg: dict | None,
                 norm_cfg: dict, with_cp: bool):
        super().__init__([(inplanes, planes, 3, stride, dilation, dilation), (planes, planes, 3, 1, 1)], stride,
                         conv_cfg, norm_cfg, with_cp)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions; the stride lies in the 3x3 (style 'pytorch') or the first 1x1 ('caffe')."""
    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int, dilation: int, style: str, conv_cfg: dict | None,
                 norm_cfg: dict, with_cp: bool):
        first, second = (stride, 1) if style == 'caffe' else (1, stride)
        super().__init__([(inplanes, planes, 1, first), (planes, planes, 3, second, dilation, dilation),
                          (planes, planes * 4, 1)], stride, conv_cfg, norm_cfg, with_cp)


@MODELS.register_module()
class ResNet(BaseModule):
    """ResNet-18, 34, 50, 101 or 152 without its classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels, stem_channels: width of stage 1 and of the stem (the same unless given).
        num_stages, strides, dilations: number of stages; stride and dilation of each.
        out_indices: stages whose output is returned, 0 the first.
        style: 'pytorch' or 'caffe': where a bottleneck's stride lies.
        frozen_stages: stages up to this one (0: the stem alone, -1: none) keep their weights and statistics.
        norm_eval: BN layers keep their running statistics in training.
        conv_cfg, norm_cfg: the convolutions, for build_conv_layer, and the norm layer, for build_norm_layer.
        with_cp: recompute activations in the backward pass to save memory.
        zero_init_residual: start each block as the identity (random initialization only).
        init_cfg: usually dict(type='Pretrained', checkpoint=...).
    """
    arch_settings = {18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
                     101: (Bottleneck, (3, 4, 23, 3)), 152: (Bottleneck, (3, 8, 36, 3))}

    def __init__(self, depth: int, in_channels: int = 3, stem_channels: int | None = None, base_channels: int = 64,
                 num_stages: int = 4, strides: Sequence[int] = (1, 2, 2, 2), dilations: Sequence[int] = (1, 1, 1, 1),
                 out_indices: Sequence[int] = (0, 1, 2, 3), style: str = 'pytorch', frozen_stages: int = -1,
                 conv_cfg: dict | None = None, norm_cfg: dict = dict(type='BN', requires_grad=True),
                 norm_eval: bool = True, with_cp: bool = False, zero_init_residual: bool = True,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        if depth not in self.arch_settings:
            raise UserError(f'backbone.depth={depth} is none of {sorted(self.arch_settings)}')
        if style not in ('pytorch', 'caffe'):
            raise UserError(f"backbone.style={style!r} is neither 'pytorch' nor 'caffe'")
        if not 1 <= num_stages <= 4 or max(out_indices) >= num_stages or frozen_stages > num_stages:
            raise UserError(f'backbone.num_stages={num_stages} must be 1 to 4 and cover out_indices={out_indices} '
                            f'and frozen_stages={frozen_stages}')
        block, depths = self.arch_settings[depth]
        inplanes = stem_channels or base_channels
        self.conv1 = build_conv_layer(conv_cfg, in_channels, inplanes, 7, 2, 3, bias=False)
        self.stem_norm, norm = build_norm_layer(norm_cfg, inplanes, postfix=1)
        self.add_module(self.stem_norm, norm)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i in range(num_stages):
            planes = base_channels * 2 ** i
            blocks = []
            for j in range(depths[i]):
                blocks.append(block(inplanes, planes, strides[i] if j == 0 else 1, dilations[i], style, conv_cfg,
                                    norm_cfg, with_cp))
                inplanes = planes * block.expansion
            self.add_module(f'layer{i + 1}', nn.Sequential(*blocks))
        self.num_stages = num_stages
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.zero_init_residual = zero_init_residual
        self.train()

    def init_weights(self) -> None:
        """Load `init_cfg`, or draw: Kaiming normal convolutions; the last norm of each block 0 if asked for."""
        if self.init_cfg:
            super().init_weights()
            return
        if self.frozen_stages >= 0:
            print_log(f'backbone.frozen_stages={self.frozen_stages} freezes random weights: no init_cfg loads others. '
                      'If no checkpoint follows this costs accuracy (Detectron, Mask R-CNN R-50-FPN GN from scratch: '
                      '36.2 instead of 39.5 box AP). Set backbone.frozen_stages=-1 to train from scratch.',
                      logger='current', level=logging.WARNING)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif self.zero_init_residual and isinstance(module, _Block):
                nn.init.zeros_(module.last_norm.weight)  # type: ignore[arg-type]  # not of every module

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) -> tuple of the feature maps of `out_indices`."""
        x = conv_norm(x, self.conv1, getattr(self, self.stem_norm), relu=True)
        x = self.maxpool(x)
        outs = []
        for i in range(self.num_stages):
            x = getattr(self, f'layer{i + 1}')(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'ResNet':
        """Training mode, but for what `frozen_stages` and `norm_eval` keep still."""
        super().train(mode)
        frozen = [self.conv1, getattr(self, self.stem_norm)] if self.frozen_stages >= 0 else []
        frozen += [getattr(self, f'layer{i}') for i in range(1, self.frozen_stages + 1)]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)
        if self.norm_eval:
            freeze_norm(self)
        return self
