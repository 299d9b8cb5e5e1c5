from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmdet.errors import UserError
from mmdet.registry import HOOKS


@HOOKS.register_module()
class NumClassCheckHook(Hook):
    """Stops before the first step when a head's num_classes is not the number of the data set's classes."""

    def before_train_epoch(self, runner: Runner) -> None:
        check_num_classes(runner.model, runner.train_dataloader.dataset)

    def before_val_epoch(self, runner: Runner) -> None:
        check_num_classes(runner.model, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        check_num_classes(runner.model, runner.test_dataloader.dataset)


def check_num_classes(model: nn.Module, dataset: BaseDataset) -> None:
    """Raise ValueError when a head of `model` and `dataset` differ in their classes. The RPN knows no classes."""
    classes = dataset.metainfo.get('classes')
    if classes is None:
        return
    if isinstance(classes, str):
        raise UserError(f'metainfo.classes must be a tuple of names; one class is written ({classes!r},)')
    for name, module in model.named_modules():
        count = getattr(module, 'num_classes', None)
        if isinstance(count, int) and not name.endswith('rpn_head') and count != len(classes):
            name = name.rpartition('module.')[2]
            shown = ', '.join(classes[:5]) + (', ...' if len(classes) > 5 else '')
            raise UserError(f'model.{name}.num_classes is {count}, but the data set has {len(classes)} classes '
                            f'({shown}). Set model.{name}.num_classes={len(classes)} or the metainfo of the data set')
