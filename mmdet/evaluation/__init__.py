from .coco_metric import CocoMetric
from .dump_det_results import DumpDetResults
from .multi_datasets_evaluator import MultiDatasetsEvaluator
from .voc_metric import VOCMetric

__all__ = ['CocoMetric', 'DumpDetResults', 'MultiDatasetsEvaluator', 'VOCMetric']
