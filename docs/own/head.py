"""A box head that classifies by the angle between the features and a direction for each class."""
import torch
from torch.nn import functional as F

from mmdet.models.roi_heads.bbox_head import ConvFCBBoxHead
from mmdet.registry import MODELS


@MODELS.register_module()
class CosineBBoxHead(ConvFCBBoxHead):
    """Losses, box coding and NMS are ConvFCBBoxHead's; one shared layer, and a class output of its own."""

    def __init__(self, scale=20., **kwargs):
        super().__init__(num_shared_fcs=1, **kwargs)
        self.scale = scale

    def forward(self, x, rows=None):
        """RoI features (R, C, h, w) -> class logits (R, K + 1), deltas (R, 4 K)."""
        x = self.shared_fcs[0](x).relu()
        directions = F.normalize(self.fc_cls.weight, dim=1)
        return torch.mm(F.normalize(x, dim=1), directions.t()) * self.scale, self.fc_reg(x)
