"""ResNet (arXiv 1512.03385): its blocks, its stages, and the whole.

Shapes: image (B, 3, H, W); stage i of 1..4 gives (B, base_channels * 2^(i-1) * expansion, H / 2^(i+1), W / 2^(i+1)).
"""
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdet.errors import UserError
from mmdet.models.layers import build_conv_layer, build_norm_layer, build_plugin_layer, conv_norm, freeze_norm
from mmdet.registry import MODELS

BN = dict(type='BN')
POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


class ResBlock(BaseModule):
    """What both blocks share: numbered convolutions and norms, plugins, the shortcut, activation checkpointing.

    Args:
        convs: of each convolution conv_cfg, then (in, out, kernel_size, stride, padding, dilation, groups).
        stride: of the block, taken by the shortcut where the shape changes.
        plugins: dicts of `cfg`, a module (B, C, H, W) -> (B, C, H, W) that takes `in_channels`, and `position`,
            'after_conv1' to 'after_conv3'; the last is before the sum with the shortcut.
    """

    def __init__(self, convs: Sequence[tuple], stride: int, conv_cfg: dict | None, norm_cfg: dict, with_cp: bool,
                 plugins: Sequence[dict] = ()):
        super().__init__()
        self.norm_names = []
        self.plugin_names: list[list[str]] = []
        for i, (cfg, inp, out, kernel_size, *rest) in enumerate(convs):
            self.add_module(f'conv{i + 1}', build_conv_layer(cfg, inp, out, kernel_size, *rest, bias=False))
            name, norm = build_norm_layer(norm_cfg, out, postfix=i + 1)
            self.add_module(name, norm)
            self.norm_names.append(name)
            here = [build_plugin_layer(plugin['cfg'], out) for plugin in plugins if plugin['position'] == POSITIONS[i]]
            self.plugin_names.append([name for name, _ in here])
            for name, plugin in here:
                if hasattr(self, name):
                    raise UserError(f'backbone.plugins: two of a block are called {name}: give one cfg.postfix')
                self.add_module(name, plugin)
        self.downsample = None
        inp, out = convs[0][1], convs[-1][2]
        if stride != 1 or inp != out:
            self.downsample = nn.Sequential(build_conv_layer(conv_cfg, inp, out, 1, stride, bias=False),
                                            build_norm_layer(norm_cfg, out)[1])
        self.with_cp = with_cp

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'). rows: bool (B,), those that are no padding; None: all."""
        if self.with_cp and x.requires_grad:
            return checkpoint(self._forward, x, rows, use_reentrant=False)
        return self._forward(x, rows)

    def _forward(self, x, rows):
        shortcut = x if self.downsample is None else conv_norm(x, *self.downsample, rows=rows)
        for i, (name, plugins) in enumerate(zip(self.norm_names, self.plugin_names), 1):
            ends = i == len(self.norm_names)
            apart = ends and bool(plugins)  # they come before the sum with the shortcut
            x = conv_norm(x, getattr(self, f'conv{i}'), getattr(self, name), shortcut if ends and not apart else None,
                          relu=not apart, rows=rows)
            for plugin in plugins:
                x = getattr(self, plugin)(x)
        return (x + shortcut).relu() if apart else x


class BasicBlock(ResBlock):
    """Two 3x3 convolutions."""
    expansion = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, dilation: int = 1, style: str = 'pytorch',
                 conv_cfg: dict | None = None, norm_cfg: dict = BN, with_cp: bool = False, dcn: dict | None = None,
                 plugins: Sequence[dict] = ()):
        if dcn or plugins:
            raise UserError('backbone.dcn and backbone.plugins need the bottlenecks of depth 50, 101 or 152')
        super().__init__([(conv_cfg, inplanes, planes, 3, stride, dilation, dilation),
                          (conv_cfg, planes, planes, 3, 1, 1)], stride, conv_cfg, norm_cfg, with_cp)


class Bottleneck(ResBlock):
    """1x1, 3x3 and 1x1 convolutions; the stride lies in the 3x3 (style 'pytorch') or the first 1x1 ('caffe').

    Args:
        dcn: config of the 3x3 convolution, in place of conv_cfg.
        groups, base_width, base_channels: ResNeXt's: the 3x3 has groups * floor(planes * base_width / base_channels)
            channels.
    """
    expansion = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, dilation: int = 1, style: str = 'pytorch',
                 conv_cfg: dict | None = None, norm_cfg: dict = BN, with_cp: bool = False, dcn: dict | None = None,
                 plugins: Sequence[dict] = (), groups: int = 1, base_width: int = 4, base_channels: int = 64):
        first, second = (stride, 1) if style == 'caffe' else (1, stride)
        width = planes if groups == 1 else int(planes * (base_width / base_channels)) * groups
        super().__init__([(conv_cfg, inplanes, width, 1, first),
                          (dcn or conv_cfg, width, width, 3, second, dilation, dilation, groups),
                          (conv_cfg, width, planes * 4, 1)], stride, conv_cfg, norm_cfg, with_cp, plugins)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # Here and not in the convolution, which PyTorch shows only the entries that begin with `conv2.`.
        for leaf in ('weight', 'bias') if hasattr(self.conv2, 'conv_offset') else ():
            if f'{prefix}conv2_offset.{leaf}' in state_dict:  # its first releases' name
                state_dict[f'{prefix}conv2.conv_offset.{leaf}'] = state_dict.pop(f'{prefix}conv2_offset.{leaf}')
        super()._load_from_state_dict(state_dict, prefix, *args)


class ResLayer(nn.Sequential):
    """A stage: `num_blocks` blocks, the first with the stride, and with `plain_first` without dcn."""

    def __init__(self, block: Any, inplanes: int, planes: int, num_blocks: int, stride: int = 1,
                 dcn: dict | None = None, plain_first: bool = False, **options: Any):
        super().__init__(block(inplanes, planes, stride, dcn=None if plain_first else dcn, **options),
                         *(block(planes * block.expansion, planes, dcn=dcn, **options) for _ in range(1, num_blocks)))


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
        dcn, stage_with_dcn: config of the bottlenecks' 3x3 convolutions (DCN, DCNv2), and the stages that have them.
            `fallback_on_stride=True` leaves the first of them a plain one.
        plugins: dicts of `cfg` (such as dict(type='ContextBlock', ratio=1 / 16)), `position` ('after_conv1' to
            'after_conv3') and `stages`, a bool for each stage (absent: all).
        with_cp: recompute activations in the backward pass to save memory.
        zero_init_residual: start each block as the identity (random initialization only).
        init_cfg: usually dict(type='Pretrained', checkpoint=...).
    """
    arch_settings = {18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
                     101: (Bottleneck, (3, 4, 23, 3)), 152: (Bottleneck, (3, 8, 36, 3))}
    block_options: dict = {}  # of every block

    def __init__(self, depth: int, in_channels: int = 3, stem_channels: int | None = None, base_channels: int = 64,
                 num_stages: int = 4, strides: Sequence[int] = (1, 2, 2, 2), dilations: Sequence[int] = (1, 1, 1, 1),
                 out_indices: Sequence[int] = (0, 1, 2, 3), style: str = 'pytorch', frozen_stages: int = -1,
                 conv_cfg: dict | None = None, norm_cfg: dict = dict(type='BN', requires_grad=True),
                 norm_eval: bool = True, dcn: dict | None = None, stage_with_dcn: Sequence[bool] = (False,) * 4,
                 plugins: Sequence[dict] | None = None, with_cp: bool = False, zero_init_residual: bool = True,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        if depth not in self.arch_settings:
            raise UserError(f'backbone.depth={depth} is none of {sorted(self.arch_settings)}')
        if style not in ('pytorch', 'caffe'):
            raise UserError(f"backbone.style={style!r} is neither 'pytorch' nor 'caffe'")
        if not 1 <= num_stages <= 4 or max(out_indices) >= num_stages or frozen_stages > num_stages:
            raise UserError(f'backbone.num_stages={num_stages} must be 1 to 4 and cover out_indices={out_indices} '
                            f'and frozen_stages={frozen_stages}')
        plugins, dcn = plugins or (), dict(dcn or {})
        plain = dcn.pop('fallback_on_stride', False)
        for key, stages in [('stage_with_dcn', stage_with_dcn if dcn else None),
                            *(('plugins: stages', plugin.get('stages')) for plugin in plugins)]:
            if stages is not None and len(stages) != num_stages:
                raise UserError(f'backbone.{key}={stages} must have a bool for each of the {num_stages} stages')
        for plugin in plugins:
            if plugin.get('position') not in POSITIONS:
                raise UserError(f"backbone.plugins: position={plugin.get('position')!r} is none of {POSITIONS}")
        block, depths = self.arch_settings[depth]
        inplanes = stem_channels or base_channels
        self.conv1 = build_conv_layer(conv_cfg, in_channels, inplanes, 7, 2, 3, bias=False)
        self.stem_norm, norm = build_norm_layer(norm_cfg, inplanes, postfix=1)
        self.add_module(self.stem_norm, norm)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for i in range(num_stages):
            planes = base_channels * 2 ** i
            deform = dcn if dcn and stage_with_dcn[i] else None
            self.add_module(f'layer{i + 1}', ResLayer(
                block, inplanes, planes, depths[i], strides[i], deform, plain and bool(deform), dilation=dilations[i],
                style=style, conv_cfg=conv_cfg, norm_cfg=norm_cfg, with_cp=with_cp,
                plugins=[plugin for plugin in plugins if plugin.get('stages', (True,) * 4)[i]], **self.block_options))
            plain = plain and not deform
            inplanes = planes * block.expansion
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
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not name.endswith('.conv_offset'):  # which begin at 0
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif self.zero_init_residual and isinstance(module, ResBlock):
                nn.init.zeros_(getattr(module, module.norm_names[-1]).weight)

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
