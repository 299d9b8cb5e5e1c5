from mmengine.hooks import Hook

from mmdet.registry import HOOKS

from ..running_statistics import average_running_statistics


@HOOKS.register_module()
class RunningStatisticsHook(Hook):
    """Lets all processes validate with the same running statistics, those that the checkpoint holds."""

    def before_val_epoch(self, runner):
        average_running_statistics(runner.model)
