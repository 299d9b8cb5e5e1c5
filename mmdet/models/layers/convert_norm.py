"""`convert_norm` changes the batch norms of any PyTorch network, which need not call `conv_norm`."""
import logging

from mmengine.logging import print_log
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet.errors import UserError

from .batch_norm import BN
from .cbn import CBN
from .frozen_bn import FrozenBN
from .norm import build_norm_layer
from .sync_bn import SyncBN

PLAIN = (nn.BatchNorm2d, nn.SyncBatchNorm, BN, SyncBN, FrozenBN, CBN)  # a subclass may do more, such as an activation
FROZEN = ('FrozenBN', 'FrozenBatchNorm2d')  # ours; torchvision's, which is no batch norm by class


def convert_norm(model: nn.Module, norm_cfg: str | dict) -> nn.Module:
    """Put another norm in place of the batch norms of `model`, in place.

    Scale, shift, running statistics, eps and momentum are taken over, under the same names in the state dict: with BN,
    SyncBN, FrozenBN and CBN the network gives in evaluation what it gave. GN takes scale and shift alone. CBN needs the
    convolution's input: it takes the place of the norms that stand next behind an `nn.Conv2d` in their module. What is
    left as it was is named in the log.

    Args:
        model: a network of torchvision, timm, or your own.
        norm_cfg: as for build_norm_layer, or its `type` alone: 'BN', 'SyncBN', 'GN' (32 groups), 'FrozenBN', 'CBN'.

    Returns:
        `model`.

    Raises:
        UserError: an unknown type or option, groups that do not divide the channels, or no norm to convert. The model
            is then as it was.
    """
    norm_cfg = dict(type=norm_cfg) if isinstance(norm_cfg, str) else dict(norm_cfg)
    if norm_cfg.get('type') == 'GN':
        norm_cfg.setdefault('num_groups', 32)
    convs = _convs_before(model)
    made: dict[nn.Module, nn.Module] = {}
    left = []
    for name, norm in model.named_modules():
        if isinstance(norm, _BatchNorm) or type(norm).__name__ in FROZEN:
            new = _converted(norm, norm_cfg) if name and _is_plain(norm) else None
            if new is None or hasattr(new, 'forward_conv') and not (isinstance(new, CBN) and norm in convs):
                left.append(name or type(norm).__name__)
            else:
                made[norm] = new
    if not made:
        raise UserError(f'convert_norm: {type(model).__name__} has no norm that {norm_cfg.get("type")} can replace'
                        + f': {", ".join(left)} cannot be converted' * bool(left))
    for module in list(model.modules()):
        module._modules.update({name: made[child] for name, child in module._modules.items() if child in made})
    for norm, new in made.items():
        if isinstance(new, CBN):
            convs[norm].register_forward_hook(_tell_input)
    if left:
        print_log(f'convert_norm leaves {len(left)} norms as they are, which are no plain batch norms or do not stand '
                  f'next behind a convolution: {", ".join(left)}', 'current', logging.WARNING)
    return model


def _convs_before(model):
    """The convolution behind which a norm stands next, for each norm that has one."""
    convs = {}
    for module in model.modules():
        before = None
        for child in module._modules.values():
            if child in convs or child is None or isinstance(child, nn.Identity):
                continue
            if isinstance(before, nn.Conv2d) and _is_plain(child) and before.out_channels == len(child.weight) \
                    and type(before).forward is nn.Conv2d.forward:
                convs[child] = before
            before = child
    return convs


def _is_plain(norm):
    return type(norm).__name__ in FROZEN or type(norm) in PLAIN and norm.affine and norm.track_running_stats


def _converted(norm, norm_cfg):
    """A new norm with all that `norm` has and the new one can have."""
    _, new = build_norm_layer(norm_cfg, len(norm.weight))
    new.load_state_dict(norm.state_dict(), strict=False)
    if isinstance(new, _BatchNorm):
        for key in {'eps', 'momentum'} - norm_cfg.keys():
            setattr(new, key, getattr(norm, key, getattr(new, key)))
    if 'requires_grad' not in norm_cfg and type(norm).__name__ not in FROZEN and not norm.weight.requires_grad:
        new.requires_grad_(False)
    return new.to(norm.weight).train(norm.training)


def _tell_input(conv, args, y):
    """Forward hook: the output knows its convolution, the input, and whether it was changed since. CBN asks for it."""
    if not y.is_inference():
        y.made_by = args[0], conv, y._version
