import torch
from mmengine.hooks import Hook

from mmdet.registry import HOOKS

from ..log_processor import peak_memory


@HOOKS.register_module()
class MemoryProfilerHook(Hook):
    """Logs the most memory this process held so far, of the machine and of its GPU, every `interval` iterations."""

    def __init__(self, interval: int = 50):
        self.interval = interval

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
        if self.every_n_inner_iters(batch_idx, self.interval):
            text = f'peak memory of the process: {peak_memory()} MB'
            if torch.cuda.is_available():
                text += f', of its GPU: {torch.cuda.max_memory_allocated() // 2 ** 20} MB'
            runner.logger.info(text)
