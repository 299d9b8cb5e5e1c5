"""What users of mmdetection 3.x look for here."""
import importlib

from mmengine.dist import all_reduce, get_world_size
from mmengine.registry import DefaultScope
from torch import Tensor

from .type_aliases import (
    ConfigType,
    InstanceList,
    MultiConfig,
    OptConfigType,
    OptInstanceList,
    OptMultiConfig,
    OptPixelList,
    PixelList,
    RangeType,
)

_PACKAGES = ('mmdet.models', 'mmdet.datasets', 'mmdet.datasets.transforms', 'mmdet.evaluation', 'mmdet.engine',
             'mmdet.visualization')


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import every package that registers something; with `init_default_scope`, make `mmdet` the default scope."""
    for package in _PACKAGES:
        importlib.import_module(package)
    if init_default_scope:
        current = DefaultScope.get_current_instance()
        if current is None or current.scope_name != 'mmdet':
            DefaultScope.get_instance('mmdet', scope_name='mmdet')


def setup_cache_size_limit_of_dynamo() -> None:
    """What mmdetection's tools call: as many shapes of a part as it compiles there."""
    from torch import _dynamo
    _dynamo.config.cache_size_limit = 4


def reduce_mean(tensor: Tensor) -> Tensor:
    """The mean of the processes' tensors, each of which gets it."""
    if get_world_size() == 1:
        return tensor
    tensor = tensor.clone()
    all_reduce(tensor.div_(get_world_size()))
    return tensor


__all__ = ['ConfigType', 'InstanceList', 'MultiConfig', 'OptConfigType', 'OptInstanceList', 'OptMultiConfig',
           'OptPixelList', 'PixelList', 'RangeType', 'reduce_mean', 'register_all_modules',
           'setup_cache_size_limit_of_dynamo']
