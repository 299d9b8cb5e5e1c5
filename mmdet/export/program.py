"""A detector as the graph that torch.export makes of it."""
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

import mmdet
from mmdet.errors import UserError
from mmdet.models.detectors.two_stage import TwoStageDetector
from mmdet.models.roi_heads.bbox_head import ConvFCBBoxHead
from mmdet.models.roi_heads.standard_roi_head import StandardRoIHead
from mmdet.ops import backend

from .detector import WholeDetector

LEAST_SIDE = 65  # pixels of a picture: the coarsest feature map must have more than one row and column


def export_program(detector: nn.Module) -> ExportedProgram:
    """The graph of WholeDetector(detector), for any number of pictures of any size from LEAST_SIDE on.

    Args:
        detector: on the CPU, as init_detector gives it.

    Raises:
        UserError: a part that cannot be exported, which is named.
    """
    check_parts(detector)
    whole = WholeDetector(detector).eval()  # type: ignore[arg-type]  # checked
    images = torch.zeros(2, 3 * LEAST_SIDE, 4 * LEAST_SIDE, 3, dtype=torch.uint8)
    with torch.no_grad():
        whole(images)  # what modules keep of their first call must be no symbols
        try:
            return torch.export.export(whole, (images,), dynamic_shapes=({i: Dim.DYNAMIC for i in range(3)},))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f'{failed_part(error, detector)} cannot be exported: {first_line(error)}') from error


def check_parts(detector: nn.Module) -> None:
    """Raise UserError where a part predicts in a way of its own, which WholeDetector would not follow."""
    roi_head = getattr(detector, 'roi_head', None)
    followed: tuple[tuple[str, Any, type, tuple[str, ...]], ...] = (
        ('model', detector, TwoStageDetector, ('predict', 'predict_features')),
        ('model.roi_head', roi_head, StandardRoIHead, ('stages', 'predict', 'detect', 'mask_probs')),
        ('model.roi_head.bbox_head', getattr(roi_head, 'bbox_head', None), ConvFCBBoxHead, ('predict',)))
    for place, part, known, names in followed:
        own = next((name for name in names if getattr(type(part), name, None) is not getattr(known, name)), None)
        if own:
            raise UserError(f'{place} cannot be exported: {type(part).__name__} has {own} of its own; only that of '
                            f'{known.__name__} is known here')
    if detector.rpn_head is None:
        raise UserError('model cannot be exported: without an rpn_head its proposals come from a file')
    kind = roi_head.test_cfg['nms'].get('type', 'nms')  # type: ignore[union-attr]  # checked
    if kind != 'nms':
        raise UserError(f'model.test_cfg.rcnn.nms.type={kind!r} cannot be exported, only nms: --cfg-options '
                        '"model.test_cfg.rcnn.nms=dict(type=\'nms\', iou_threshold=0.5)"')
    if backend('cpu') != 'mmdet':
        raise UserError('the compiled operators are needed to export: pip install --no-build-isolation -e . with '
                        'a C++ compiler, without MMDET_OPS=torchvision')


def failed_part(error: BaseException, detector: nn.Module) -> str:
    """'model.backbone.layer1 (Sequential)': the innermost module of `detector` in whose forward `error` arose."""
    names = {id(module): name for name, module in detector.named_modules() if name}
    found, trace = 'the model', error.__traceback__
    while isinstance(trace, TracebackType):
        part = trace.tb_frame.f_locals.get('self')
        if id(part) in names:
            found = f'model.{names[id(part)]} ({type(part).__name__})'
        trace = trace.tb_next
    return found


def first_line(error: BaseException) -> str:
    """The innermost cause of `error` in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


def describe(detector: Any, pipeline: Sequence[dict]) -> dict[str, str]:
    """What the user of a file must know, as texts (JSON where it is no plain word): input, classes, thresholds, norms.

    Args:
        detector: as init_detector gives it, with `dataset_meta`.
        pipeline: config of the test pipeline, which resizes.
    """
    resize = next((dict(step) for step in pipeline if 'Resize' in str(step['type'])), None)
    norms = sorted({type(module).__name__ for module in detector.modules() if 'Norm' in str(type(module).__mro__)})
    test_cfg = detector.roi_head.test_cfg
    return dict(producer=f'mmdet-norms {mmdet.__version__}', model=type(detector).__name__,
                input='images: uint8 (batch, height, width, 3), BGR, already resized',
                least_side=str(LEAST_SIDE), resize=json.dumps(resize, default=str), norms=json.dumps(norms),
                classes=json.dumps(list(detector.dataset_meta['classes'])), score_thr=str(test_cfg['score_thr']),
                max_per_img=str(test_cfg['max_per_img']))
