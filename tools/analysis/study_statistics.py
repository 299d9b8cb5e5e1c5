"""How good a norm's statistics are: the batch's against the population's, and CBN's against the true ones.

A layer's statistics: mean and variance (biased) of each channel of its convolution's output, (channels,) of all
devices.
An error of a mean is in standard deviations, that of a variance is of its natural logarithm.
"""
from collections import deque

import torch
from study_network import ConvNorm
from torch.nn import functional as F


def measure(y):
    variance, mean = torch.var_mean(y.detach(), (0, 2, 3), correction=0)
    return mean, variance


def pooled(statistics):
    """Mean and variance of the batches together, from those of each."""
    means, variances = (torch.stack(values) for values in zip(*statistics, strict=True))
    return means.mean(0), variances.mean(0) + means.var(0, correction=0)


def errors(nets, found, true):
    """Mean error over the channels, devices and layers, (seeds,) each: of the mean, of the variance."""
    rows = []
    for (mean, variance), (true_mean, true_variance) in zip(found, true, strict=True):
        # A channel that is all but constant has no error worth a name.
        std = (true_variance + 1e-5).sqrt()
        rows.append(torch.stack([nets.by_seed(((mean - true_mean) / std).abs()).mean(1),
                                 nets.by_seed((torch.log(variance + 1e-5) - 2 * std.log()).abs()).mean(1)]))
    return torch.stack(rows).mean(0).tolist()


class Watch:
    """Keeps the inputs and statistics of every convolution in the iterations before a probe."""

    def __init__(self, nets, buffer_num, options):
        self.layers = [module for module in nets.wide.modules() if isinstance(module, ConvNorm)]
        start = getattr(self.layers[0].norm, 'burnin_iters', 0) + buffer_num
        span = options.steps - 1 - start
        self.steps = {start + span * (place + 1) // options.probes for place in range(options.probes)} \
            if buffer_num and span >= options.probes else set()
        self.window = buffer_num + 1
        self.pictures = deque(maxlen=self.window)
        self.seen = [deque(maxlen=self.window) for _ in self.layers]  # (input, mean, variance)
        self.handles = []

    def before(self, step, x):
        if any(0 <= probe - step < self.window for probe in self.steps):
            self.pictures.append(x)
            if not self.handles:
                self.handles = [layer.conv.register_forward_hook(self._keeper(seen))
                                for layer, seen in zip(self.layers, self.seen, strict=True)]
        else:
            self.end()

    @staticmethod
    def _keeper(seen):
        return lambda conv, args, y: seen.append((args[0].detach(), *measure(y)))

    def due(self, step):
        return step in self.steps

    def end(self):
        for handle in self.handles:
            handle.remove()
        self.handles = []


@torch.no_grad()
def statistics_of(layers, wide, batches):
    """Statistics of every layer over `batches` together, each (D * N, 1, H, W), through the network as it is."""
    found = [[] for _ in layers]
    handles = [layer.conv.register_forward_hook(lambda conv, args, y, rows=rows: rows.append(measure(y)))
               for layer, rows in zip(layers, found, strict=True)]
    for x in batches:
        wide(x)
    for handle in handles:
        handle.remove()
    return found


@torch.no_grad()
def estimates(nets, watch, population):
    """Errors of three estimates of each layer's statistics against three truths, right after a forward of CBN.

    Estimates: `batch`, of this iteration; `average`, over the window as measured; `compensated`, what CBN used.
    Truths, all of today's weights: `inputs`, of the window with the layer's inputs as they were; `window`, of the
    window's pictures through today's network; `population`, the same of other pictures. Today's network normalizes by
    what CBN used.

    Returns: dict of 'estimate/truth' to a list for each seed of [error of the mean, error of the variance].
    """
    layers, watch_pictures = watch.layers, list(watch.pictures)
    seen = [list(entries) for entries in watch.seen]
    watch.end()
    found = dict(batch=[entries[-1][1:] for entries in seen],
                 average=[pooled([entry[1:] for entry in entries]) for entries in seen],
                 compensated=[layer.norm._recent[-1][1] for layer in layers])
    truths = dict(inputs=[pooled([measure(_conv(layer.conv, x)) for x, *_ in entries])
                          for layer, entries in zip(layers, seen, strict=True)])
    running = [(layer.norm.running_mean.clone(), layer.norm.running_var.clone()) for layer in layers]
    nets.wide.eval()
    for layer, (mean, variance) in zip(layers, found['compensated'], strict=True):
        layer.norm.running_mean.copy_(mean)
        layer.norm.running_var.copy_(variance)
    truths['window'] = [pooled(rows) for rows in statistics_of(layers, nets.wide, watch_pictures)]
    truths['population'] = [pooled(rows) for rows in statistics_of(layers, nets.wide, population)]
    nets.wide.train()
    for layer, (mean, variance) in zip(layers, running, strict=True):
        layer.norm.running_mean.copy_(mean)
        layer.norm.running_var.copy_(variance)
    return {f'{name}/{truth}': list(zip(*errors(nets, estimate, true), strict=True))
            for truth, true in truths.items() for name, estimate in found.items()}


def _conv(conv, x):
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


@torch.no_grad()
def distances(nets, batches):
    """Distance of a batch's statistics from those of the population, for each seed and layer: [mean, variance].

    As precise BN does, the running statistics of `nets.wide` become the mean over these batches.
    """
    layers = [module for module in nets.wide.modules() if isinstance(module, ConvNorm)]
    for layer in layers:
        layer.norm.reset_running_stats()
        layer.norm.momentum = None
        if hasattr(layer.norm, 'recording'):
            layer.norm.recording = False
    rows = []
    for found in statistics_of(layers, nets.wide, batches):
        means, variances = (torch.stack(values) for values in zip(*found, strict=True))
        mean, variance = nets.by_device(means.mean(0)), nets.by_device(variances.mean(0))
        mean, std = mean.mean(1, keepdim=True), (variance.mean(1, keepdim=True) + 1e-5).sqrt()
        off = [((nets.by_device(one) - mean) / std).square() for one in means]
        ratio = [(torch.log(nets.by_device(one) + 1e-5) - 2 * std.log()).square() for one in variances]
        rows.append(torch.stack([torch.stack(part).mean((0, 2, 3)).sqrt() for part in (off, ratio)]))
    return dict(layers=torch.stack(rows).permute(2, 0, 1).tolist())
