"""A hook that names the pictures of the slowest step of each epoch."""
import time

from mmengine.hooks import Hook

from mmdet.registry import HOOKS


@HOOKS.register_module()
class SlowestStepHook(Hook):

    def before_train_epoch(self, runner):
        self.slowest = 0, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.start = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        seconds = time.perf_counter() - self.start
        if seconds > self.slowest[0]:
            self.slowest = seconds, [sample.img_path for sample in data_batch['data_samples']]

    def after_train_epoch(self, runner):
        seconds, pictures = self.slowest
        runner.logger.info(f'slowest step: {seconds:.2f} s, {", ".join(pictures)}')
