"""Resize, flip, crop and pad, on pictures whose pixels name their place."""
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from mmdet.datasets.transforms import Pad, RandomChoiceResize, RandomCrop, RandomFlip, RandomResize, Resize
from mmdet.structures.mask import BitmapMasks, PolygonMasks

HEIGHT, WIDTH = 40, 60
BOXES = np.array([[10, 5, 30, 20], [30, 20, 40, 30], [50, 0, 60, 8]], np.float32)


def scene(masks='bitmap'):
    """Results with three boxes, their masks filling them; pixel (x, y) is (x, y, 0)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    polygons = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2], np.float64)] for x1, y1, x2, y2 in BOXES]
    gt_masks = PolygonMasks(polygons, HEIGHT, WIDTH)
    return dict(img=image, img_shape=(HEIGHT, WIDTH), ori_shape=(HEIGHT, WIDTH), gt_bboxes=BOXES.copy(),
                gt_bboxes_labels=np.arange(3), gt_ignore_flags=np.array([False, True, False]),
                gt_masks=gt_masks.to_bitmap() if masks == 'bitmap' else gt_masks)


def fill_boxes(results):
    """Masks (N, H, W) that fill the integer boxes of `results`."""
    full = np.zeros((len(results['gt_bboxes']), *results['img_shape']), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(full, results['gt_bboxes'].astype(int), strict=True):
        mask[y1:y2, x1:x2] = 1
    return full


def check_fields(results):
    """Masks lie where boxes lie; types are kept; sizes agree."""
    assert results['img'].shape[:2] == tuple(results['img_shape'])
    assert results['gt_bboxes'].dtype == np.float32
    assert len(results['gt_bboxes_labels']) == len(results['gt_ignore_flags']) == len(results['gt_bboxes'])
    assert np.array_equal(results['gt_masks'].to_ndarray(), fill_boxes(results))


both = pytest.mark.parametrize('masks', ['bitmap', 'polygon'])


@both
def test_resize_without_ratio(masks):
    results = Resize(scale=(120, 120))(scene(masks))
    assert results['scale_factor'] == (2, 3) and results['img_shape'] == (120, 120)
    assert np.array_equal(results['gt_bboxes'], BOXES * (2, 3, 2, 3))
    check_fields(results)


@both
def test_resize_keeping_the_ratio(masks):
    results = Resize(scale=(120, 1000), keep_ratio=True)(scene(masks))
    assert results['img_shape'] == (120, 180) and results['scale_factor'] == (3, 3)
    check_fields(results)


def test_resize_clips_boxes():
    results = scene()
    results['gt_bboxes'][2] = [50, -4, 66, 8]
    assert Resize(scale=(120, 80))(dict(results))['gt_bboxes'][2].tolist() == [100, 0, 120, 16]
    assert Resize(scale=(120, 80), clip_object_border=False)(results)['gt_bboxes'][2].tolist() == [100, -8, 132, 16]


def test_scale_factor_is_the_one_that_was_reached():
    results = Resize(scale=(100, 33), keep_ratio=True)(dict(img=np.zeros((40, 61, 3), np.uint8)))
    assert results['img_shape'] == (33, 50)
    assert results['scale_factor'] == (50 / 61, 33 / 40)


@pytest.mark.parametrize('cls, kwargs, sizes', [
    (RandomChoiceResize, dict(scales=[(120, 80), (60, 40), (30, 20)]), {(80, 120), (40, 60), (20, 30)}),
    (RandomResize, dict(scale=[(1000, 38), (1000, 41)]), {(38, 57), (39, 58), (39, 59), (40, 60), (41, 62), (41, 61)}),
    (RandomResize, dict(scale=(60, 60), ratio_range=(0.5, 2)), None),
])
def test_random_sizes(cls, kwargs, sizes):
    np.random.seed(0)
    reached = set()
    for _ in range(30):
        results = TRANSFORMS.build(dict(type=cls.__name__, keep_ratio=True, **kwargs))(scene())
        reached.add(results['img_shape'])
        assert results['gt_masks'].to_ndarray().shape[1:] == results['img_shape']
    if sizes is None:
        heights = sorted(h for h, _ in reached)
        assert 20 <= heights[0] < 35 and 65 < heights[-1] <= 80
    else:
        assert reached <= sizes and len(reached) > 2


def test_random_resize_is_ours_without_a_default_scope():
    from mmengine.registry import DefaultScope
    DefaultScope._instance_dict.clear()
    assert isinstance(RandomResize(scale=[(6, 4), (6, 5)]).resize, Resize)
    assert isinstance(RandomChoiceResize(scales=[(6, 4)]).resize, Resize)


@both
@pytest.mark.parametrize('direction, x, y', [('horizontal', True, False), ('vertical', False, True),
                                             ('diagonal', True, True)])
def test_flip(masks, direction, x, y):
    results = RandomFlip(prob=1., direction=direction)(scene(masks))
    assert results['flip'] and results['flip_direction'] == direction
    assert results['img'][3, 7].tolist() == [WIDTH - 1 - 7 if x else 7, HEIGHT - 1 - 3 if y else 3, 0]
    x1, y1, x2, y2 = BOXES[0]
    assert results['gt_bboxes'][0].tolist() == [WIDTH - x2 if x else x1, HEIGHT - y2 if y else y1,
                                                WIDTH - x1 if x else x2, HEIGHT - y1 if y else y2]
    check_fields(results)


def test_flip_probabilities():
    np.random.seed(0)
    flip = RandomFlip(prob=[0.5, 0.25], direction=['horizontal', 'vertical'])
    drawn = [str(flip(dict(img=np.zeros((2, 2, 3))))['flip_direction']) for _ in range(400)]
    assert 160 < drawn.count('horizontal') < 240 and 70 < drawn.count('vertical') < 130
    never = RandomFlip(prob=0.)(scene())
    assert never['flip'] is False and never['flip_direction'] is None


@both
@pytest.mark.parametrize('seed', range(4))
def test_crop_shifts_everything(masks, seed):
    np.random.seed(seed)
    results = RandomCrop(crop_size=(40, 30), allow_negative_crop=True)(scene(masks))
    left, top = results['img'][0, 0, :2].tolist()
    assert results['img_shape'] == (30, 40)
    moved = (BOXES - [left, top, left, top]).clip(0, [40, 30, 40, 30])
    inside = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
    assert results['gt_bboxes'].tolist() == moved[inside].tolist()
    assert results['gt_bboxes_labels'].tolist() == np.flatnonzero(inside).tolist()
    check_fields(results)


def test_crop_boxes_from_masks_or_past_the_border():
    results = scene()
    masks = results['gt_masks'].masks.copy()
    masks[0, 5:12] = 0
    results['gt_masks'].masks = masks
    np.random.seed(3)
    cropped = RandomCrop(crop_size=(60, 40), recompute_bbox=True)(dict(results))
    assert cropped['gt_bboxes'][0].tolist() == [10, 12, 30, 20]
    results['gt_bboxes'][2] = [50, -3, 63, 8]
    assert RandomCrop(crop_size=(60, 40), bbox_clip_border=False)(results)['gt_bboxes'][2].tolist() == [50, -3, 63, 8]


def test_crop_without_instances():
    results = dict(img=np.zeros((40, 60, 3), np.uint8), gt_bboxes=np.zeros((0, 4), np.float32))
    assert RandomCrop(crop_size=(20, 20))(dict(results)) is None
    assert RandomCrop(crop_size=(20, 20), allow_negative_crop=True)(dict(results))['img_shape'] == (20, 20)


@pytest.mark.parametrize('crop_type, crop_size, heights, widths', [
    ('absolute', (100, 20), (20, 20), (60, 60)),
    ('absolute_range', (15, 50), (15, 40), (15, 50)),
    ('relative', (0.5, 0.25), (10, 10), (30, 30)),
    ('relative_range', (0.25, 0.5), (10, 40), (30, 60)),
])
def test_crop_sizes(crop_type, crop_size, heights, widths):
    np.random.seed(0)
    crop = RandomCrop(crop_size=crop_size, crop_type=crop_type)
    shapes = np.array([crop(dict(img=scene()['img']))['img_shape'] for _ in range(200)])
    for drawn, (least, most) in zip(shapes.T, (heights, widths), strict=True):
        assert drawn.min() >= least and drawn.max() <= most
        assert drawn.min() <= least + 2 and drawn.max() >= most - 2


@pytest.mark.parametrize('kwargs, message', [
    (dict(crop_size=(3, 3), crop_type='square'), "crop_type of RandomCrop is 'square'"),
    (dict(crop_size=(0, 3)), 'positive integers'), (dict(crop_size=(0.5, 3)), 'positive integers'),
    (dict(crop_size=(0.5, 3), crop_type='relative'), r'numbers in \(0, 1\]'),
    (dict(crop_size=(9, 3), crop_type='absolute_range'), 'least, most'),
])
def test_crop_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RandomCrop(**kwargs)


@both
def test_pad(masks):
    results = Pad(size_divisor=32)(scene(masks))
    assert results['img_shape'] == results['pad_shape'][:2] == (64, 64)
    assert results['img'][40:].max() == results['img'][:, 60:].max() == 0
    assert results['gt_bboxes'].tolist() == BOXES.tolist()
    check_fields(results)


def test_bitmap_masks_stay_bitmap_masks():
    for transform in (Resize(scale=(30, 20)), RandomFlip(prob=1.), Pad(size=(70, 70))):
        assert isinstance(transform(scene())['gt_masks'], BitmapMasks)
        assert isinstance(transform(scene('polygon'))['gt_masks'], PolygonMasks)


@pytest.mark.parametrize('shape, expected', [((2000, 2), (1333, 1)), ((1, 500), (3, 1333)), ((2, 65500), (1, 1333)),
                                             ((65500, 2), (1333, 1))])
def test_resize_leaves_a_pixel(shape, expected):
    height, width = shape
    results = Resize((1333, 800), keep_ratio=True)(dict(
        img=np.full((*shape, 3), 7, np.uint8), gt_bboxes=np.array([[0, 0, width, height]], np.float32)))
    assert results['img'].shape == (*expected, 3) and (results['img'] == 7).all()
    assert results['gt_bboxes'].tolist() == [[0, 0, expected[1], expected[0]]]
