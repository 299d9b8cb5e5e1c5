"""What a norm may tell of itself, beyond being a module that maps (B, C, H, W) to (B, C, H, W).

Nothing asks for a norm's class: who must treat a norm specially asks for one of these members. All are optional, and a
norm of your own need not inherit from here. docs/norms.md has an example.
"""
from typing import Protocol

from torch import Tensor, nn


class NormProtocol(Protocol):
    """The optional members of a norm, who asks for them, and what holds where they are missing."""

    _abbr_: str
    """Its name in state dicts, before the number. build_norm_layer; missing: `norm_layer`, or `bn`, `gn`, `in` or `ln`
    where it inherits from PyTorch's norm."""

    waits_for_others: bool
    """Whether other processes wait for this one to run it: it must run on no rows as well. conv_norm; missing: False,
    and it is never given an empty batch."""

    breaks_graphs: bool
    """Whether torch.compile cannot trace its training; the part of a detector that holds it is left uncompiled.
    TwoStageDetector.compile; missing: False."""

    takes_rows: bool
    """Whether it takes `rows`, bool (B,): in training the others are padding, whose statistics must not count and to
    which no gradient goes. It is that which it gets on GPUs in the heads. conv_norm; missing: False."""

    fuses_relu: bool
    """Whether it takes `relu=True`, to clamp its output at 0 itself. conv_norm; missing: False."""

    recording: bool
    """False while forwards in training are no iterations of a training: it uses the batch's own statistics, moves
    running ones, and counts and stores nothing else. Set by PreciseBNHook; missing: it keeps nothing else."""

    def forward_conv(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """norm(conv(x)) for the input `x` (B, Cin, H, W) of the convolution before it -> (B, Cout, H', W').

        conv_norm; missing: the norm is called with conv(x).
        """

    def set_epoch_length(self, iterations: int) -> None:
        """Called before a training with the number of iterations of an epoch. CBNHook; missing: nothing is told."""
