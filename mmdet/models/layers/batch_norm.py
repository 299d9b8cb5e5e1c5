"""Batch Normalization (arXiv 1502.03167)."""
from torch import Tensor, nn

from .batch_stats import measure, normalize, track


class BN(nn.BatchNorm2d):
    """torch.nn.BatchNorm2d that can be told which of its rows are real."""
    takes_rows = True

    def forward(self, y: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W) in the same dtype. rows: bool (B,), those whose statistics count in training."""
        if rows is None or not self.training:
            return super().forward(y)
        mean, variance, count = measure(self, y, rows)
        track(self, mean, variance, count)
        return normalize(y, self, mean, variance, count.clamp(min=1), rows=rows)  # type: ignore[union-attr]  # a tensor
