import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, LoadImageFromFile, LoadImageFromNDArray
from mmdet.structures.mask import BitmapMasks, PolygonMasks


@pytest.fixture(params=['.jpg', '.png'])
def image_file(tmp_path, request):
    """A picture that compresses badly."""
    path = tmp_path / f'image{request.param}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    return path


def test_image(image_file):
    results = LoadImageFromFile(backend_args=None)(dict(img_path=str(image_file)))
    assert np.array_equal(results['img'], cv2.imread(str(image_file)))
    assert results['img_shape'] == results['ori_shape'] == (60, 80)
    assert LoadImageFromFile(to_float32=True)(dict(img_path=str(image_file)))['img'].dtype == np.float32


def test_missing_image():
    with pytest.raises(FileNotFoundError, match=r'image no/such\.jpg does not exist.*data_prefix'):
        LoadImageFromFile()(dict(img_path='no/such.jpg'))


@pytest.mark.parametrize('share', [0.5, 0.9, 0.999])
def test_image_cut_short(image_file, share):
    data = image_file.read_bytes()
    image_file.write_bytes(data[:int(share * len(data))])
    with pytest.raises(ValueError, match=r'image.*image\.(jpg|png) is cut short'):
        LoadImageFromFile()(dict(img_path=str(image_file)))
    assert LoadImageFromFile(ignore_empty=True)(dict(img_path=str(image_file))) is None


def test_bytes_after_the_end_do_no_harm(image_file):
    image_file.write_bytes(image_file.read_bytes() + bytes(1000))
    assert LoadImageFromFile()(dict(img_path=str(image_file)))['img_shape'] == (60, 80)


@pytest.mark.parametrize('data', [b'', b'no picture at all'])
def test_no_image(tmp_path, data):
    path = tmp_path / 'image.jpg'
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r'image\.jpg \(\d+ bytes\) is no image'):
        LoadImageFromFile()(dict(img_path=str(path)))


def test_array():
    results = LoadImageFromNDArray()(dict(img=np.zeros((4, 5, 3), np.uint8)))
    assert results['img_shape'] == results['ori_shape'] == (4, 5) and results['img_path'] is None


def loaded(tiny, image=0, **kwargs):
    info = CocoDataset(**tiny.config()).get_data_info(image)
    return LoadAnnotations(**kwargs)(dict(info, ori_shape=(info['height'], info['width'])))


def test_boxes_and_labels(tiny):
    results = loaded(tiny)
    assert results['gt_bboxes'].dtype == np.float32 and results['gt_bboxes_labels'].dtype == np.int64
    assert results['gt_bboxes'].tolist() == [[10, 5, 30, 20], [30, 20, 40, 30], [0, 30, 50, 40]]
    assert results['gt_bboxes_labels'].tolist() == [1, 0, 0]
    assert results['gt_ignore_flags'].tolist() == [False, False, True]
    assert 'gt_masks' not in results
    empty = loaded(tiny, image=2, with_mask=True)
    assert empty['gt_bboxes'].shape == (0, 4) and len(empty['gt_masks']) == 0


def test_bitmap_masks_of_polygons_and_rle(tiny):
    masks = loaded(tiny, with_mask=True)['gt_masks']
    expected = np.zeros((3, 40, 60), np.uint8)
    expected[0, 5:20, 10:30] = expected[1, 20:30, 30:40] = expected[2, 30:40, :50] = 1
    assert isinstance(masks, BitmapMasks) and np.array_equal(masks.masks, expected)


def test_polygon_masks_ignore_what_is_rle(tiny):
    tiny.data['annotations'][2]['iscrowd'] = 0
    tiny.save()
    results = loaded(tiny, with_mask=True, poly2mask=False, box_type='hbox')
    assert isinstance(results['gt_masks'], PolygonMasks)
    assert results['gt_ignore_flags'].tolist() == [False, False, True]
    assert results['gt_masks'].areas.tolist() == [300, 100, 0]


@pytest.mark.parametrize('poly2mask', [True, False])
def test_polygons_of_two_points_are_ignored(tiny, poly2mask):
    first, second = tiny.data['annotations'][:2]
    first['segmentation'] = [[1, 2, 3, 4]]
    second['segmentation'].append([1, 2, 3, 4, 5])
    tiny.save()
    results = loaded(tiny, with_mask=True, poly2mask=poly2mask)
    assert results['gt_ignore_flags'].tolist() == [True, False, True]
    assert results['gt_masks'].areas.tolist()[:2] == [0, 100]


def test_missing_segmentation_is_named(tiny):
    del tiny.data['annotations'][1]['segmentation']
    tiny.save()
    assert len(loaded(tiny)['gt_bboxes']) == 3
    with pytest.raises(ValueError, match=r'\[30.0, 20.0, 40.0, 30.0\] of image .*wide\.png has no .*with_mask=False'):
        loaded(tiny, with_mask=True)


def test_rle_of_another_size_is_named(tiny):
    info = CocoDataset(**tiny.config()).get_data_info(0)
    with pytest.raises(ValueError, match=r'wide\.png is \(60, 40\).*\[40, 60\]'):
        LoadAnnotations(with_mask=True)(dict(info, ori_shape=(60, 40)))


def test_size_is_compared_with_the_annotations(image_file):
    right = dict(img_path=str(image_file), height=60, width=80)
    assert LoadImageFromFile()(dict(right))['img_shape'] == (60, 80)
    with pytest.raises(ValueError, match=r'image\.(jpg|png) is 80 wide and 60 high, its .* file says 81 and 60'):
        LoadImageFromFile()(dict(right, width=81))


def test_size_swapped_by_exif(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new('RGB', (80, 60)).save(tmp_path / 'phone.jpg', exif=exif)
    stored = dict(img_path=str(tmp_path / 'phone.jpg'), height=60, width=80)
    with pytest.raises(ValueError, match=r'phone\.jpg is 60 wide and 80 high.* 80 and 60.*orientation \(6\).*_ignore'):
        LoadImageFromFile()(dict(stored))
    assert LoadImageFromFile(color_type='color_ignore_orientation')(dict(stored))['img_shape'] == (60, 80)
    assert LoadImageFromFile()(dict(stored, height=80, width=60))['img_shape'] == (80, 60)
