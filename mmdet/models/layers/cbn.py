"""Cross-Iteration Batch Normalization (arXiv 2002.05712): statistics over this iteration and the last few.

    G groups, P = Cin/G * kh * kw weights of an output channel, S stored iterations; the history holds
    patch  (S, G, P)     mean input patch: derivative of a channel's mean by its weights
    slope  (S, Cout, P)  derivative of a channel's variance by its weights
    mean   (S, Cout)     as measured
    mean0  (S, Cout)     mean by `patch` for the weights of that iteration
    var0   (S, Cout)     variance as measured, less the one by `slope` for the weights of that iteration

The paper expands mean and mean square. To expand the variance is the same in exact arithmetic and does not cancel where
a mean is far from 0. Because of mean0 and var0 the weights of each iteration need not be kept.
"""
from collections import deque

import torch
from torch import Tensor, nn

from mmdet.errors import UserError
from mmdet.ops import as_kernels_read, cbn_statistics

from .batch_stats import measure, normalize, track
from .patch_stats import slopes

HISTORY = ('patch', 'slope', 'mean', 'mean0', 'var0')
RERUNS = 16  # forwards in flight that activation checkpointing may run again


class CBN(nn.BatchNorm2d):
    """Batch norm whose training statistics are the mean over this and up to `buffer_num` earlier iterations.

    `conv_norm(x, conv, norm)` runs it with the convolution before it. Every forward in training is an iteration.

    Args:
        num_features: channels.
        eps, momentum: BN's.
        buffer_num: earlier iterations to average over; with 0 it is BN.
        burnin: epochs in which it is BN; `set_epoch_length` (CBNHook calls it) tells how long they are.
        burnin_iters: the same in iterations, in place of `burnin`.
        ramp: 'step', from 0 to `buffer_num` earlier iterations at the end of the burn-in, or 'linear' in its course.
        slope_stride: 1, or how the variances depend on the weights is told by every so many-th position in height and
            width alone, with 2 by a quarter of them. It takes less time and is less exact.
    """

    breaks_graphs = takes_rows = True

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, buffer_num: int = 3,
                 burnin: float = 0, burnin_iters: int | None = None, ramp: str = 'step',
                 slope_stride: int = 1):
        super().__init__(num_features, eps=eps, momentum=momentum)
        if not isinstance(buffer_num, int) or buffer_num < 0:
            raise UserError(f'norm_cfg: buffer_num={buffer_num!r} must be a whole number of iterations, 0 or more')
        if not isinstance(slope_stride, int) or slope_stride < 1:
            raise UserError(f'norm_cfg: slope_stride={slope_stride!r} must be a whole number of positions, 1 or more')
        if burnin and burnin_iters is not None:
            raise UserError(f'norm_cfg: give burnin={burnin} (epochs) or burnin_iters={burnin_iters}, not both')
        if ramp not in ('step', 'linear'):
            raise UserError(f"norm_cfg: unknown ramp {ramp!r}; known: 'step', 'linear'")
        self.buffer_num = buffer_num
        self.burnin = burnin
        self.burnin_iters = burnin_iters if burnin else burnin_iters or 0
        self.ramp = ramp
        self.slope_stride = slope_stride
        self.recording = True
        self.iteration = 0
        # Not buffers: DDP would broadcast them, and every process has its own.
        self.history: dict[str, Tensor] | None = None
        self.stored = 0  # entries ever written; entry e lies in slot e % buffer_num
        self._recent: deque[tuple] = deque(maxlen=RERUNS)

    def set_epoch_length(self, iterations: int) -> None:
        """Tell how many iterations an epoch has, which `burnin` counts."""
        if self.burnin:
            self.burnin_iters = int(self.burnin * iterations)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, buffer_num={self.buffer_num}, burnin={self.burnin}, ' \
               f'burnin_iters={self.burnin_iters}, ramp={self.ramp}, slope_stride={self.slope_stride}'

    def window(self) -> int:
        """How many earlier iterations the next forward averages over, if as many are stored."""
        if not self.recording or self.buffer_num == 0:
            return 0
        if self.burnin_iters is None:
            raise UserError(f'norm_cfg: burnin={self.burnin} counts epochs, and their length is not known. '
                            'CBNHook tells it; in a loop of your own call set_epoch_length(len(loader)) of each '
                            'CBN, or give burnin_iters in place of burnin')
        if self.iteration >= self.burnin_iters:
            return self.buffer_num
        return self.buffer_num * self.iteration // self.burnin_iters if self.ramp == 'linear' else 0

    def forward(self, y: Tensor) -> Tensor:
        if not self.training:
            return super().forward(y)
        x, conv, version = getattr(y, 'made_by', (None, None, None))  # by convert_norm
        if conv is None or version != y._version:
            raise UserError('CBN needs the convolution before it: in training call conv_norm(x, conv, norm). '
                            'Behind convert_norm, the features must come from that convolution as they are')
        with torch.autocast(y.device.type, enabled=False):
            return self._train(x, conv, y, None)

    def forward_conv(self, x: Tensor, conv: nn.Conv2d, rows: Tensor | None = None) -> Tensor:
        """norm(conv(x)) for the input `x` of the convolution. rows: bool (B,), those whose statistics count."""
        if not self.training:
            return super().forward(conv(x))
        if type(conv).forward is not nn.Conv2d.forward and not hasattr(conv, 'convolve'):  # expanded in conv.weight
            raise UserError(f'CBN works with nn.Conv2d, not with {type(conv).__name__}; see conv_cfg')
        read = as_kernels_read(x, conv.weight)
        y = conv(read)
        with torch.autocast(y.device.type, enabled=False):
            out = self._train(read, conv, y, rows)
        return out if read is x else out.contiguous()

    @torch._disable_dynamo  # torch.compiler.disable would import the compiler at once
    def _train(self, x, conv, y, rows):
        if y.numel() == y.shape[1]:
            raise UserError(f'CBN needs more than one output position a channel in training; got {tuple(y.shape)}')
        mean, variance, count = measure(self, y, rows)
        # Activation checkpointing runs a forward again, inside backward: it gives the same and changes nothing.
        if self._recent and torch._C._current_graph_task_id() != -1:
            pooled, entries = self._recall(mean)
        else:
            pooled, entries = self._iterate(x, conv, y, mean, variance, rows, count)
        count = count if rows is None else count.clamp(min=1)
        return normalize(y, self, *pooled, count * entries, rows=rows)

    @torch.no_grad()
    def _iterate(self, x, conv, y, mean, variance, rows, count):
        """Mean and variance to normalize with, and the number of iterations they are over."""
        track(self, mean, variance, count)
        pooled, entries = (mean, variance), 1
        if self.window():
            pooled, entries = self._pool(x, conv, y, mean, variance, rows)
        self._recent.append((mean, pooled, entries))
        self.iteration += self.recording
        return pooled, entries

    def _recall(self, mean):
        """What `_iterate` returned in the forward that is run again: the one that had this mean."""
        nearest = 0
        if len(self._recent) > 1:
            nearest = (torch.stack([entry[0] for entry in self._recent]) - mean).abs().sum(1).argmin().item()
        return self._recent[nearest][1:]

    def _slots(self, count):
        return [entry % self.buffer_num for entry in range(self.stored - count, self.stored)]

    def _pool(self, x, conv, y, mean, variance, rows):
        """Pool this iteration and the window, and store this one."""
        patch, slope = slopes(x, conv, y, mean, rows, self.slope_stride)
        slope = slope.flatten(1)
        patch = patch.view(conv.groups, -1)
        entry = dict(zip(HISTORY, (patch, slope, mean, mean, mean), strict=True))
        if self.history and any(self.history[name].shape[1:] != value.shape for name, value in entry.items()):
            self._drop_history()
        if self.history is None:
            self.history = {name: value.new_zeros(self.buffer_num, *value.shape) for name, value in entry.items()}
        self.history = {name: entries.to(mean.dtype) for name, entries in self.history.items()}
        count = min(self.window(), self.stored)
        weight, bias = (None if value is None else value.detach().to(mean.dtype)
                        for value in (conv.weight.flatten(1), conv.bias))
        pooled = cbn_statistics(weight, bias, self.history, patch, slope, mean, variance,
                                (self.stored - count) % self.buffer_num, count)
        self.stored += 1
        return pooled, count + 1

    def _drop_history(self):
        self.history = None
        self.stored = 0

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._recent.clear()
        if self.history is not None:  # follows to the device; stays in float32
            self.history = {name: entries.to(self.weight.device) for name, entries in self.history.items()}
        return self

    # In a state dict: the counters, and the stored entries from the oldest on. BN's has neither.

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.iteration:
            destination[prefix + 'cbn_counters'] = torch.tensor([self.iteration, self.stored])
        if self.stored:
            slots = self._slots(min(self.stored, self.buffer_num))
            for name, entries in self.history.items():
                destination[f'{prefix}cbn_{name}'] = torch.stack([entries[slot] for slot in slots])

    def _load_from_state_dict(self, state_dict, prefix, *args):
        self._recent.clear()
        self._drop_history()
        counters = state_dict.pop(prefix + 'cbn_counters', torch.zeros(2, dtype=torch.long))
        saved = {name: state_dict.pop(f'{prefix}cbn_{name}', None) for name in HISTORY}
        _check_saved(prefix, counters, saved, self.num_features)
        self.iteration, self.stored = counters.tolist()
        count = 0 if saved['mean'] is None else min(self.buffer_num, len(saved['mean']))
        if count < self.buffer_num:  # not full: entry e is in slot e
            self.stored = count
        if count:
            self.history = {name: entries.new_zeros(self.buffer_num, *entries.shape[1:], device=self.weight.device)
                            for name, entries in saved.items()}
            for name, entries in saved.items():
                self.history[name][self._slots(count)] = entries[-count:].to(self.weight.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_saved(prefix, counters, saved, channels):
    """UserError for what is no history of a norm of so many channels."""
    if not torch.is_tensor(counters) or counters.dtype != torch.long or counters.shape != (2,) or counters.min() < 0:
        raise UserError(f'{prefix}cbn_counters of the checkpoint must be two counts, int64 and not negative: '
                        f'{counters if torch.is_tensor(counters) else type(counters).__name__}')
    if all(entries is None for entries in saved.values()):
        return
    dims = dict(patch=3, slope=3, mean=2, mean0=2, var0=2)
    for name, entries in saved.items():
        if not torch.is_tensor(entries) or entries.dtype not in (torch.float32, torch.float64) \
                or entries.dim() != dims[name] or (name != 'patch' and entries.size(1) != channels) \
                or not entries.isfinite().all():
            raise UserError(f'{prefix}cbn_{name} of the checkpoint must be {dims[name]} dimensions of finite numbers '
                            f'for {channels} channels')
    if len({len(entries) for entries in saved.values()}) > 1 or saved['patch'].size(2) != saved['slope'].size(2):
        raise UserError(f'{prefix}cbn_*: the parts of the history of the checkpoint are of different lengths')
