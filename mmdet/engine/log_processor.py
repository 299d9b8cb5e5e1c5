"""What a log line says."""
import re
import sys

import torch
from mmengine.runner import LogProcessor as _LogProcessor
from mmengine.runner import Runner

from mmdet.registry import LOG_PROCESSORS

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

TABLED = re.compile(r'.+(_mAP_\w+|_AP[\dsmlrcf]+|_precision)')  # figures that stand in a table above the line
MEANS = '.*(loss|time|data_time|grad_norm|left_out).*'  # figures of which a line tells the mean over its steps


@LOG_PROCESSORS.register_module()
class LogProcessor(_LogProcessor):
    """mmengine's, which here logs the ETA as JSON, and without a GPU the most memory the process held so far, MB.

    The line of a validation does not repeat what its table says; the JSON has all figures. Of what is left out the mean
    is told: the last step would hide the others.
    """

    def __init__(self, window_size: int = 10, by_epoch: bool = True, custom_cfg: list[dict] | None = None,
                 num_digits: int = 4, log_with_hierarchy: bool = False, mean_pattern: str = MEANS):
        super().__init__(window_size, by_epoch, custom_cfg, num_digits, log_with_hierarchy, mean_pattern)

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        tag, text = super().get_log_after_iter(runner, batch_idx, mode)
        if resource and not torch.cuda.is_available():
            tag['memory'] = peak_memory()
            text += f'  memory: {tag["memory"]}'
        if mode == 'train' and 'eta' in runner.message_hub.runtime_info:
            tag['eta'] = int(runner.message_hub.get_info('eta'))
        return tag, text

    def _collect_scalars(self, custom_cfg: list[dict], runner: Runner, mode: str, reserve_prefix: bool = False) -> dict:
        tag = super()._collect_scalars(custom_cfg, runner, mode, reserve_prefix)
        if mode != 'train':  # a figure of a validation, such as val_loss, is its own: no mean with those before
            for name, history in runner.message_hub.log_scalars.items():
                if name.startswith(f'{mode}/') and name not in (f'{mode}/time', f'{mode}/data_time'):
                    tag[name if reserve_prefix else name.removeprefix(f'{mode}/')] = history.current()
        return tag

    def get_log_after_epoch(self, runner: Runner, batch_idx: int, mode: str,
                            with_non_scalar: bool = False) -> tuple[dict, str]:
        tag, text = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        for name in tag:
            if TABLED.fullmatch(name):
                text = re.sub(rf'(?<!\S){re.escape(name)}: \S+ *', '', text)
        return tag, text


def peak_memory() -> int:
    """Most resident memory of this process so far, MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (2 ** 20 if sys.platform == 'darwin' else 2 ** 10)
