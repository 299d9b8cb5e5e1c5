"""A metric: by how many objects the detector miscounts a picture."""
from mmengine.evaluator import BaseMetric

from mmdet.registry import METRICS


@METRICS.register_module()
class CountError(BaseMetric):
    """Mean absolute difference between the objects of a picture and its detections above `score_thr`."""
    default_prefix = 'count'

    def __init__(self, score_thr=0.5, **kwargs):
        super().__init__(**kwargs)
        self.score_thr = score_thr

    def process(self, data_batch, data_samples):
        """data_samples: a dict a picture, with pred_instances and, if the pipeline loads annotations, gt_instances."""
        for sample in data_samples:
            found = (sample['pred_instances']['scores'] > self.score_thr).sum().item()
            self.results.append(abs(found - len(sample['gt_instances']['labels'])))

    def compute_metrics(self, results):
        """results: of all processes."""
        return dict(error=sum(results) / max(len(results), 1))
