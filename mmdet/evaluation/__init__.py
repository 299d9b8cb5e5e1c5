from .cityscapes_metric import CityScapesMetric
from .coco_metric import CocoMetric
from .dump_det_results import DumpCocoResults, DumpDetResults
from .dump_proposals import DumpProposals
from .lvis_metric import LVISMetric
from .multi_datasets_evaluator import MultiDatasetsEvaluator
from .voc_metric import VOCMetric

__all__ = ['CityScapesMetric', 'CocoMetric', 'DumpCocoResults', 'DumpDetResults', 'DumpProposals', 'LVISMetric',
           'MultiDatasetsEvaluator', 'VOCMetric']
