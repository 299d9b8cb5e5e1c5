"""In a process of its own: what is put off is not imported by a training's step, and is whole when it is used."""
import subprocess
import sys

SCRIPT = '''
import sys
import torch
import mmdet.apis
from mmengine.config import Config
from mmdet.engine import Runner
from mmengine.model import MMFullyShardedDataParallel, is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIMIZERS, RUNNERS

# What new versions of others have broken in mmengine before: yapf dropped an argument, Adafactor was registered twice.
assert eval(Config(dict(a=[dict(b=(1, 2))])).pretty_text.split('=', 1)[1]) == [dict(b=(1, 2))]
assert {'SGD', 'AdamW'} <= OPTIMIZERS.module_dict.keys()

parameter = torch.nn.Parameter(torch.ones(2))
optimizer = torch.optim.SGD([parameter], lr=0.5)
parameter.grad = torch.ones(2)
optimizer.step()
optimizer.zero_grad()
assert parameter.tolist() == [0.5, 0.5] and not is_model_wrapper(torch.nn.Linear(1, 1))
late = [name for name in ('sympy', 'torch._dynamo.config', 'torch.distributed.fsdp', 'mmengine._strategy')
        if name in sys.modules]
assert not late, late

left_alone = torch.optim.Optimizer.zero_grad.__wrapped__
assert getattr(left_alone, '__dynamo_disable') is left_alone
import torch._dynamo.utils as utils
assert utils is sys.modules['torch._dynamo.utils'] is torch._dynamo.utils
assert not hasattr(left_alone, '__dynamo_disable')
assert utils.__spec__.origin == utils.__file__ and torch._dynamo.config.recompile_limit > 0
assert torch.compile(lambda x: x.sin() + 1, backend='eager', fullgraph=True)(torch.zeros(3)).tolist() == [1, 1, 1]
optimizer.zero_grad()

from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.optim import ZeroRedundancyOptimizer
assert not isinstance(optimizer, MMFullyShardedDataParallel)
for registry, name, parent in ((MODEL_WRAPPERS, 'MMFullyShardedDataParallel', FullyShardedDataParallel),
                               (OPTIMIZERS, 'ZeroRedundancyOptimizer', ZeroRedundancyOptimizer)):
    try:
        registry.get(name)()
    except TypeError as error:
        assert 'missing' in str(error), error
    assert issubclass(registry.get(name), parent)
import mmengine.model, mmengine.runner
assert mmengine.model.MMFullyShardedDataParallel is MODEL_WRAPPERS.get('MMFullyShardedDataParallel')
assert RUNNERS.get('FlexibleRunner').from_cfg.__func__.__qualname__ == 'FlexibleRunner.from_cfg'
assert mmengine.runner.FlexibleRunner is RUNNERS.get('FlexibleRunner')
'''


def test_put_off_and_whole():
    done = subprocess.run([sys.executable, '-W', 'error::DeprecationWarning:mmdet', '-c', SCRIPT],
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
