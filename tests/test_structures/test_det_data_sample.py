import copy
import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks


@pytest.mark.parametrize('field', ['gt_instances', 'ignored_instances', 'proposals', 'pred_instances'])
def test_fields_hold_instance_data(field):
    sample = DetDataSample(metainfo=dict(img_id=7))
    assert field not in sample
    setattr(sample, field, InstanceData(bboxes=torch.ones(2, 4)))
    assert field in sample and len(getattr(sample, field)) == 2 and sample.img_id == 7
    assert list(sample.keys()) == [field]
    delattr(sample, field)
    assert field not in sample
    with pytest.raises(AssertionError):
        setattr(sample, field, torch.ones(2, 4))


def test_masks_are_indexed_and_pickled_with_their_instances():
    masks = np.zeros((3, 6, 5), np.uint8)
    masks[0, 1:3, 1:4] = masks[2, 4:, 4:] = 1
    sample = DetDataSample()
    sample.gt_instances = InstanceData(labels=torch.arange(3), masks=BitmapMasks(masks, 6, 5))
    for index in (torch.tensor([2, 0]), np.array([True, False, True]), slice(0, 1), 1):
        chosen = sample.gt_instances[index]
        assert np.array_equal(chosen.masks.masks, masks[chosen.labels.numpy()])
    again = pickle.loads(pickle.dumps(sample))
    assert np.array_equal(again.gt_instances.masks.masks, masks)


def test_a_worker_hands_over_no_tensor_by_itself():
    instances = InstanceData(bboxes=torch.rand(3, 4), labels=torch.arange(3),
                             features=torch.rand(3, 2, dtype=torch.bfloat16))
    sample = DetDataSample(metainfo=dict(img_id=7), gt_instances=instances[:2], ignored_instances=instances[2:])
    assert bytes(ForkingPickler.dumps(sample)).count(b'rebuild_tensor') == 1  # NumPy has no bfloat16
    for again in (pickle.loads(pickle.dumps(sample)), copy.deepcopy(sample), copy.copy(sample)):
        assert again.img_id == 7 and set(again.keys()) == {'gt_instances', 'ignored_instances'}
        for field in ('bboxes', 'labels', 'features'):
            assert torch.equal(again.gt_instances[field], instances[field][:2])
            assert torch.equal(again.ignored_instances[field], instances[field][2:])
        assert 'arrays' not in again and 'bboxes' in sample.gt_instances
