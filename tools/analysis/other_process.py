"""A model in another interpreter: OtherProcess asks for its steps, and this file, run there, takes them."""
import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mmdet.errors import MissingFileError, UserError

SHARED = 'device', 'size', 'batch_size', 'objects'  # options that both processes have


class OtherProcess:
    """Mask R-CNN R-50-FPN of the mmdetection that `python` finds, on the images and targets that `args` name."""

    def __init__(self, python, args):
        options = json.dumps({name: getattr(args, name) for name in SHARED})
        if shutil.which(python) is None:
            raise MissingFileError(f'--mmdetection {python}: there is no such interpreter')
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}  # it may lead to ours
        self.process = subprocess.Popen([python, __file__, options], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def steps(self, what, dtype):
        """The step, by the name to show. Empty where mmdetection cannot take it; stderr says why."""
        answer = self._ask(what, dtype)
        if 'failed' in answer:
            print(f'mmdetection: {what} {dtype} fails: {answer["failed"]}', file=sys.stderr)
            return {}

        def step():
            later = self._ask(what, dtype)
            if 'failed' in later:
                raise UserError(f'mmdetection: {what} {dtype} failed after a while: {later["failed"]}')
        return {f'mmdetection {answer["version"]}': step}

    def _ask(self, *words):
        try:
            print(*words, file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise UserError(f'{self.process.args[0]} has ended; what it said stands above') from None


def config_of(package):
    """mmdetection's own config of this model, in a wheel or in a checkout."""
    name = 'configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
    for path in (package / '.mim' / name, package.parent / name):
        if path.exists():
            return path
    raise MissingFileError(f'{package}: neither .mim in it nor the folder above it has {name}')


def main():
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever libraries print
    import torch
    from timed_models import Ours, inference, training_step

    import mmdet
    torch.manual_seed(0)
    args = argparse.Namespace(**json.loads(sys.argv[1]), norm=None)
    side = Ours(args, config=config_of(Path(mmdet.__file__).parent))
    kinds = dict(train=training_step, inference=inference)
    steps = {}
    for line in sys.stdin:
        what, dtype = line.split()
        try:
            if line not in steps:  # one at a time: they put the model in different modes
                steps = {line: kinds[what](side, getattr(torch, dtype), torch.device(args.device).type)}
            steps[line]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            answer = dict(version=mmdet.__version__)
        except Exception as error:
            answer = dict(failed=f'{type(error).__name__}: {error}')
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
