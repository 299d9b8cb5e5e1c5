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

from .batch_stats import centre, normalize, pool, track, variance_of
from .patch_stats import mean_patch, variance_slope

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
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, buffer_num=3, burnin=0, burnin_iters=None, ramp='step'):
        super().__init__(num_features, eps=eps, momentum=momentum)
        if not isinstance(buffer_num, int) or buffer_num < 0:
            raise ValueError(f'norm_cfg: buffer_num={buffer_num!r} must be a whole number of iterations, 0 or more')
        if burnin and burnin_iters is not None:
            raise ValueError(f'norm_cfg: give burnin={burnin} (epochs) or burnin_iters={burnin_iters}, not both')
        if ramp not in ('step', 'linear'):
            raise ValueError(f"norm_cfg: unknown ramp {ramp!r}; known: 'step', 'linear'")
        self.buffer_num = buffer_num
        self.burnin = burnin
        self.burnin_iters = burnin_iters if burnin else burnin_iters or 0
        self.ramp = ramp
        self.recording = True  # False: it is BN, and nothing is stored or counted
        self.iteration = 0
        # Not buffers: DDP would broadcast them, and every process has its own.
        self.history = None
        self.stored = 0  # entries ever written; entry e lies in slot e % buffer_num
        self._recent = deque(maxlen=RERUNS)

    def set_epoch_length(self, iterations: int) -> None:
        """Tell how many iterations an epoch has, which `burnin` counts."""
        if self.burnin:
            self.burnin_iters = int(self.burnin * iterations)

    def extra_repr(self):
        return f'{super().extra_repr()}, buffer_num={self.buffer_num}, burnin={self.burnin}, ' \
               f'burnin_iters={self.burnin_iters}, ramp={self.ramp}'

    def window(self) -> int:
        """How many earlier iterations the next forward averages over, if as many are stored."""
        if not self.recording or self.buffer_num == 0:
            return 0
        if self.burnin_iters is None:
            raise RuntimeError(f'norm_cfg: burnin={self.burnin} counts epochs, and their length is not known. '
                               'CBNHook tells it; in a loop of your own call set_epoch_length(len(loader)) of each '
                               'CBN, or give burnin_iters in place of burnin')
        if self.iteration >= self.burnin_iters:
            return self.buffer_num
        return self.buffer_num * self.iteration // self.burnin_iters if self.ramp == 'linear' else 0

    def forward(self, y):
        if self.training:
            raise RuntimeError('CBN needs the convolution before it: in training call conv_norm(x, conv, norm)')
        return super().forward(y)

    def forward_conv(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """norm(conv(x)) for the input `x` of the convolution."""
        y = conv(x)
        if not self.training:
            return super().forward(y)
        with torch.autocast(y.device.type, enabled=False):
            return self._train(x, conv, y)

    @torch.compiler.disable
    def _train(self, x, conv, y):
        if not isinstance(conv, nn.Conv2d):
            raise TypeError(f'CBN works with nn.Conv2d, not with {type(conv).__name__}; see conv_cfg')
        if y.numel() == y.shape[1]:
            raise ValueError(f'CBN needs more than one output position a channel in training; got {tuple(y.shape)}')
        mean, centred = centre(y)
        weight = conv.weight.detach().to(mean.dtype).flatten(1) if self.window() else None  # a copy if channels-last
        # Activation checkpointing runs a forward again, inside backward: it gives the same and changes nothing.
        rerun = bool(self._recent) and torch._C._current_graph_task_id() != -1
        estimates = self._recall(mean) if rerun else self._estimates(conv, weight)
        store = not rerun and weight is not None
        derivatives = self._derivatives(x, conv, y, centred) if store else None
        variance = variance_of(centred)
        means, variances = (torch.cat([own[None], earlier])
                            for own, earlier in zip((mean, variance), estimates, strict=True))
        count = y.numel() // y.shape[1]
        if not rerun:
            track(self, mean, variance, count)
            self._recent.append((mean, estimates))
            if store:
                self._store(conv, weight, *derivatives, mean, variance)
            self.iteration += self.recording
        return normalize(y, self, *pool(means, variances, 1 / len(means)), count * len(means), scratch=centred)

    def _recall(self, mean):
        """The estimates of the forward that is run again: the one that had this mean."""
        nearest = 0
        if len(self._recent) > 1:
            nearest = (torch.stack([entry[0] for entry in self._recent]) - mean).abs().sum(1).argmin().item()
        return self._recent[nearest][1]

    def _slots(self, count):
        return [entry % self.buffer_num for entry in range(self.stored - count, self.stored)]

    @torch.no_grad()
    def _estimates(self, conv, weight):
        """Means and variances, each (S, Cout), of the earlier iterations in the window, for the weights of today."""
        count = min(self.window(), self.stored)
        history = self.history
        if count and (history['slope'][0].shape != weight.shape or len(history['patch'][0]) != conv.groups):
            self._drop_history()
            count = 0
        if count == 0:
            return self.running_mean.new_zeros(2, 0, self.num_features).unbind()
        if count < self.buffer_num:
            slots = self._slots(count)
            history = {name: torch.stack([entries[slot] for slot in slots]) for name, entries in history.items()}
        mean, variance = _by_weights(history['patch'], history['slope'], conv, weight)
        shift = mean - history['mean0']
        return history['mean'] + shift, (history['var0'] + variance - shift.square()).clamp(min=0)

    @staticmethod
    @torch.no_grad()
    def _derivatives(x, conv, y, centred):
        patch = mean_patch(x, conv, y)
        return patch.view(conv.groups, -1), variance_slope(x, conv, centred, patch).flatten(1)

    @torch.no_grad()
    def _store(self, conv, weight, patch, slope, mean, variance):
        mean0, variance0 = _by_weights(patch[None], slope[None], conv, weight)
        entry = (patch, slope, mean, mean0[0], variance - variance0[0])
        if self.history is None:
            self.history = {name: value.new_zeros(self.buffer_num, *value.shape)
                            for name, value in zip(HISTORY, entry, strict=True)}
        for entries, value in zip(self.history.values(), entry, strict=True):
            entries[self.stored % self.buffer_num] = value
        self.stored += 1

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
        self.iteration, self.stored = state_dict.pop(prefix + 'cbn_counters', torch.zeros(2, dtype=torch.long)).tolist()
        saved = {name: state_dict.pop(f'{prefix}cbn_{name}', None) for name in HISTORY}
        count = min(self.buffer_num, *(0 if entries is None else len(entries) for entries in saved.values()))
        if count < self.buffer_num:  # not full: entry e is in slot e
            self.stored = count
        if count:
            self.history = {name: entries.new_zeros(self.buffer_num, *entries.shape[1:], device=self.weight.device)
                            for name, entries in saved.items()}
            for name, entries in saved.items():
                self.history[name][self._slots(count)] = entries[-count:].to(self.weight.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _by_weights(patch, slope, conv, weight):
    """Means and variances (S, Cout) that are linear in the weights of today, `weight` (Cout, P)."""
    mean = torch.einsum('sgp,gop->sgo', patch, weight.unflatten(0, (conv.groups, -1))).flatten(1)
    if conv.bias is not None:
        mean = mean + conv.bias.detach()
    return mean, (slope * weight).sum(2)
