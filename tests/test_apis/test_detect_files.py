"""Folders, videos and tiles in, files in other programs' forms out; broken pictures; several processes' shares."""
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from small_detector import CLASSES, write_detector

from mmdet.apis import DetInferencer
from mmdet.apis.detect_files import detect_files
from mmdet.apis.shards import Shards
from mmdet.apis.sources import find_pictures
from mmdet.apis.tiles import Tiling
from mmdet.apis.video import Video, VideoFile

DEMO = Path(__file__).parents[2] / 'configs/demo/mask-rcnn_demo_256.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """in/a.png, in/deep/a.png and in/deep/broken.jpg; clip.mp4 of 5 frames."""
    folder = tmp_path_factory.mktemp('detect')
    write_detector(folder, DEMO)
    (folder / 'in/deep').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (('in/a.png', (90, 120)), ('in/deep/a.png', (120, 80))):
        cv2.imwrite(str(folder / name), cv2.resize(rng.integers(0, 255, (8, 8, 3), np.uint8), size[::-1]))
    (folder / 'in/deep/broken.jpg').write_bytes(b'\xff\xd8' + bytes(100))
    video = VideoFile(folder / 'clip.mp4', 10)
    for shift in range(5):
        video.write(np.roll(cv2.imread(str(folder / 'in/a.png')), 10 * shift, axis=1))
    video.close()
    return folder


@pytest.fixture(scope='module')
def detect(folder):
    return DetInferencer(folder / 'net.py', folder / 'net.pth', device='cpu', show_progress=False)


def iou(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)


def drawn(polygons, height, width):
    return mask_api.decode(mask_api.merge(mask_api.frPyObjects(polygons, height, width)))


def test_formats(folder, detect, capfd):
    out = folder / 'out'
    failed = detect_files(detect, str(folder / 'in'), str(out), save_as=('coco', 'csv', 'yolo', 'labelme'),
                          pred_score_thr=0.)
    told = capfd.readouterr().err
    assert failed == 1 and told.count('left out') == 1 and 'broken.jpg' in told
    paths = [str(folder / 'in/a.png'), str(folder / 'in/deep/a.png')]
    expected = detect(paths)['predictions']
    assert json.loads((out / 'preds/deep/a.json').read_text()) == json.loads(json.dumps(expected[1]))
    assert cv2.imread(str(out / 'vis/deep/a.png')).shape == (120, 80, 3)

    rows = list(csv.DictReader((out / 'detections.csv').open()))
    assert [row['file_name'] for row in rows] == [paths[0]] * 4 + [paths[1]] * 4
    np.testing.assert_allclose([float(row['x2']) for row in rows[4:]], np.array(expected[1]['bboxes'])[:, 2], atol=0.01)

    coco = COCO(str(out / 'coco.json'))
    for image, prediction in zip(coco.dataset['images'], expected, strict=True):
        annotations = coco.loadAnns(coco.getAnnIds(image['id']))
        assert [CLASSES[label] for label in prediction['labels']] == \
            [coco.cats[annotation['category_id']]['name'] for annotation in annotations]
        for annotation, rle in zip(annotations, prediction['masks'], strict=True):
            assert np.array_equal(coco.annToMask(annotation), mask_api.decode(rle))
            assert annotation['area'] == mask_api.area(rle)

    for name, prediction in zip(('in/a', 'deep/a'), expected, strict=True):
        height, width = prediction['masks'][0]['size']
        masks = [mask_api.decode(rle) for rle in prediction['masks']]
        labelme = json.loads((out / 'labelme' / f'{name}.json').read_text())
        assert cv2.imread(str((out / 'labelme' / name).parent / labelme['imagePath'])).shape[:2] == (height, width)
        objects = {}
        for number, shape in enumerate(labelme['shapes']):
            key = number + 100 if shape['group_id'] is None else shape['group_id']
            objects.setdefault(key, (shape['label'], []))[1].append(np.ravel(shape['points']).tolist())
        visible = [(CLASSES[label], mask) for label, mask in zip(prediction['labels'], masks) if mask.any()]
        assert [label for label, _ in objects.values()] == [label for label, _ in visible]
        for (_, polygons), (_, mask) in zip(objects.values(), visible, strict=True):
            assert iou(drawn(polygons, height, width), mask) > 0.9
        lines = [line.split() for line in (out / 'yolo' / f'{name}.txt').read_text().splitlines()]
        assert [CLASSES[int(line[0])] for line in lines] == [label for label, _ in visible]
        for line, (_, polygons) in zip(lines, objects.values(), strict=True):
            largest = np.array(line[1:], float) * np.tile([width, height], len(line) // 2)
            np.testing.assert_allclose(largest, polygons[0], atol=0.01)
    assert '  0: "a"\n' in (out / 'yolo/data.yaml').read_text()


def test_video(folder, detect):
    """Its frames are detected on as the same pictures are, and come back in a video of the same length."""
    out = folder / 'video'
    assert detect_files(detect, str(folder / 'clip.mp4'), str(out), save_as=['csv'], batch_size=2) == 0
    predictions = json.loads((out / 'preds/clip.json').read_text())
    frames = list(Video(str(folder / 'clip.mp4')))
    assert len(predictions) == len(frames) == len(list(Video(str(out / 'vis/clip.mp4')))) == 5
    np.testing.assert_allclose(predictions[3]['scores'], detect(frames[3])['predictions'][0]['scores'], rtol=1e-4)
    assert Video(str(out / 'vis/clip.mp4')).fps == 10


def test_what_is_found(folder, tmp_path):
    pictures = [str(folder / name) for name in ('in/a.png', 'in/deep/a.png', 'in/deep/broken.jpg')]
    (tmp_path / 'list.txt').write_text(f'{pictures[0]}\n\n# note\nbeside.png\n')
    (tmp_path / 'beside.png').write_bytes(b'')
    assert find_pictures(str(folder / 'in')) == pictures
    assert find_pictures(str(folder / 'in'), leave_out=folder / 'in/deep') == pictures[:1]
    assert find_pictures(str(folder / 'in/**/a.png')) == pictures[:2]
    both = [pictures[0], str(tmp_path / 'beside.png')]
    assert find_pictures([tmp_path / 'list.txt', pictures[1]]) == [*both, pictures[1]]
    assert find_pictures([folder / 'clip.mp4'])[0].num_frames == 5
    with pytest.raises(ValueError, match='no picture or video fits'):
        find_pictures(str(folder / '*.gif'))


def test_what_cannot_be_read_stops_nothing(folder, detect, tmp_path):
    (tmp_path / 'broken.mp4').write_bytes(bytes(100))
    given = [99, str(tmp_path / 'none.mp4'), str(tmp_path / 'broken.mp4'), str(folder / 'in/a.png')]
    results = detect(given)
    assert [prediction is None for prediction in results['predictions']] == [True, True, True, False]
    for message, error in zip(('no camera 99', 'does not exist', 'cannot be read'), results['failed'].values()):
        assert message in error
    with pytest.raises(FileNotFoundError):
        detect(given[1])


def test_a_stopped_run_goes_on(folder, detect, capfd):
    """What a killed run wrote of its last line does not count; a broken picture is tried again."""
    out = folder / 'shards'
    assert detect_files(detect, str(folder / 'in'), str(out), save_vis=False, in_shards=True) == 1
    path = out / 'shards/00000.jsonl'
    first, second, broken = path.read_text().splitlines(keepends=True)
    path.write_text(broken + first + second[:40])
    assert detect_files(detect, str(folder / 'in'), str(out), save_vis=False, save_as=['coco'], resume=True) == 1
    assert path.read_text() == broken + first + second + broken
    assert '2 pictures in' in capfd.readouterr().out
    assert len(json.loads((out / 'coco.json').read_text())['images']) == 2
    assert [line.failed for line in Shards(out / 'shards').lines().values()] == [True, False, False]


def test_tiles_are_those_of_sahi():
    slicing = pytest.importorskip('sahi.slicing', reason='need sahi')
    for height, width, size, overlap in ((6000, 8000, 1024, 0.2), (100, 700, 256, 0.25), (512, 512, 512, 0.)):
        ours = Tiling(size, overlap).windows(height, width)
        theirs = slicing.get_slice_bboxes(height, width, size, size, overlap_height_ratio=overlap,
                                          overlap_width_ratio=overlap)
        assert ours == [tuple(window) for window in theirs]


def test_tiled_detections_are_those_of_sahi(folder):
    """With masks that are never empty: before SAHI merges, it drops what has no mask."""
    pytest.importorskip('sahi', reason='need sahi')
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction
    path, config = str(folder / 'large.png'), folder / 'full_masks.py'
    cv2.imwrite(path, cv2.resize(cv2.imread(str(folder / 'in/a.png')), (480, 360)))
    config.write_text((folder / 'net.py').read_text().replace('mask_thr_binary=0.3', 'mask_thr_binary=0.01'))
    model = AutoDetectionModel.from_pretrained('mmdet', model_path=str(folder / 'net.pth'), device='cpu',
                                               config_path=str(config), confidence_threshold=0.)
    theirs = get_sliced_prediction(path, model, slice_height=256, slice_width=256, verbose=0,
                                   perform_standard_pred=False, postprocess_type='NMS', postprocess_match_metric='IOU',
                                   postprocess_match_threshold=0.25).object_prediction_list
    detect = DetInferencer(config, folder / 'net.pth', device='cpu')
    ours, = detect.stream([path], tiling=Tiling(256, 0.2, 0.25), batch_size=2)
    prediction = ours.record.prediction
    assert prediction['masks'][0]['size'] == [360, 480] and ours.record.image == path
    expected = sorted(((one.score.value, one.bbox.to_xyxy()) for one in theirs), reverse=True)
    np.testing.assert_allclose(prediction['scores'], [score for score, _ in expected], atol=1e-5)
    np.testing.assert_allclose(prediction['bboxes'], [box for _, box in expected], atol=4)  # theirs are those of masks
