"""Objects are drawn in colours of their own; where a colour is found afterwards, the object's box and mask must be."""
import itertools
import pickle
from importlib.util import find_spec

import numpy as np
import pytest
from each import each

from mmdet.registry import TRANSFORMS
from mmdet.structures.mask import PolygonMasks

HEIGHT, WIDTH = 120, 160
COLOURS = [c for c in itertools.product((60, 150, 240), repeat=3) if len(set(c)) > 1]
OUTLINES = [[(20, 15), (60, 15), (60, 50), (20, 50)], [(90, 20), (140, 35), (100, 60)],
            [(30, 75), (75, 70), (80, 105), (45, 110)]]
CROWDS = (1, 5)  # labels


def drawn(number, kind):
    """An image of three objects on black; labels from 3 * number on, each with the colour of its place in COLOURS."""
    polygons = [np.array(outline, float) + np.array([9, -6]) * (number % 2) for outline in OUTLINES]
    labels = np.arange(3) + 3 * number
    boxes = np.array([[*p.min(axis=0), *p.max(axis=0)] for p in polygons], np.float32)
    masks = PolygonMasks([[p.ravel()] for p in polygons], HEIGHT, WIDTH)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for label, pixels in zip(labels, masks.to_ndarray(), strict=True):
        image[pixels == 1] = COLOURS[label]
    results = dict(img=image, img_shape=image.shape[:2], gt_bboxes=boxes, gt_bboxes_labels=labels,
                   gt_ignore_flags=np.isin(labels, CROWDS), gt_masks=masks)
    return dict(results, gt_masks=masks.to_bitmap()) if kind == 'bitmap' else results


def check(results, images, dim=1, hidden=False, loose=False, drops=False):
    """`dim`: what colours were multiplied with; `hidden`: masks may have more pixels; `loose`: boxes may be larger."""
    image, boxes, labels = results['img'], results['gt_bboxes'], results['gt_bboxes_labels']
    assert results['img_shape'] == image.shape[:2] and boxes.dtype == np.float32
    assert len(boxes) == len(labels) == len(results['gt_ignore_flags']) == len(results['gt_masks'])
    assert (boxes > -1e-6).all() and (boxes < np.tile(image.shape[1::-1], 2) + 1e-6).all()
    masks, found = results['gt_masks'].to_ndarray(), 0
    assert masks.shape[1:] == image.shape[:2]
    for label in range(3 * images):
        seen = (np.abs(image.astype(float) - np.array(COLOURS[label]) * dim) <= 8).all(axis=2)
        rows = np.flatnonzero(labels == label)
        assert hidden or not len(rows) or seen.any() or masks[rows].sum() < 12
        if seen.sum() < 60 or drops and not len(rows):  # a corner of it may be dropped
            continue
        row, = rows
        found += 1
        y, x = np.nonzero(seen)
        tight = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
        outside = (boxes[row] - tight) * (1, 1, -1, -1)  # how far pixels lie outside
        assert outside.max() < 2.5 and outside.min() > (-45 if loose or hidden else -5)
        differs = seen & (masks[row] == 0) if hidden else seen != masks[row]
        assert differs.sum() < 25 + .15 * seen.sum()
        assert results['gt_ignore_flags'][row] == (label in CROWDS)
    return found


AFFINE = dict(prob=1., reversal_prob=0.5)
CASES = [
    (dict(type='RandomCrop', crop_size=(100, 80)), 1, dict(loose=True)),
    (dict(type='RandomCrop', crop_size=(.5, .5), crop_type='relative_range', recompute_bbox=True), 1, {}),
    (dict(type='MinIoURandomCrop'), 1, dict(loose=True, drops=True)),
    (dict(type='Expand', mean=(9, 9, 9), prob=1), 1, {}),
    (dict(type='FixShapeResize', width=200, height=100, keep_ratio=True), 1, {}),
    (dict(type='FixShapeResize', width=100, height=200), 1, {}), (dict(type='Pad', size=(200, 200)), 1, {}),
    (dict(type='CutOut', n_holes=(1, 3), cutout_ratio=(.2, .3)), 1, dict(hidden=True)),
    (dict(type='ShearX', **AFFINE), 1, dict(loose=True)), (dict(type='ShearY', **AFFINE), 1, dict(loose=True)),
    (dict(type='Rotate', max_mag=180., **AFFINE), 1, dict(loose=True)),
    (dict(type='TranslateX', max_mag=.5, **AFFINE), 1, dict(loose=True)),
    (dict(type='TranslateY', max_mag=.5, **AFFINE), 1, dict(loose=True)),
    (dict(type='RandomAffine', max_rotate_degree=40., border=(-20, 10)), 1, dict(loose=True)),
    (dict(type='CopyPaste'), 2, {}), (dict(type='CopyPaste', selected=False), 2, {}),
    (dict(type='Mosaic', img_scale=(100, 90)), 4, dict(loose=True)),
    (dict(type='MixUp', img_scale=(150, 170), pad_val=0), 2, dict(dim=.5, hidden=True))]
if find_spec('albumentations'):
    CASES.append((dict(type='Albu', transforms=[dict(type='ShiftScaleRotate', p=1.), dict(type='HorizontalFlip')],
                  bbox_params=dict(type='BboxParams', format='pascal_voc', filter_lost_elements=True,
                                   label_fields=['gt_bboxes_labels', 'gt_ignore_flags'])), 1, dict(loose=True)))


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
def test_objects_follow(kind):
    for config, images, options in CASES:
        transform, found = pickle.loads(pickle.dumps(TRANSFORMS.build(config))), 0  # as a loader's worker gets it
        for seed in range(4):
            np.random.seed(seed)
            results = drawn(0, kind)
            if images > 1:
                results['mix_results'] = [drawn(number, kind) for number in range(1, images)]
            results = transform(results)
            found += results is not None and check(results, images, **options)
        assert found >= 4 * images, config


def test_images_without_objects():
    def empty(kind):
        results = drawn(0, kind)
        for field in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks'):
            results[field] = results[field][np.zeros(3, bool)]
        return results
    np.random.seed(1)
    for (config, images, _), kind in itertools.product(CASES, ('bitmap', 'polygon')):
        others = [empty(kind) for _ in range(images - 1)]
        results = TRANSFORMS.build(config)(dict(empty(kind), mix_results=others))
        assert results is None or len(results['gt_bboxes']) == len(results['gt_masks']) == 0, config


def test_mix_up_by_hand():
    """A second image of 40 x 30 in the upper left corner; around it the padding is the other half."""
    results, other = drawn(0, 'bitmap'), drawn(1, 'bitmap')
    first = results['img'].astype(int)
    mix = TRANSFORMS.build(dict(type='MixUp', img_scale=(40, 40), ratio_range=(1, 1), flip_ratio=1., pad_val=114.))
    image = mix(dict(results, mix_results=[other]))['img']
    assert (image[30:] == (first[30:] + 114) // 2).all() and (image[:30, 40:] == (first[:30, 40:] + 114) // 2).all()
    assert not (image[:30, :40] == (first[:30, :40] + 114) // 2).all()


@each('name, level, expected', [
    ('Invert', 0, [255, 155, 55]), ('Solarize', 5, [0, 100, 55]), ('SolarizeAdd', 10, [110, 210, 200]),
    ('Posterize', 10, [0, 96, 192]), ('Brightness', 0, [0, 10, 20]), ('Color', 0, None)])
def test_colours_by_hand(name, level, expected):
    image = np.full((2, 2, 3), [0, 100, 200], np.uint8)
    changed = TRANSFORMS.build(dict(type=name, level=level))(dict(img=image))['img']
    # of Color a tenth is left; the rest is gray, 0.114 blue + 0.587 green + 0.299 red
    wanted = [.9 * (58.7 + 59.8) + .1 * value for value in (0, 100, 200)] if name == 'Color' else expected
    assert changed.dtype == np.uint8 and np.abs(changed - np.array(wanted)).max() <= 1


def test_augmentations_are_drawn():
    drawn_ones = set()
    for policy, seed in itertools.product(('RandAugment', 'AutoAugment'), range(12)):
        transform = TRANSFORMS.build(dict(type=policy))
        np.random.seed(seed)
        results = transform(drawn(0, 'polygon'))
        drawn_ones.add(results['img'].tobytes())
        assert len(results['gt_bboxes']) == len(results['gt_masks']) == len(results['gt_bboxes_labels'])
    assert len(drawn_ones) > 12
