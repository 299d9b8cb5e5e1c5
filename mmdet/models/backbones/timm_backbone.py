"""Backbones of timm (https://github.com/huggingface/pytorch-image-models): ConvNeXt, Swin, ViT, EfficientNet ...

Shapes: image (B, 3, H, W); each of out_indices gives (B, C_i, H_i, W_i); `out_channels` has the C_i.
"""
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.models.layers import build_norm_layer, freeze_norm
from mmdet.registry import MODELS


@MODELS.register_module()
class TIMMBackbone(BaseModule):
    """A model of timm that gives feature maps.

    Args:
        model_name: timm's, 'convnext_tiny.fb_in22k' for example.
        pretrained: timm loads its weights, over the net unless they are in its cache.
        out_indices: which of the model's maps; None: all.
        in_channels: of the image.
        norm_cfg: norm in place of each batch norm, which keeps what is learned; None: timm's own.
        norm_eval: batch norms keep their running statistics in training.
        timm_options: others of timm.create_model, such as drop_path_rate or, for Swin, dict(strict_img_size=False).
    """

    def __init__(self, model_name: str, pretrained: bool = False, out_indices: Sequence[int] | None = None,
                 in_channels: int = 3, norm_cfg: dict | None = None, norm_eval: bool = False,
                 timm_options: dict | None = None, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        try:
            import timm
        except ImportError:
            raise UserError("backbone.type='TIMMBackbone' needs timm: pip install timm") from None
        options = dict(timm_options or {}, **({} if out_indices is None else dict(out_indices=tuple(out_indices))))
        try:
            self.timm_model: Any = timm.create_model(model_name, pretrained, features_only=True, in_chans=in_channels,
                                                **options)
        except (RuntimeError, TypeError, ValueError, AssertionError, AttributeError, IndexError) as error:
            raise UserError(f'backbone.model_name={model_name!r}: timm says {type(error).__name__}: {error}') from error
        self.out_channels = self.timm_model.feature_info.channels()
        self.norm_eval = norm_eval
        if norm_cfg is not None:
            replace_batch_norms(self.timm_model, norm_cfg)
        self.train()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (B, in_channels, H, W) -> tuple of feature maps, finest first."""
        outs = self.timm_model(x)
        if getattr(self.timm_model, 'output_fmt', 'NCHW') == 'NHWC':
            outs = [out.permute(0, 3, 1, 2) for out in outs]
        return tuple(outs)

    def train(self, mode: bool = True) -> 'TIMMBackbone':
        """Training mode, but for what `norm_eval` keeps still."""
        super().train(mode)
        if self.norm_eval:
            freeze_norm(self)
        return self


def replace_batch_norms(module: nn.Module, norm_cfg: dict) -> None:
    """Put the norm that `norm_cfg` names in place of every 2d batch norm in `module`, with the weights it can take."""
    for name, child in module.named_children():
        if not isinstance(child, nn.BatchNorm2d):
            replace_batch_norms(child, norm_cfg)
            continue
        norm = build_norm_layer({'eps': child.eps, **norm_cfg}, child.num_features)[1]
        if hasattr(norm, 'forward_conv'):
            raise UserError(f"backbone.norm_cfg.type={norm_cfg['type']!r} needs the convolution before it, which timm "
                            'does not tell: use BN, SyncBN, FrozenBN or GN')
        norm.load_state_dict(child.state_dict(), strict=False)
        # timm's BatchNormAct2d ends with these.
        after = [part for part in (getattr(child, 'drop', None), getattr(child, 'act', None)) if part is not None]
        setattr(module, name, nn.Sequential(norm, *after) if after else norm)
