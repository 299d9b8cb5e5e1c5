"""One training of the norm study, or several seeds of it side by side, and what is measured on it.

Every step has the same number of pictures, whatever the number of images on a device: fewer images mean more devices.
What changes is how many images share statistics, and nothing else.
"""
import math
from collections import deque
from pathlib import Path

import torch
from study_network import Network
from study_norms import NORMS
from study_oracle import Window
from study_statistics import Watch, distances, estimates
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

PRECISE_STEPS = 32  # of re-estimated statistics
POPULATION = 2048  # pictures that the statistics of the trained network are taken of


class Devices:
    """Networks of several seeds, `own`, and their copies on all devices, `wide`, which see the pictures."""

    def __init__(self, classes, norm_cfg, seeds, devices, device, edge=2):
        self.seeds, self.count = len(seeds), devices
        self.own = Network(classes, norm_cfg, len(seeds), edge).to(device)
        self.wide = Network(classes, norm_cfg, len(seeds) * devices, edge).to(device).train()
        for place, seed in enumerate(seeds):
            torch.manual_seed(seed)
            one = Network(classes, norm_cfg, edge=edge)
            for parameter, start in zip(self.own.parameters(), one.parameters(), strict=True):
                self.by_seed(parameter.data)[place] = start.data.to(device)
        self.pairs = [(own, wide) for own, wide in zip(self.own.parameters(), self.wide.parameters(), strict=True)
                      if own.requires_grad]
        self.spread()

    def by_seed(self, tensor):
        return tensor.unflatten(0, (self.seeds, -1))

    def by_device(self, tensor):
        """(seeds * devices * C, ...) -> (seeds, devices, C, ...)."""
        return tensor.unflatten(0, (self.seeds, self.count, -1))

    @torch.no_grad()
    def spread(self):
        """Every device gets the weights of its seed."""
        for own, wide in self.pairs:
            self.by_device(wide).copy_(self.by_seed(own).unsqueeze(1))

    @torch.no_grad()
    def start_from(self, state):
        """Every device gets the weights and running statistics of a network like `own`."""
        self.own.load_state_dict(state, strict=False)  # GN has no running statistics
        for name, wide in self.wide.state_dict().items():
            if wide.dim():
                self.by_device(wide).copy_(self.by_seed(state[name]).unsqueeze(1))

    @torch.no_grad()
    def gather(self):
        """The gradients of the devices of a seed, of which each is of its share of the mean loss, summed."""
        for own, wide in self.pairs:
            own.grad = self.by_device(wide.grad).sum(1).flatten(0, 1)
            wide.grad = None

    def norms(self):
        return [(own, wide) for own, wide in zip(self.own.modules(), self.wide.modules(), strict=True)
                if isinstance(own, _BatchNorm)]

    @torch.no_grad()
    def keep_statistics(self, of_all=False):
        """`own` gets the running statistics of the first device, which a training would save; or the mean of all."""
        for own, wide in self.norms():
            for kind in ('running_mean', 'running_var'):
                every = self.by_device(getattr(wide, kind))
                getattr(own, kind).copy_((every.mean(1) if of_all else every[:, 0]).flatten())


def rate(step, steps, lr):
    """Learning rate: 5 % of the steps linear warm-up, then half a cosine."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return lr * (step + 1) / warmup
    return lr * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def train(task, norm, images, seeds, lr, options, device):
    """Train on `task`, dict of split to (patches, labels), and return a dict of figures for each seed.

    options: steps, batch (pictures a step, in all), burnin (share of the steps in which CBN is BN), probes, map (edge
    of the last maps), pretrain (steps of BN over all pictures before), out (beside it pretrained networks are kept).
    """
    pictures, classes = task['train'][0], int(task['train'][1].max()) + 1
    norm_cfg = dict(NORMS[norm])
    if norm_cfg['type'] == 'CBN':
        norm_cfg['burnin_iters'] = int(norm_cfg.pop('burnin', options.burnin) * options.steps)
    if norm_cfg['type'] == 'StudyBRN':
        norm_cfg['ramp'] = options.steps // 4
    nets = Devices(classes, norm_cfg, seeds, options.batch // images, device, options.map)
    if options.pretrain:
        nets.start_from(pretrained(task['train'], classes, seeds, options, device))
    order = drawn(seeds, len(pictures), options.steps + PRECISE_STEPS, options.batch, device)
    watch = Watch(nets, norm_cfg['buffer_num'] if norm_cfg['type'] == 'CBN' else 0, options)
    training, probes = fit(nets, *task['train'], order, Window(nets, norm_cfg), watch, options.steps, lr)
    nets.keep_statistics()
    figures = dict(training=training, test=accuracy(nets, *task['test']), val=accuracy(nets, *task['val']))
    if norm_cfg['type'] in ('BN', 'CBN'):
        nets.keep_statistics(of_all=True)
        figures.update(averaged=accuracy(nets, *task['test']))
        figures.update(distances(nets, pictures[order[-PRECISE_STEPS:]]))  # re-estimates the running statistics, too
        nets.keep_statistics(of_all=True)
        figures.update(precise=accuracy(nets, *task['test']), precise_val=accuracy(nets, *task['val']))
    if norm_cfg['type'] in ('BN', 'CBN', 'StudyOracle', 'StudyCBN'):
        take_statistics(nets, pictures[:POPULATION])
        figures.update(population=accuracy(nets, *task['test']))
    results = [{key: values[place] for key, values in figures.items()} for place in range(len(seeds))]
    if probes:
        for place, result in enumerate(results):
            result['probes'] = [{key: value if key == 'step' else value[place] for key, value in probe.items()}
                                for probe in probes]
    return results


def drawn(seeds, pictures, steps, batch, device):
    """Which pictures the steps have, (steps, seeds * batch)."""
    chance = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
    order = torch.stack([torch.randint(pictures, (steps, batch), generator=one) for one in chance], 1)
    return order.flatten(1).to(device)


def fit(nets, pictures, labels, order, window, watch, steps, lr):
    """Train `nets`. Returns accuracy in the last tenth of the steps, percent for each seed, and what `watch` saw."""
    optimizer = torch.optim.SGD([own for own, _ in nets.pairs], lr, momentum=0.9, weight_decay=5e-4)
    right = deque(maxlen=max(1, steps // 10))
    probes = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group['lr'] = rate(step, steps, lr)
        nets.spread()
        x, truth = pictures[order[step]], labels[order[step]]
        watch.before(step, x)
        scores = window(x)
        if watch.due(step):
            probes.append(dict(step=step, **estimates(nets, watch, pictures[order[-PRECISE_STEPS:]])))
        (F.cross_entropy(scores, truth) * nets.seeds).backward()
        nets.gather()
        optimizer.step()
        right.append(100 * (scores.argmax(1) == truth).unflatten(0, (nets.seeds, -1)).float().mean(1))
    nets.spread()
    watch.end()
    return torch.stack(list(right)).mean(0).tolist(), probes


def pretrained(data, classes, seeds, options, device):
    """State of networks that were trained with BN over all pictures of a step, at the learning rate 0.03."""
    name = '_'.join(map(str, (options.pretrain, options.batch, options.map, *seeds)))
    file = options.out.with_name(f'pretrained_{Path(options.task).name}_{name}.pt')
    if not file.exists():
        nets = Devices(classes, NORMS['BN'], seeds, 1, device, options.map)
        order = drawn([seed + 1000 for seed in seeds], len(data[0]), options.pretrain, options.batch, device)
        fit(nets, *data, order, Window(nets, NORMS['BN']), Watch(nets, 0, options), options.pretrain, 0.03)
        nets.keep_statistics()
        torch.save(nets.own.state_dict(), file)
    return torch.load(file, device, weights_only=True)


@torch.no_grad()
def take_statistics(nets, pictures):
    """The running statistics become those of `pictures` in a network that normalizes by those of 256 at a time."""
    nets.own.train()
    for norm, _ in nets.norms():
        norm.reset_running_stats()
        norm.momentum = None
        norm.recording = False
    for x in pictures.split(256):
        nets.own(x.repeat(nets.seeds, 1, 1, 1))


@torch.inference_mode()
def accuracy(nets, pictures, labels):
    """Percent of the pictures that are classified right in evaluation, for each seed."""
    nets.own.eval()
    right = [(nets.own(x.repeat(nets.seeds, 1, 1, 1)).argmax(1).unflatten(0, (nets.seeds, -1)) == truth)
             for x, truth in zip(pictures.split(256), labels.split(256), strict=True)]
    return (100 * torch.cat(right, 1).float().mean(1)).tolist()
