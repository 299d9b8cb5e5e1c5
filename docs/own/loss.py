"""A loss for the classes of the box head."""
from torch import nn
from torch.nn import functional as F

from mmdet.models.losses import weighted_mean
from mmdet.registry import MODELS


@MODELS.register_module()
class SoftmaxFocalLoss(nn.Module):
    """Cross entropy times (1 - p) ** gamma, where p is the probability of the right class."""

    def __init__(self, gamma=2., loss_weight=1.):
        super().__init__()
        self.gamma, self.loss_weight = gamma, loss_weight

    def forward(self, pred, target, weight=None, avg_factor=None):
        """pred: logits (R, K + 1). target: int64 (R,). weight: (R,), 0 for padding. avg_factor: to divide by."""
        entropy = F.cross_entropy(pred.float(), target, reduction='none')
        loss = entropy * (1 - (-entropy).exp()) ** self.gamma
        return self.loss_weight * weighted_mean(loss, weight, avg_factor)
