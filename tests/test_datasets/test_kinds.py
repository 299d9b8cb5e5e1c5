import json
from collections import Counter

import numpy as np
import pytest

from mmdet.datasets import CityscapesDataset, LVISV05Dataset, LVISV1Dataset
from mmdet.errors import UserError
from mmdet.registry import DATASETS


def test_lvis_names_its_pictures_and_classes(tiny):
    for image in tiny.data['images']:
        image['coco_url'] = f'http://images.cocodataset.org/val2017/{image.pop("file_name")}'
    tiny.save()
    dataset = LVISV1Dataset(**dict(tiny.config(), data_prefix=dict(img='')))
    assert dataset[0]['img_path'] == f'{tiny.root}/val2017/wide.png'
    assert dataset.metainfo['classes'] == ('acorn', 'birch', 'cedar')  # the file's, in its order
    for i, image in enumerate(tiny.data['images']):
        image['file_name'] = f'COCO_val2014_{i:012}.jpg'
    tiny.save()
    dataset = LVISV05Dataset(**tiny.config())
    assert [info['img_path'][-16:] for info in dataset] == [f'{i:012}.jpg' for i in range(4)]
    assert 'COCO' not in dataset[0]['img_path'] and type(dataset) is DATASETS.get('LVISDataset')
    del tiny.data['images'][2]['file_name'], tiny.data['images'][2]['coco_url']
    tiny.save()
    with pytest.raises(UserError, match=r'images\[2\] \(id 30\) has no file_name: add it'):
        LVISV1Dataset(**tiny.config())


def test_cityscapes_counts_no_crowds(tiny):
    """An image of crowds alone is left out by filter_empty_gt, which CocoDataset keeps."""
    text = json.dumps(tiny.data)
    for mine, theirs in (('acorn', 'car'), ('birch', 'rider'), ('cedar', 'train')):
        text = text.replace(mine, theirs)
    tiny.data = json.loads(text)
    tiny.data['annotations'][-1]['iscrowd'] = 1  # the only one of small.png
    tiny.save()
    options = tiny.config(filter_cfg=dict(filter_empty_gt=True))
    assert [info['img_id'] for info in CityscapesDataset(**options)] == [10, 20]
    assert [info['img_id'] for info in DATASETS.build(dict(options, type='CocoDataset'))] == [10, 20, 40]
    assert CityscapesDataset(**options).get_cat_ids(0) == [1, 2, 2]  # rider, car, a crowd of cars


def test_class_balanced_over_concat(tiny):
    """Acorn is in 4 of 8 images, birch and cedar in 2: at the threshold 1 their images come sqrt(2) and 2 times."""
    part = dict(tiny.config(), type='CocoDataset')
    dataset = DATASETS.build(dict(type='ClassBalancedDataset', oversample_thr=1.,
                                  dataset=dict(type='ConcatDataset', datasets=[part, part])))
    ids = Counter(dataset.get_data_info(i)['img_id'] for i in range(len(dataset)))
    assert ids == {10: 4, 20: 4, 30: 2, 40: 4}  # rounded up; nothing is in image 30
    assert len(dataset.metainfo['classes']) == 3


def mixed(tiny, *steps, **options):
    inside = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
              dict(type='Pad', size=(60, 60))]
    return DATASETS.build(dict(type='MultiImageMixDataset', pipeline=[*steps, dict(type='PackDetInputs')], **options,
                               dataset=dict(tiny.config(), type='CocoDataset', pipeline=inside)))


def test_multi_image_mix(tiny):
    paste = dict(type='CopyPaste', selected=False)
    dataset = mixed(tiny, paste)

    def sample(i, seed):
        np.random.seed(seed)
        return dataset[i]
    assert len(dataset) == 4 and dataset.metainfo['classes'] == ('acorn', 'birch', 'cedar')
    assert dataset.get_data_info(1)['img_id'] == 20 and dataset.get_cat_ids(1) == [2]
    counts = {len(sample(2, seed)['data_samples'].gt_instances) for seed in range(9)}
    assert counts == {0, 1, 2}  # of the second image, pasted into the empty one
    assert (sample(0, 5)['inputs'] == sample(0, 5)['inputs']).all()
    dataset.update_skip_type_keys(['CopyPaste'])
    assert len(sample(2, 0)['data_samples'].gt_instances) == 0
    with pytest.raises(UserError, match='refuses image 2 of its data set 3 times'):
        mixed(tiny, dict(type='RandomCrop', crop_size=(9, 9)), max_refetch=3)[2]
    with pytest.raises(UserError, match=r'CopyPaste meets images of shape .*Pad'):
        mixed(tiny, dict(type='RandomCrop', crop_size=(9, 9), allow_negative_crop=True), paste)[0]
