"""`build_norm_layer` makes every norm."""
import inspect

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from mmdet.errors import UserError
from mmdet.registry import MODELS, unknown_type

from .batch_norm import BN
from .cbn import CBN
from .frozen_bn import FrozenBN
from .group_norm import GN
from .sync_bn import SyncBN

# MMSyncBN: mmcv's name of one that takes batches without rows, as this one does. LN: of tokens (..., C), as mmcv's; of
# an image's channels and positions together it is GN with num_groups=1. The last three: of configs that import their
# types.
for _name, _cls in dict(BN=BN, BN1d=nn.BatchNorm1d, BN2d=BN, FrozenBN=FrozenBN, SyncBN=SyncBN,
                        MMSyncBN=SyncBN, CBN=CBN, GN=GN, LN=nn.LayerNorm, IN=nn.InstanceNorm2d, BatchNorm2d=BN,
                        SyncBatchNorm=SyncBN, GroupNorm=GN).items():
    MODELS.register_module(_name, module=_cls)

_NORM_BASES = (_NormBase, nn.GroupNorm, nn.LayerNorm)
_ABBREVIATIONS = ((_BatchNorm, 'bn'), (nn.GroupNorm, 'gn'), (_NormBase, 'in'), (nn.LayerNorm, 'ln'))


def _norm_class(norm_cfg):
    if not isinstance(norm_cfg, dict) or 'type' not in norm_cfg:
        raise UserError(f"norm_cfg must be a dict with the key 'type', such as dict(type='BN'); got {norm_cfg!r}")
    kind = norm_cfg['type']
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    if cls is None:
        known = [name for name, cls in MODELS.module_dict.items()
                 if inspect.isclass(cls) and issubclass(cls, _NORM_BASES)]
        raise unknown_type(kind, known, 'norm_cfg')
    return cls


def _check_groups(norm_cfg, num_features):
    if 'num_groups' not in norm_cfg:
        raise UserError(f"norm_cfg: GN needs the key 'num_groups' (32 in the published recipes); got {norm_cfg!r}")
    if num_features % norm_cfg['num_groups']:
        raise UserError(f'norm_cfg: num_groups={norm_cfg["num_groups"]} does not divide the {num_features} channels '
                        'of the convolution before the norm')


def build_norm_layer(norm_cfg: dict, num_features: int, postfix: int | str = '') -> tuple[str, nn.Module]:
    """Make the norm that `norm_cfg` names, for `num_features` channels.

    Args:
        norm_cfg: `type` (BN, FrozenBN, SyncBN, GN, CBN, LN, IN or a class registered in MODELS), `requires_grad`
            (False: scale and shift do not learn), and the type's own options.
        num_features: channels of the convolution before the norm.
        postfix: ends the name.

    Returns:
        Name of the attribute that holds the norm (`bn1`, `gn1`; a class of your own may set `_abbr_`), and the norm.

    Raises:
        KeyError, TypeError or ValueError: an unknown type or option, or groups that do not fit.
    """
    cls = _norm_class(norm_cfg)
    options = {key: value for key, value in norm_cfg.items() if key not in ('type', 'requires_grad')}
    channels: tuple[int, ...] = (num_features,)
    if issubclass(cls, nn.GroupNorm):
        _check_groups(norm_cfg, num_features)
        channels = (options.pop('num_groups'), num_features)
    try:
        inspect.signature(cls).bind(*channels, **options)
    except TypeError as error:
        raise UserError(f'norm_cfg {norm_cfg!r}: {error}. {cls.__name__} takes: '
                        f'{", ".join(inspect.signature(cls).parameters)}.') from None
    norm = cls(*channels, **options)
    if not norm_cfg.get('requires_grad', True):
        norm.requires_grad_(False)
    abbreviation = next((abbr for base, abbr in _ABBREVIATIONS if issubclass(cls, base)), 'norm_layer')
    return getattr(cls, '_abbr_', abbreviation) + str(postfix), norm
