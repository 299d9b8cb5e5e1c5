"""The option --tta: the config's tta_model and tta_pipeline, or mmdetection's defaults."""
import copy

from mmengine.config import Config
from mmengine.logging import print_log

from mmdet.errors import UserError

from .check_config import check_config
from .config import innermost

DEFAULT_MODEL = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')


def tta_parts(cfg: Config) -> tuple[dict, list[dict]]:
    """Configs of the model that merges, without its module, and of the pipeline."""
    if cfg.get('test_dataloader') is None:
        raise UserError('--tta changes the test pipeline, but the config has no test_dataloader')
    model, pipeline = cfg.get('tta_model'), cfg.get('tta_pipeline')
    if model is None:
        print_log(f'The config has no tta_model: it is {DEFAULT_MODEL}', 'current')
        model = DEFAULT_MODEL
    if pipeline is None:
        print_log('The config has no tta_pipeline: each picture is seen as it is and mirrored', 'current')
        pipeline = _mirrored_too(innermost(cfg.test_dataloader.dataset)['pipeline'])
    return copy.deepcopy(model), copy.deepcopy(pipeline)


def use_tta(cfg: Config) -> None:
    """Make the config's model and test pipeline those of test-time augmentation."""
    check_config(cfg)  # while each part stands at the place the user knows
    model, pipeline = tta_parts(cfg)
    cfg.model = dict(model, module=cfg.model)
    innermost(cfg.test_dataloader.dataset)['pipeline'] = pipeline


def _mirrored_too(pipeline: list[dict]) -> list[dict]:
    *steps, last = pipeline
    if not last['type'].endswith('PackDetInputs'):
        raise UserError(f'--tta: the test pipeline ends in {last["type"]}, not in PackDetInputs: write a tta_pipeline '
                        'into the config')
    views = dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)],
        [dict(last, meta_keys=META_KEYS)]])
    return [*steps, views]
