"""Times the reading of a large annotation file and measures its memory: python tools/analysis/benchmark_annotations.py

The file is generated and of COCO train2017's size, after one of a tenth; or --ann-file is measured. A process reads it
for the first time, another one finds it in the cache, then several hold it at once. The peak is that of the whole
process, libraries included. What is held is what the annotations add: proportional set size, shared pages counted once.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import machine, markdown

from mmdet.command_line import ToolParser, plain_errors
from mmdet.errors import UserError

MIB = 2 ** 20
ANSWER = '='  # a process begins its answers with it


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--ann-file', help='COCO annotations in place of the generated ones')
    parser.add_argument('--images', type=int, default=118287, help='images of the generated file')
    parser.add_argument('--objects', type=int, default=800000, help='its objects')
    parser.add_argument('--processes', type=int, default=8, help='that hold the annotations at once')
    parser.add_argument('--hold', help=argparse.SUPPRESS)
    return parser.parse_args()


def generate(path, images, objects, seed=0):
    """A file in COCO's form: polygons of 10 to 60 numbers, a crowd in a hundred objects."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(300, 641, (images, 2)).tolist()

    def image(i):
        return dict(license=3, file_name=f'{i:012d}.jpg', height=sizes[i][0], width=sizes[i][1], id=5 * i,
                    coco_url=f'http://images.cocodataset.org/train2017/{i:012d}.jpg', date_captured='2013-11-14')

    def annotation(n):
        i = int(rng.integers(images))
        height, width = sizes[i]
        corner = rng.random(2) * (width - 100, height - 100)
        points = (corner + 100 * rng.random((rng.integers(5, 31), 2))).round(2)
        mask = dict(counts=[height * width], size=sizes[i]) if n % 100 == 0 else [points.ravel().tolist()]
        return dict(segmentation=mask, area=float(points.sum()), iscrowd=int(n % 100 == 0), image_id=5 * i,
                    bbox=[*corner.round(2).tolist(), 100., 100.], category_id=n % 80 + 1, id=n)

    with open(path, 'w') as file:
        file.write(f'{{"categories": {json.dumps([dict(id=i + 1, name=f"class {i}") for i in range(80)])}')
        for name, entry, number in (('images', image, images), ('annotations', annotation, objects)):
            file.write(f', "{name}": [')
            file.writelines(', ' * (i > 0) + json.dumps(entry(i)) for i in range(number))
            file.write(']')
        file.write('}')


def hold(path):
    """In a process of its own: read the file when told to, say what that took, and keep it until told to end."""
    from mmdet.datasets import CocoDataset
    imported = proportional_memory()
    print(ANSWER, flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    dataset = CocoDataset(path)
    print(ANSWER, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
    sys.stdin.readline()
    dataset.get_data_info(0)
    print(ANSWER, proportional_memory() - imported, flush=True)
    sys.stdin.readline()


def proportional_memory():
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('Pss:'))


class Holders:
    """Processes that read a file at once and hold it together."""

    def __init__(self, path, number, cache):
        self.processes = [subprocess.Popen(
            [sys.executable, __file__, '--hold', path], env={**os.environ, 'MMDET_CACHE': cache}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(number)]
        self.answers()

    def answers(self):
        """The numbers that each answers."""
        lines = []
        for process in self.processes:
            line = process.stdout.readline()
            while line and not line.startswith(ANSWER):  # the log
                line = process.stdout.readline()
            if not line:
                raise UserError('a process that read the annotations has ended: try them with one process')
            lines.append([float(word) for word in line.split()[1:]])
        return lines

    def ask(self):
        for process in self.processes:
            process.stdin.write('\n')
            process.stdin.flush()
        return self.answers()

    def measure(self):
        """Longest seconds, largest peak and added memory of all together, both in bytes."""
        read, memory = self.ask(), self.ask()
        for process in self.processes:
            process.communicate('\n')
        return max(seconds for seconds, _ in read), max(peak for _, peak in read), sum(added for added, in memory)


def main():
    args = parse_args()
    if args.hold:
        return hold(args.hold)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for share in (10, 1) if args.ann_file is None else (1,):
            path = args.ann_file or f'{folder}/{share}.json'
            if args.ann_file is None:
                generate(path, args.images // share, args.objects // share)
                time.sleep(2)  # a file that is newer has no cache
            size = f'{os.path.getsize(path) / 1e6:.0f} MB'
            for case, number in (('first', 1), ('from the cache', 1), (f'{args.processes} processes', args.processes)):
                seconds, peak, memory = Holders(path, number, f'{folder}/cache').measure()
                lines.append([size, case, f'{seconds:.2f}', f'{peak / MIB:.0f}', f'{memory / MIB:.0f}'])
                print(' '.join(lines[-1]), file=sys.stderr, flush=True)
    print(f'{machine()}\n\n{markdown(lines, ["file", "case", "s", "peak of a process, MiB", "held by all, MiB"])}')


if __name__ == '__main__':
    with plain_errors():
        main()
