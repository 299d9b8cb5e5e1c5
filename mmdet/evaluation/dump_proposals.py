"""Proposals as a pickle, for detectors that have no RPN of their own."""
import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmengine import fileio
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmdet.datasets.proposals import proposal_key
from mmdet.errors import UserError
from mmdet.registry import METRICS


@METRICS.register_module()
class DumpProposals(BaseMetric):
    """Writes what an RPN predicts: a dict of 'folder/name.jpg' -> dict of bboxes and scores, best first.

    It is what proposal_file of a data set reads, here and in mmdetection. Gives no figures.

    Args:
        output_dir, proposals_file: where the file goes.
        num_max_proposals: proposals of an image at most; None: all.
        backend_args: how mmengine.fileio writes it.
        collect_device, prefix: see mmengine's BaseMetric.
    """
    default_prefix = 'dump_proposals'

    def __init__(self, output_dir: str = '', proposals_file: str = 'proposals.pkl',
                 num_max_proposals: int | None = None, backend_args: dict | None = None, collect_device: str = 'cpu',
                 prefix: str | None = None):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not proposals_file.endswith(('.pkl', '.pickle')):
            raise UserError(f'DumpProposals.proposals_file={proposals_file!r}: the name must end in .pkl or .pickle')
        self.path = osp.join(output_dir, proposals_file)
        self.num_max_proposals, self.backend_args = num_max_proposals, backend_args

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the boxes of a batch."""
        for sample in data_samples:
            boxes, scores = (sample['pred_instances'][name].float().cpu().numpy() for name in ('bboxes', 'scores'))
            best = np.argsort(-scores, kind='stable')[:self.num_max_proposals]
            self.results.append((sample['img_path'], dict(bboxes=boxes[best], scores=scores[best])))

    def compute_metrics(self, results: list) -> dict:
        """Write the file."""
        paths: dict[str, str] = {}
        for path, _ in results:
            first = paths.setdefault(proposal_key(path), path)
            if first != path:
                raise UserError(f'two images would have one name in {self.path}: {first} and {path}')
        fileio.dump({proposal_key(path): proposals for path, proposals in results}, self.path,
                    backend_args=self.backend_args)
        print_log(f'proposals of {len(paths)} images written to {self.path}', 'current')
        return {}
