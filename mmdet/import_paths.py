"""Modules of mmdetection 3.3 whose contents lie elsewhere here, so that what was written for it finds them.

`from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead` gives the class that `type='Shared2FCBBoxHead'` of a
config names. A path is listed here or is a real file; nothing is imported before somebody asks for a name.
"""
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

# Package -> its modules that are not files here. A module gives the classes that are registered under their names, and
# what HOMES says. It must not be called as something that its package has, which importing it would hide.
PATHS = {
    'mmdet.models': 'data_preprocessors utils',
    'mmdet.models.data_preprocessors': 'data_preprocessor',
    'mmdet.models.dense_heads': 'anchor_head base_dense_head',
    'mmdet.models.detectors': 'base cascade_rcnn fast_rcnn faster_rcnn mask_rcnn',
    'mmdet.models.layers': 'normed_predictor res_layer',
    'mmdet.models.losses': 'balanced_l1_loss cross_entropy_loss focal_loss iou_loss seesaw_loss smooth_l1_loss utils',
    'mmdet.models.roi_heads': 'base_roi_head bbox_heads double_roi_head mask_heads roi_extractors '
                              'shared_heads',
    'mmdet.models.roi_heads.bbox_heads': 'bbox_head convfc_bbox_head double_bbox_head',
    'mmdet.models.roi_heads.mask_heads': 'fcn_mask_head',
    'mmdet.models.roi_heads.roi_extractors': 'base_roi_extractor single_level_roi_extractor',
    'mmdet.models.roi_heads.shared_heads': 'res_layer',
    'mmdet.models.task_modules': 'assigners builder coders prior_generators',
    'mmdet.models.task_modules.assigners': 'max_iou_assigner',
    'mmdet.models.task_modules.coders': 'delta_xywh_bbox_coder legacy_delta_xywh_bbox_coder',
    'mmdet.models.task_modules.prior_generators': 'anchor_generator',
    'mmdet.models.task_modules.samplers': 'combined_sampler instance_balanced_pos_sampler iou_balanced_neg_sampler '
                                          'ohem_sampler pseudo_sampler random_sampler',
    'mmdet.models.utils': 'misc',
    'mmdet.structures.bbox': 'transforms',
    'mmdet.structures.mask': 'structures',
    'mmdet.datasets': 'dataset_wrappers xml_style',
    'mmdet.datasets.samplers': 'batch_sampler class_aware_sampler',
    'mmdet.datasets.transforms': 'augment_wrappers colorspace geometric transforms wrappers',
    'mmdet.evaluation': 'evaluator metrics',
    'mmdet.evaluation.evaluator': 'multi_datasets_evaluator',
    'mmdet.evaluation.metrics': 'cityscapes_metric coco_metric dump_det_results dump_proposals_metric lvis_metric '
                                'voc_metric',
    'mmdet.engine.hooks': 'checkloss_hook',
    'mmdet.utils': 'dist_utils misc setup_env typing_utils',
}
# Module, or the package of many -> where its names are that no registry has.
HOMES = {
    'mmdet.models.detectors': ('mmdet.models.detectors',),
    'mmdet.models.layers': ('mmdet.models.layers', 'mmdet.models.backbones.resnet'),
    'mmdet.models.losses': ('mmdet.models.losses', 'mmdet.models.loss_reduction'),
    'mmdet.models.roi_heads': ('mmdet.models.roi_heads', 'mmdet.models.roi_heads.standard_roi_head'),
    'mmdet.models.task_modules': ('mmdet.models.task_modules', 'mmdet.models.task_modules.build'),
    'mmdet.models.utils': ('mmdet.models.instance_lists',),
    'mmdet.structures.bbox': ('mmdet.structures.bbox',),
    'mmdet.structures.mask': ('mmdet.structures.mask',),
    'mmdet.utils': ('mmdet.utils',),
    'mmcv.ops': ('mmdet.ops.mmcv_forms',),
}


def paths() -> list[str]:
    """Every module that is found here."""
    return [f'{package}.{name}' for package, names in PATHS.items() for name in names.split()]


def _homes(path):
    while path not in HOMES and '.' in path:
        path = path.rpartition('.')[0]
    return HOMES.get(path, ())


def elsewhere(path: str, name: str) -> Any:
    """What `name` of the module `path` is: in one of its homes, or registered. AttributeError: neither."""
    if not name.startswith('_'):
        for home in _homes(path):
            if name in vars(module := importlib.import_module(home)):
                return getattr(module, name)
        from mmdet import registry
        for room in vars(registry).values():
            if isinstance(room, registry.Registry) and room.scope == registry.SCOPE and (found := room.get(name)):
                return found
    raise AttributeError(f'module {path!r} has no attribute {name!r}')


class Door(ModuleType):
    """A module that looks every name up where it is."""
    __path__ = []

    def __getattr__(self, name: str) -> Any:
        return elsewhere(self.__name__, name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of PATHS, after all others."""

    def __init__(self) -> None:
        self.paths = set(paths())

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if fullname in self.paths else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return Door(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class OpsFinder(Finder):
    """Finds mmcv.ops, before all others, where mmcv has no compiled operators and its own could not be imported."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != 'mmcv.ops' or importlib.util.find_spec('mmcv._ext'):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)


def install() -> None:
    """Let Python ask here for modules that are found nowhere else."""
    sys.meta_path.append(Finder())
    sys.meta_path.insert(0, OpsFinder())
