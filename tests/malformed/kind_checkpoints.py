"""A checkpoint with an entry of another kind, bytes changed or cut, and pickles that ask for code, time or memory."""
import copy
import os
import pickle
import struct

import numpy
import torch
from case import Case
from training import first_step, refused, tiny, tool

from mmdet.checkpoints import read_checkpoint


class Calls:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def trained(config, folder):
    """A checkpoint of the first epoch."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        try:
            tool('train.py', config, '--work-dir', 'work', '--cfg-options', 'train_cfg.max_epochs=1',
                 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None')
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return folder / 'work/epoch_1.pth'


def tested(config, path):
    return refused(lambda: tool('test.py', config, path, '--work-dir', 'tested'))


def resumed(config, path):
    return refused(lambda: first_step(config, '--work-dir', 'resumed', '--resume', path))


def same(path, expected):
    """A flipped bit must be noticed, unless nobody reads it."""
    def run():
        read = read_checkpoint(path)['state_dict']
        return read.keys() == expected.keys() and all(torch.equal(read[name], expected[name]) for name in expected)
    return run


def entries():
    """Dotted places of a checkpoint -> what to put there."""
    odd = [None, 3, 'a', [1], {}, float('nan'), torch.ones(2), numpy.ones(3), numpy.int64(1)]
    for place in ('state_dict', 'meta', 'message_hub', 'optimizer', 'optimizer.state', 'optimizer.param_groups',
                  'param_schedulers', 'meta.epoch', 'meta.iter', 'message_hub.log_scalars', 'message_hub.runtime_info',
                  'optimizer.param_groups.0.lr', 'optimizer.param_groups.0.params', 'param_schedulers.0.last_step'):
        for value in odd:
            plain = place in ('meta.epoch', 'meta.iter', 'param_schedulers.0.last_step', 'optimizer.param_groups.0.lr')
            as_good = plain and type(value) is int or type(value) is dict and place in (
                'message_hub.log_scalars', 'message_hub.runtime_info')
            if as_good:
                continue
            yield place, value


def pickles():
    twice = b''.join(b'q%c0](h%ch%ce' % (n, n, n) for n in range(60))
    yield 'system', pickle.dumps(Calls(os.system, 'touch ran'))
    yield 'eval', pickle.dumps({'state_dict': Calls(eval, 'open("ran", "w")')})
    yield 'memo', b'\x80\x02}r\xff\xff\xff\x7fs.'
    yield 'tuples', b'\x80\x02}K\x01]' + b'2\x86' * 60 + b's.'
    yield 'key of tuples', b'\x80\x02}]' + b'2\x86' * 60 + b'K\x01s.'
    yield 'lists', b'\x80\x02}K\x01]' + twice + b's.'
    yield 'long', b'\x80\x02\x8b' + struct.pack('<i', 2**31 - 1) + b'a.'
    yield 'bytes', b'\x80\x05\x8e' + struct.pack('<Q', 2**40) + b'a.'
    yield 'bytearray', b'\x80\x05\x96' + struct.pack('<Q', 2**36) + b'a.'
    yield 'frame', b'\x80\x04\x95' + struct.pack('<Q', 2**62) + b'a.'
    for number in range(12):
        yield f'noise {number}', b'\x80\x02' + bytes((number * 37 + k * k * 11) % 256 for k in range(400))


def cases(rng):
    config = tiny()
    folder = config.parent
    path = trained(config, folder)
    whole, content = path.read_bytes(), torch.load(path, weights_only=False)
    for number, (place, value) in enumerate(entries()):
        changed = copy.copy(content)
        node, (*parents, name) = changed, [int(part) if part.isdigit() else part for part in place.split('.')]
        for parent in parents:
            node[parent] = copy.copy(node[parent])
            node = node[parent]
        node[name] = value
        torch.save(changed, folder / f'entry{number}.pth')
        run = (tested if place == 'state_dict' else resumed)(config, folder / f'entry{number}.pth')
        yield Case(f'{place}: a {type(value).__name__}', run, [f'entry{number}.pth'])
    names = sorted(content['state_dict'])
    for number in range(40):
        name = rng.choice(names)
        old = content['state_dict'][name]
        new = rng.choice([old.flatten()[:1].expand(3, 2), torch.full_like(old.float(), torch.nan), 'a', None, old[None],
                          numpy.ones(2), torch.full_like(old.float(), torch.inf), [1.], torch.ones(0)])
        torch.save(dict(meta=content['meta'], state_dict={**content['state_dict'], name: new}),
                   folder / f'weight{number}.pth')
        yield Case(f'{name}: a {type(new).__name__}', tested(config, folder / f'weight{number}.pth'),
                   [f'weight{number}.pth'])
    for number in range(20):
        key = rng.choice(sorted(content['optimizer']['state']))
        changed = copy.deepcopy(content['optimizer'])
        average = changed['state'][key]['exp_avg']
        changed['state'][key]['exp_avg'] = rng.choice([
            average.flatten()[:1], average[None], torch.full_like(average, torch.nan), average.long(), 'a', [1.],
            torch.ones(7)])
        torch.save({**content, 'optimizer': changed}, folder / f'average{number}.pth')
        yield Case(f'average {key}', resumed(config, folder / f'average{number}.pth'), [f'average{number}.pth'])
    for number in range(40):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        (folder / f'flip{number}.pth').write_bytes(flipped)
        yield Case(f'flipped bit {number}', same(folder / f'flip{number}.pth', content['state_dict']),
                   [f'flip{number}.pth'])
    for number in range(10):
        (folder / f'cut{number}.pth').write_bytes(whole[:rng.randrange(len(whole))])
        yield Case(f'cut {number}', tested(config, folder / f'cut{number}.pth'), [f'cut{number}.pth'])
    for name, data in pickles():
        (folder / f'{name}.pkl').write_bytes(data)
        yield Case(f'pickle {name}', tested(config, folder / f'{name}.pkl'), [f'{name}.pkl'])
