"""One choice of norm for a whole detector, as the option --norm makes it."""
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from mmdet.errors import UserError

NORMS: dict[str, dict[str, Any]] = dict(
    BN=dict(type='BN', requires_grad=True),
    FrozenBN=dict(type='FrozenBN'),
    SyncBN=dict(type='SyncBN', requires_grad=True),
    GN=dict(type='GN', num_groups=32, requires_grad=True),
    CBN=dict(type='CBN', buffer_num=3, requires_grad=True))
BURNIN = 2 / 3  # of the training, in which CBN is BN: as in the published recipe, until the learning rate drops


def apply_norm(cfg: Config, norm: str, **given: Any) -> None:
    """Put `norm`, a key of NORMS, into necks, box heads and mask heads of `cfg.model`, in place.

    A shared head, which has the convolutions before a box head, trains its norms then, too. A 2fc box head becomes the
    4conv1fc one, which has norms. The backbone keeps its batch norms where norm_eval freezes them; a backbone that
    trains its norms gets `norm` too. Where the config has that type already its options stay. CBN begins after BURNIN
    of the training. given: more options of it.
    """
    if norm not in NORMS:
        raise UserError(f'--norm {norm}: known are {", ".join(NORMS)}')
    model = cfg.model
    roi_head = model.get('roi_head') or {}
    boxes, masks, necks, shared = (_each(part) for part in (roi_head.get('bbox_head'), roi_head.get('mask_head'),
                                                            model.get('neck'), roi_head.get('shared_head')))
    places = [*necks, *boxes, *masks, *shared]
    if not places:
        raise UserError(f'--norm {norm}: it changes necks, box heads and mask heads; the model of this config, '
                        f'{model.get("type")}, has none')
    for place in shared:
        place.norm_eval = False
    if not model.backbone.get('norm_eval', True):
        places.append(model.backbone)
    for place in places:
        options = place.get('norm_cfg') or {}
        options = options if options.get('type') == norm else _burnin(cfg) if norm == 'CBN' else {}
        place.norm_cfg = ConfigDict({**NORMS[norm], **options, **given})
    for head in boxes:
        if head.type == 'Shared2FCBBoxHead':
            head.type = 'Shared4Conv1FCBBoxHead'
            head.conv_out_channels = head.in_channels


def _each(part: Any) -> Sequence[ConfigDict]:
    """A part of the model, of which there may be none or a list."""
    return list(part) if isinstance(part, (list, tuple)) else [part] if part else []


def _burnin(cfg: Config) -> dict:
    """CBN's option for the first BURNIN of the training of `cfg`."""
    loop = cfg.get('train_cfg') or {}
    if loop.get('max_epochs'):
        return dict(burnin=round(BURNIN * loop['max_epochs'], 2))
    return dict(burnin_iters=int(BURNIN * loop.get('max_iters', 0)))
