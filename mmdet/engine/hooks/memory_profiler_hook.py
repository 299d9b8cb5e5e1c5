from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet.registry import HOOKS

from ..log_processor import peak_memory


@HOOKS.register_module()
class MemoryProfilerHook(Hook):
    """Logs the most memory this process held so far, of the machine and of its GPU, every `interval` iterations."""

    def __init__(self, interval: int = 50):
        self.interval = interval

    def _after_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                    outputs: Sequence | dict | None = None, mode: str = 'train') -> None:
        if self.every_n_inner_iters(batch_idx, self.interval):
            text = f'peak memory of the process: {peak_memory()} MB'
            if torch.cuda.is_available():
                text += f', of its GPU: {torch.cuda.max_memory_allocated() // 2 ** 20} MB'
            runner.logger.info(text)
