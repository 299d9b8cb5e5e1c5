"""What users of mmdetection 3.x look for here."""
import importlib

from mmengine.registry import DefaultScope

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


__all__ = ['ConfigType', 'InstanceList', 'MultiConfig', 'OptConfigType', 'OptInstanceList', 'OptMultiConfig',
           'OptPixelList', 'PixelList', 'RangeType', 'register_all_modules']
