"""A stage of ResNet that runs on the features of each RoI: the C4 models of Mask R-CNN (arXiv 1703.06870) section 3.

Shapes: Q RoIs; features (Q, 1024, 14, 14) -> (Q, 2048, 7, 7) of the bottlenecks' stage 3 and stride 2.
"""
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.models.backbones.resnet import BN, ResNet
from mmdet.models.backbones.resnet import ResLayer as Stage
from mmdet.models.layers import freeze_norm
from mmdet.registry import MODELS


@MODELS.register_module()
class ResLayer(BaseModule):
    """One stage of a ResNet, as the shared_head of a RoI head.

    Args:
        depth: of the ResNet: 18, 34, 50, 101 or 152.
        stage: 0 the first; its blocks are held as layer1 to layer4, as in a ResNet.
        stride, dilation: of the first block; of all.
        style, norm_cfg, with_cp, dcn, norm_eval: as ResNet's.
        init_cfg: usually dict(type='Pretrained', checkpoint=...); without it Kaiming normal convolutions.
    """

    def __init__(self, depth: int, stage: int = 3, stride: int = 2, dilation: int = 1, style: str = 'pytorch',
                 norm_cfg: dict = BN, norm_eval: bool = True, with_cp: bool = False, dcn: dict | None = None,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if depth not in ResNet.arch_settings or stage not in range(4):
            raise UserError(f'roi_head.shared_head: depth={depth} must be one of {sorted(ResNet.arch_settings)}, '
                            f'stage={stage} 0 to 3')
        block, depths = ResNet.arch_settings[depth]
        self.norm_eval = norm_eval
        self.name = f'layer{stage + 1}'
        inplanes = 64 * 2 ** (stage - 1) * block.expansion if stage else 64
        self.add_module(self.name, Stage(block, inplanes, 64 * 2 ** stage, depths[stage], stride, dcn=dcn,
                                         dilation=dilation, style=style, norm_cfg=norm_cfg, with_cp=with_cp))
        self.train()

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """RoI features (Q, C, h, w); rows: bool (Q,), those that are no padding; None: all."""
        blocks: nn.Module = getattr(self, self.name)
        for block in blocks.children():
            x = block(x, rows)
        return x

    def train(self, mode: bool = True) -> 'ResLayer':
        """Training mode, but for the norms that `norm_eval` keeps still."""
        super().train(mode)
        if self.norm_eval:
            freeze_norm(self)
        return self
