"""The private names of mmengine and mmcv that this package overrides or reads.

They may change in any release, so requirements.txt bounds mmengine, and `check` tells at import what is missing.
"""
import pkgutil
from collections.abc import Iterator
from types import CodeType

import mmengine

PRIVATE_NAMES = {
    'mmengine.config:Config': ('_cfg_dict',),
    'mmengine.config:DictAction': ('_parse_iterable',),
    'mmengine.dataset:BaseDataset': ('_fully_initialized', '_get_unserialized_subset', '_indices', '_load_metainfo',
                                     '_metainfo'),
    'mmengine.dataset:ConcatDataset': ('_fully_initialized', '_get_ori_dataset_idx', '_metainfo'),
    'mmengine.dataset:RepeatDataset': ('_metainfo',),
    'mmengine.hooks:CheckpointHook': ('_init_rule', '_save_best_checkpoint', '_save_checkpoint_with_step'),
    'mmengine.hooks:EarlyStoppingHook': ('_init_rule',),
    'mmengine.hooks:Hook': ('_after_iter',),
    'mmengine.logging:MessageHub': ('_get_valid_value', '_log_scalars', '_set_resumed_keys'),
    'mmengine.model:BaseModel': ('_run_forward',),
    'mmengine.model:BaseModule': ('_params_init_info',),
    'mmengine.optim:OptimWrapper': ('_accumulative_counts', '_clip_grad', '_inner_count'),
    'mmengine.registry:Registry': ('_module_dict', '_register_module'),
    'mmengine.runner:EpochBasedTrainLoop': ('_decide_current_val_interval', '_epoch', '_iter', '_max_epochs'),
    'mmengine.runner:IterBasedTrainLoop': ('_decide_current_val_interval', '_iter', '_max_iters'),
    'mmengine.runner:LogProcessor': ('_collect_scalars',),
    'mmengine.runner:Runner': ('_has_loaded', '_init_model_weights', '_load_from', '_log_env', '_maybe_compile',
                               '_randomness_cfg', '_resume', '_test_dataloader', '_train_dataloader', '_train_loop',
                               '_val_dataloader'),
    'mmengine.visualization:Visualizer': ('_dataset_meta',),
    'mmcv.transforms:RandomFlip': ('_flip', '_flip_bbox'),
    'mmcv.transforms:Resize': ('_resize_bboxes', '_resize_img'),
}


def check() -> None:
    """Raise ImportError that names every class whose private names are not those that this package knows."""
    missing = [f'{path.replace(":", ".")} has no {name}' for path, names in PRIVATE_NAMES.items()
               for name in names if name not in names_in(pkgutil.resolve_name(path))]
    if missing:
        raise ImportError(f'mmengine {mmengine.__version__} is not one that mmdet works with: {"; ".join(missing)}. '
                          "pip install 'mmengine>=0.10.7,<0.11'")


def names_in(cls: type) -> set[str]:
    """Names that a class and its parents define, and attributes that their methods read or set."""
    found = set(dir(cls))
    for parent in cls.__mro__:
        for value in vars(parent).values():
            for function in (value, getattr(value, '__func__', None), getattr(value, 'fget', None),
                             getattr(value, '__wrapped__', None)):
                found.update(*map(_names, _codes(getattr(function, '__code__', None))))
    return found


def _names(code: CodeType) -> tuple[str, ...]:
    return code.co_names


def _codes(code: CodeType | None) -> Iterator[CodeType]:
    """A function's code and that of the functions inside it."""
    if code is not None:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _codes(constant)
