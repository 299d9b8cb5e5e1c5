"""Cross-Iteration Batch Normalization (arXiv 2002.05712): statistics over this iteration and the last few.

    G groups, P = Cin/G * kh * kw weights of an output channel, S stored iterations
    patch   (S, G, P)     mean input patch: the derivative of every channel's mean by its weights
    slope   (S, Cout, P)  derivative of each channel's variance by its weights
    mean    (S, Cout)     as measured
    mean0   (S, Cout)     the mean that `patch` gives for the weights of that iteration
    var0    (S, Cout)     variance as measured, less what `slope` gives for the weights of that iteration

The paper expands mean and mean square. Expanding the variance, slope = d nu/dw - 2 mean d mean/dw, is the same in exact
arithmetic and does not cancel where a mean is far from 0. With mean0 and var0 the old weights need not be kept.
"""
from collections import deque

import torch
from torch import Tensor, nn

from .batch_stats import batch_stats, normalize, pool, track

HISTORY = ('patch', 'slope', 'mean', 'mean0', 'var0')
PREFIX = 'cbn_'  # of its entries in a state dict, which BN does not have
RERUNS = 16  # forwards between a forward and its backward that activation checkpointing may have


class CBN(nn.BatchNorm2d):
    """Batch norm whose training statistics are the mean over this and the last `buffer_num` iterations.

    Runs with the convolution before it: `conv_norm(x, conv, norm)`. Every forward in training is an iteration.

    Args:
        num_features: channels.
        buffer_num: earlier iterations to average over; 0 is BN.
        burnin: epochs in which it is BN. They count once `set_epoch_length` was called, which CBNHook does.
        burnin_iters: the same in iterations, in place of `burnin`.
        ramp: 'step' (BN up to the end of the burn-in, then `buffer_num`) or 'linear' (0 to `buffer_num` along it).
        eps, momentum: as BN's.
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, buffer_num=3, burnin=0, burnin_iters=None, ramp='step'):
        super().__init__(num_features, eps=eps, momentum=momentum)
        if not isinstance(buffer_num, int) or buffer_num < 0:
            raise ValueError(f'norm_cfg: buffer_num={buffer_num!r} must be a whole number of iterations, 0 or more')
        if burnin and burnin_iters is not None:
            raise ValueError(f'norm_cfg: burnin={burnin} (epochs) and burnin_iters={burnin_iters} exclude each other')
        if ramp not in ('step', 'linear'):
            raise ValueError(f"norm_cfg: unknown ramp {ramp!r}; known: 'step', 'linear'")
        self.buffer_num = buffer_num
        self.burnin = burnin
        self.burnin_iters = 0 if burnin == 0 and burnin_iters is None else burnin_iters
        self.ramp = ramp
        self.recording = True  # False: plain BN, and nothing is stored
        self.iteration = 0
        self.stored = 0  # iterations ever written to the history
        # Not buffers: every process has its own, which DDP must not broadcast.
        self.history = None
        self._recent = deque(maxlen=RERUNS)

    def set_epoch_length(self, iterations: int) -> None:
        """Say how many iterations an epoch has, for a `burnin` in epochs."""
        if self.burnin:
            self.burnin_iters = int(self.burnin * iterations)

    def extra_repr(self):
        return f'{super().extra_repr()}, buffer_num={self.buffer_num}, burnin={self.burnin}, ramp={self.ramp}'

    def window(self) -> int:
        """Earlier iterations that the coming forward may average over."""
        if not self.recording or self.buffer_num == 0:
            return 0
        if self.burnin_iters is None:
            raise RuntimeError(f'norm_cfg: burnin={self.burnin} counts epochs, whose length is not known. Call '
                               'set_epoch_length(len(loader)) of each CBN, train with CBNHook in custom_hooks, or give '
                               'burnin_iters')
        if self.iteration >= self.burnin_iters:
            return self.buffer_num
        return self.buffer_num * self.iteration // self.burnin_iters if self.ramp == 'linear' else 0

    def forward(self, y):
        if self.training:
            raise RuntimeError('CBN needs the convolution before it: call conv_norm(x, conv, norm) in training')
        return super().forward(y)

    def forward_conv(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """Output for the input `x` of the convolution; the entry of `conv_norm`."""
        y = conv(x)
        return self._forward_train(x, conv, y) if self.training else super().forward(y)

    @torch.compiler.disable
    def _forward_train(self, x, conv, y):
        count = y.numel() // y.shape[1]
        if count == 1:
            raise ValueError(f'CBN needs more than one output position a channel in training; got {tuple(y.shape)}')
        # Activation checkpointing runs a forward again inside backward: it must give the same and change nothing.
        rerun = bool(self._recent) and torch._C._current_graph_task_id() != -1
        if rerun:
            means, variances = self._recall(batch_stats(y)[0])
        else:
            window = self.window()
            means, variances = self._estimates(conv, window)
        if not len(means):
            out, mean = self._batch_norm(y, rerun)
            variance = None
        else:
            mean, variance = batch_stats(y)
            out = normalize(y, self, *pool(torch.cat([mean[None], means]), torch.cat([variance[None], variances]),
                                           1 / (1 + len(means))), count * (1 + len(means)))
        if not rerun:
            self._recent.append((mean, means, variances))
            if len(means):
                track(self, mean, variance, count)
            if self.recording:
                self._record(x, conv, y)
        return out
