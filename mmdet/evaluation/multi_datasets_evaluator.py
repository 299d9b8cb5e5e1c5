"""An evaluator of several data sets, one metric each."""
from collections.abc import Sequence

from mmengine.dist import broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log

from mmdet.errors import UserError
from mmdet.registry import EVALUATOR


@EVALUATOR.register_module()
class MultiDatasetsEvaluator(Evaluator):
    """Evaluates each part of a ConcatDataset by a metric of its own: its figures are named PREFIX/coco/bbox_mAP, ...

    Args:
        metrics: configs or metrics, in the order of the data sets.
        dataset_prefixes: a name for each data set.
    """

    def __init__(self, metrics: dict | BaseMetric | Sequence, dataset_prefixes: Sequence[str]):
        super().__init__(metrics)
        self.dataset_prefixes = list(dataset_prefixes)
        if len(self.dataset_prefixes) != len(self.metrics) or len(set(self.dataset_prefixes)) != len(self.metrics):
            raise UserError(f'MultiDatasetsEvaluator has {len(self.metrics)} metrics and '
                            f'dataset_prefixes={self.dataset_prefixes}: each metric needs a prefix of its own')

    @property
    def dataset_meta(self) -> dict | None:
        """Metainfo of the ConcatDataset."""
        return super().dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        parts = len(meta.get('cumulative_sizes', ()))
        if parts != len(self.metrics):
            raise UserError(f'MultiDatasetsEvaluator has {len(self.metrics)} metrics: it needs a ConcatDataset of as '
                            f'many data sets, and the data set has {parts or "no"} parts')
        Evaluator.dataset_meta.fset(self, meta)

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures of all data sets, which have `size` images together."""
        assert self.dataset_meta is not None
        ends = self.dataset_meta['cumulative_sizes']
        figures: dict[str, float] = {}
        for prefix, metric, start, end in zip(self.dataset_prefixes, self.metrics, [0, *ends], ends, strict=False):
            results = collect_results(metric.results, size, metric.collect_device)
            metric.results.clear()
            if is_main_process():
                print_log(f'{prefix}:', 'current')  # its table follows
                names = [prefix, metric.prefix] if metric.prefix else [prefix]
                figures.update({'/'.join([*names, name]): value
                                for name, value in metric.compute_metrics(results[start:end]).items()})
        for metric in self.metrics[len(ends):]:  # of the whole, such as the file that test.py --out writes
            figures.update(metric.evaluate(size))
        shared = [figures]
        broadcast_object_list(shared)
        return shared[0]
