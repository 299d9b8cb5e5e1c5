"""Proposals: an RPN writes them, a file holds them, a pipeline turns them with the picture, Fast R-CNN reads them."""
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData

sys.path += [str(Path(__file__).parents[1] / 'peer')]
from cases import model_config  # noqa: E402

from mmdet.datasets import CocoDataset  # noqa: E402
from mmdet.datasets.proposals import ProposalFile  # noqa: E402
from mmdet.datasets.shapes import make_shapes  # noqa: E402
from mmdet.evaluation.ground_truth import Seen  # noqa: E402
from mmdet.evaluation.recall import fast_recall  # noqa: E402
from mmdet.registry import METRICS, MODELS, TRANSFORMS  # noqa: E402

RESIZE, PACK = dict(type='Resize', scale=(96, 96)), dict(type='PackDetInputs')
LOAD, FLIP = dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=1.)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('proposals') / 'shapes'
    make_shapes(root, 3, 2)
    return root


def dataset(root, pipeline, **kwargs):
    return CocoDataset(data_root=str(root), ann_file='annotations/train.json', data_prefix=dict(img='train/'),
                       pipeline=pipeline, **kwargs)


def test_from_an_rpn_to_fast_rcnn(shapes):
    torch.manual_seed(0)
    rpn = MODELS.build(model_config('rpn'))
    rpn.init_weights()
    seen = dataset(shapes, [LOAD, RESIZE, PACK], test_mode=True)
    metric = METRICS.build(dict(type='DumpProposals', output_dir=str(shapes), proposals_file='p.pkl',
                                num_max_proposals=20))
    recall = METRICS.build(dict(type='CocoMetric', ann_file=str(shapes / 'annotations/train.json'),
                                metric=['proposal_fast', 'proposal'], proposal_nums=(5, 60)))
    recall.dataset_meta = seen.metainfo
    found = [sample for i in range(3) for sample in rpn.eval().test_step(pseudo_collate([seen[i]]))]
    for each in (metric, recall):
        each.process({}, [sample.to_dict() for sample in found])
    assert metric.evaluate(3) == {}
    figures = recall.evaluate(3)
    assert set(figures) == {f'coco/AR{part}' for part in ('@5', '@60', '_s@60', '_m@60', '_l@60')}

    pipeline = [LOAD, dict(type='LoadProposals', num_max_proposals=15), dict(type='LoadAnnotations', with_bbox=True),
                dict(type='ProposalBroadcaster', transforms=[RESIZE, FLIP]), PACK]
    trained = dataset(shapes, pipeline, proposal_file='p.pkl')
    batch = pseudo_collate([trained[i] for i in range(3)])
    for sample, packed in zip(found, batch['data_samples']):
        best = sample.pred_instances.bboxes[:15] * torch.tensor(packed.scale_factor).repeat(2)
        x1, y1, x2, y2 = best.unbind(1)
        width = packed.img_shape[1]
        torch.testing.assert_close(packed.proposals.bboxes, torch.stack([width - x2, y1, width - x1, y2], 1).float())
        assert len(packed.gt_instances.bboxes) == len(packed.gt_instances.labels) > 0
    fast = MODELS.build(model_config('fast')).train()
    losses = fast(**fast.data_preprocessor(batch, True), mode='loss')
    assert all(value.isfinite() for value in losses.values())
    tested = dataset(shapes, [LOAD, *pipeline[1:2], dict(type='ProposalBroadcaster', transforms=[RESIZE]), PACK],
                     proposal_file='p.pkl', test_mode=True)
    assert 'bboxes' in fast.eval().test_step(pseudo_collate([tested[0]]))[0].pred_instances
    with pytest.raises(ValueError, match='no rpn_head.*proposal_file.*LoadProposals'):
        fast.test_step(pseudo_collate([seen[0]]))


def test_files_of_mmdetection_and_json(tmp_path):
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 9]], np.float64)
    foreign = {'train/a.jpg': InstanceData(bboxes=boxes, scores=np.array([0.9, 0.1])),
               'train/b.jpg': InstanceData(bboxes=boxes[:0], scores=boxes[:0, 0])}
    plain = {'train/a.jpg': dict(bboxes=boxes.tolist(), scores=[0.9, 0.1]), 'train/b.jpg': dict(bboxes=[])}
    for name, data in (('a.pkl', pickle.dumps(foreign, 2)), ('b.pkl', pickle.dumps(foreign)),
                       ('c.json', json.dumps(plain).encode())):
        (tmp_path / name).write_bytes(data)
        file = ProposalFile(str(tmp_path / name))
        assert file.of('data/train/a.jpg')['bboxes'].tolist() == boxes.tolist()
        assert len(file.of('train/b.jpg')['scores']) == 0


class Bomb:
    def __reduce__(self):
        return print, ('code of a file was run',)


@pytest.mark.parametrize(('content', 'message'), [
    (pickle.dumps({'train/a.jpg': Bomb()}), 'object of type builtins.print'), (b'\x80nonsense', 'neither a pickle'),
    (b'{"train/a.jpg": {"bboxes": [[1, 2, 3]]}}', r'train/a.jpg.*\(1, 3\).*\(P, 4\)'),
    (b'{"train/a.jpg": {"bboxes": [[3, 2, 1, 4]]}}', 'finite x1, y1'), (b'[1]', 'a list, not a dict'),
    (b'{"train/a.jpg": {"boxes": []}}', 'dict of bboxes'),
    (b'{"val/z.jpg": {"bboxes": []}}', 'no proposals for train/'), (None, 'does not exist.*DumpProposals')])
def test_mistakes_are_named(content, message, shapes, tmp_path):
    if content is not None:
        (tmp_path / 'p').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        dataset(shapes, [], proposal_file=str(tmp_path / 'p')).full_init()


def test_a_step_that_leaves_boxes_out_is_named():
    step = TRANSFORMS.build(dict(type='ProposalBroadcaster', transforms=[dict(type='FilterAnnotations')]))
    boxes = np.array([[0, 0, 9, 9]], np.float32)
    with pytest.raises(ValueError, match='FilterAnnotations leaves boxes out'):
        step(dict(gt_bboxes=boxes * 0, proposals=boxes, gt_ignore_flags=np.zeros(2, bool)))
    with pytest.raises(ValueError, match='put LoadProposals'):
        step({})


def test_recall_by_hand():
    """A box that is met exactly, one by an IoU of 0.62, one by nothing; a crowd does not count."""
    truth = [[0, 0, 10, 10], [20, 0, 10, 10], [50, 50, 10, 10]]
    annotations = [dict(image_id=7, bbox=box) for box in truth] + [dict(image_id=7, bbox=[0, 90, 9, 9], iscrowd=1)]
    boxes = np.array([[20, 0, 26.2, 10], [0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    seen = Seen([dict(bboxes=boxes, scores=np.array([0.5, 0.7, 0.6]))], dict(images=[dict(id=7)],
                                                                             annotations=annotations))
    thresholds = np.linspace(0.5, 0.95, 10)
    assert fast_recall(seen, (1, 3), thresholds) == pytest.approx({'AR@1': 10 / 30, 'AR@3': (10 + 3) / 30})
