import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet.errors import UserError
from mmdet.registry import HOOKS


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stops a training whose loss is NaN or infinite, and names the terms and images; looks every `interval` steps."""

    def __init__(self, interval: int = 50):
        self.interval = interval

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        if outputs is None or not self.every_n_train_iters(runner, self.interval):
            return
        if torch.isfinite(torch.as_tensor(outputs['loss'])):
            return
        terms = [name for name, value in outputs.items() if not torch.isfinite(torch.as_tensor(value)).all()]
        images = [getattr(sample, 'img_path', '?') for sample in (data_batch or {}).get('data_samples', [])]
        raise UserError(
            f'the loss is not finite at iteration {runner.iter + 1}: {", ".join(terms)}. Images of this batch: '
            f'{", ".join(map(str, images)) or "unknown"}. Usual cures: a lower optim_wrapper.optimizer.lr, a longer '
            'warmup, optim_wrapper.clip_grad=dict(max_norm=35)')
