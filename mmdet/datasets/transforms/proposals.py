"""Proposals in the pipeline of a detector that has no RPN of its own."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdet.errors import UserError
from mmdet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadProposals(BaseTransform):
    """Take results['proposals'], of the data set's proposal_file: float32 (P, 4), and proposals_scores (P,).

    Args:
        num_max_proposals: only the first so many, which are the best; None: all.
    """

    def __init__(self, num_max_proposals: int | None = None):
        self.num_max_proposals = num_max_proposals

    def transform(self, results: dict) -> dict:
        if 'proposals' not in results:
            raise UserError(f'image {results.get("img_path")} has no proposals: set proposal_file of the data set')
        proposals = results['proposals']
        results['proposals'] = proposals['bboxes'][:self.num_max_proposals]
        results['proposals_scores'] = proposals['scores'][:self.num_max_proposals]
        return results


@TRANSFORMS.register_module()
class ProposalBroadcaster(BaseTransform):
    """Let transforms of gt_bboxes do the same to proposals.

    Args:
        transforms: configs of transforms that keep every box, such as Resize and RandomFlip.
    """

    def __init__(self, transforms: Sequence[dict]):
        self.transforms = [TRANSFORMS.build(cfg) for cfg in transforms]

    def transform(self, results: dict) -> dict | None:
        if 'proposals' not in results:
            raise UserError('ProposalBroadcaster needs proposals: put LoadProposals before it')
        own = results.get('gt_bboxes', np.zeros((0, 4), np.float32))
        results = dict(results, gt_bboxes=np.concatenate([own, results['proposals']]))
        for step in self.transforms:
            count = len(results['gt_bboxes'])
            results = step(results)
            if results is None:
                return None
            if len(results['gt_bboxes']) != count:
                raise UserError(f'ProposalBroadcaster: {type(step).__name__} leaves boxes out, so that it is not known '
                                'which are proposals; only transforms that keep every box can be in it')
        boxes = results.pop('gt_bboxes')
        if 'gt_bboxes_labels' in results or len(own):
            results['gt_bboxes'] = boxes[:len(own)]
        return dict(results, proposals=boxes[len(own):])
