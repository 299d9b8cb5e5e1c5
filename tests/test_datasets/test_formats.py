"""One scene in every format, written by hand, must give the same objects; and back again."""
import base64
import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from run_tool import run

from mmdet.datasets.formats import WRITERS, Options, read_source
from mmdet.datasets.formats.checks import odd_things
from mmdet.datasets.formats.records import Collection, Object, Picture, outlines, run_lengths
from mmdet.datasets.formats.split import split
from mmdet.datasets.formats.tree import Tree
from mmdet.errors import UserError

H, W = 48, 64
TRIANGLE = [10.5, 5.25, 30, 5.25, 10.5, 25]
SCENE = {'ant': (10.5, 5.25, 19.5, 19.75), 'zebra': (4, 8, 20, 30)}  # a triangle and a box


def picture(path, size=(W, H), **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(sum(map(ord, path.stem))).integers(0, 255, (*size[::-1], 3), np.uint8)
                    ).save(path, **kwargs)
    return path


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def voc(root):
    picture(root / 'JPEGImages/a.jpg')
    points = ''.join(f'<{axis}{i // 2 + 1}>{v}</{axis}{i // 2 + 1}>' for i, (axis, v) in
                     enumerate(zip('xyxyxy', TRIANGLE)))
    put(root / 'Annotations/a.xml', f'''<annotation><filename>a.jpg</filename>
        <object><name>ant</name><bndbox><xmin>11.5</xmin><ymin>6.25</ymin><xmax>31</xmax><ymax>26</ymax></bndbox>
        <polygon>{points}</polygon></object>
        <object><name>zebra</name><bndbox><xmin>5</xmin><ymin>9</ymin><xmax>25</xmax><ymax>39</ymax></bndbox></object>
        </annotation>''')


def yolo(root):
    picture(root / 'train/images/a.jpg')
    put(root / 'data.yaml', 'train: ../train/images\nval: ../train/images\nnc: 2\nnames: [ant, zebra]\n')
    polygon = ' '.join(f'{value / side:.6f}' for value, side in zip(TRIANGLE, (W, H) * 3))
    put(root / 'train/labels/a.txt', f'0 {polygon}\n1.0 {14 / W:.6f} {23 / H:.6f} {20 / W:.6f} {30 / H:.6f}\n')


def labelme(root):
    picture(root / 'a.jpg')
    shapes = [dict(label='ant', shape_type='polygon', points=np.reshape(TRIANGLE, (3, 2)).tolist()),
              dict(label='zebra', shape_type='rectangle', points=[[24, 8], [4, 38]]),
              dict(label='ant', shape_type='point', points=[[1, 1]])]
    put(root / 'a.json', dict(imagePath='..\\elsewhere\\a.jpg', imageData=None, imageHeight=H, imageWidth=W,
                              shapes=shapes))


def coco(root):
    """Roboflow's parent category, Label Studio's file names, CVAT's attributes, a missing size and box."""
    picture(root / 'images/a.jpg')
    put(root / 'result.json', dict(
        images=[dict(id=5, file_name='/data/upload/3/images/a.jpg', height=None, width=None)],
        categories=[dict(id=0, name='animals', supercategory='none'), dict(id=1, name='ant', supercategory='animals'),
                    dict(id=7, name='zebra', supercategory='animals')],
        annotations=[dict(id=3, image_id=5, category_id=1, segmentation=[TRIANGLE], attributes=dict(occluded=True)),
                     dict(id=9, image_id=5, category_id=7, segmentation=[], bbox=SCENE['zebra'], area=1.5)]))


def via(root):
    picture(root / 'a.jpg')
    regions = [dict(shape_attributes=dict(name='polygon', all_points_x=TRIANGLE[::2], all_points_y=TRIANGLE[1::2]),
                    region_attributes={'label': 'ant', 'note': 'x'}),
               dict(shape_attributes=dict(name='rect', x=4, y=8, width=20, height=30),
                    region_attributes={'label': {'zebra': True, 'ant': False}})]
    put(root / 'via.json', {'_via_settings': {}, '_via_img_metadata': {
        'a.jpg99': dict(filename='a.jpg', size=99, regions=regions)}})


@pytest.mark.parametrize('make', [voc, yolo, labelme, coco, via], ids=lambda make: make.__name__)
def test_every_format_gives_the_scene_and_goes_back(make, tmp_path):
    make(tmp_path / 'in')
    found = read_source(Tree(tmp_path / 'in'), None, Options())
    assert not found.broken and f'{make.__name__}, 1 pictures' in found.remarks[0]
    for step, kind in enumerate(['coco', *WRITERS]):  # the last ones read what those before wrote
        image, = found.pictures
        assert (image.path.name, image.height, image.width) == ('a.jpg', H, W)
        assert found.classes == ['ant', 'zebra'] and image.path.exists()
        assert {item.name: item.box for item in image.objects} == {
            name: pytest.approx(box, abs=1e-3) for name, box in SCENE.items()}
        assert image.objects[0].mask[0] == pytest.approx(TRIANGLE, abs=1e-3) and not image.objects[1].mask
        out = tmp_path / (f'{step}.json' if kind == 'coco' else str(step))
        WRITERS[kind](found, out, Options())
        found = read_source(Tree(out, tmp_path / 'in' if kind == 'coco' else None), None, Options())
        if step == 0:
            peer = COCO(str(out))
            areas = [annotation['area'] for annotation in peer.dataset['annotations']]
            assert areas == [peer.annToMask(peer.anns[peer.getAnnIds()[0]]).sum(), 1.5 if make is coco else 600]
            assert make is not coco or (peer.anns[3]['attributes'], peer.getImgIds(), peer.getCatIds()) == (
                {'occluded': True}, [5], [1, 7])


def test_crowds_parts_and_pixels_survive_what_can_hold_them(tmp_path):
    pixels = np.zeros((H, W), bool)
    pixels[10:20, 5:30] = True
    pixels[12:15, 8:12] = False  # a hole
    file = io.BytesIO()
    Image.fromarray(pixels[10:20, 5:30]).save(file, 'PNG')
    picture(tmp_path / 'in/b.png')
    part = [[1, 1], [5, 1], [5, 5]]
    shapes = [dict(label='x', shape_type='mask', points=[[5, 10], [29, 19]],
                   mask=base64.b64encode(file.getvalue()).decode()),
              dict(label='x', shape_type='polygon', group_id=1, points=part),
              dict(label='x', shape_type='polygon', group_id=1, points=[[x + 20, y + 30] for x, y in part]),
              dict(label='x', shape_type='circle', points=[[30, 30], [30, 40]]),
              dict(label='x', shape_type='rectangle', points=[[1, 1], [9, 9]], flags=dict(difficult=True))]
    put(tmp_path / 'in/b.json', dict(imagePath='b.png', imageHeight=H, imageWidth=W, shapes=shapes))
    found = read_source(Tree(tmp_path / 'in'), None, Options())
    whole, parts, circle, hard = found.pictures[0].objects
    assert whole.box == (5, 10, 25, 10) and len(parts.mask) == 2 and parts.box == (1, 1, 24, 34)
    assert circle.box == pytest.approx((20, 20, 20, 20), abs=0.1) and hard.crowd and hard.notes == {'difficult': 1}
    filled = np.zeros((H, W), np.uint8)
    filled[10:20, 5:30] = 1
    from pycocotools import mask as api
    assert (api.decode(run_lengths(outlines(whole.mask), H, W)) == filled).all()  # outlines have no holes
    for kind in ('labelme', 'voc', 'yolo'):
        WRITERS[kind](found, tmp_path / kind, Options())
        again = read_source(Tree(tmp_path / kind), None, Options()).pictures[0].objects
        if kind == 'labelme':
            assert [(i.box, i.mask, i.crowd, i.notes) for i in again] == [
                (i.box, i.mask, i.crowd, i.notes) for i in found.pictures[0].objects]
        elif kind == 'voc':
            assert [i.crowd for i in again] == [False, False, False, True] and again[3].notes['difficult'] == 1
        else:
            assert len(again) == 3 and 'crowds and difficult' in found.remarks[-1]
            area = [api.area(run_lengths(item.mask, H, W)) for item in (again[1], parts)]
            assert abs(int(area[0]) - int(area[1])) <= 25  # the line between the parts
    found.pictures[0].path.unlink(missing_ok=True)
    WRITERS['labelme'](found, tmp_path / 'bare', Options())
    assert 'b.png: --images names their folder' in found.remarks[-1]


def test_cityscapes(tmp_path):
    ids = np.full((H, W), 7, np.uint16)
    ids[5:15, 6:26], ids[20:30, 6:26], ids[40:45, 1:5], ids[40:45, 8:9] = 26000, 26001, 26, 33000
    path = tmp_path / 'gtFine/val/ulm/ulm_000_gtFine_instanceIds.png'
    path.parent.mkdir(parents=True)
    Image.fromarray(ids).save(path)
    image = picture(tmp_path / 'leftImg8bit/val/ulm/ulm_000_leftImg8bit.png')
    found, = read_source(Tree(tmp_path), None, Options()).pictures
    assert found.path == image and found.split == 'val'
    assert [(i.name, i.box, i.crowd) for i in found.objects] == [
        ('car', (1, 40, 4, 5), True), ('car', (6, 5, 20, 10), False), ('car', (6, 20, 20, 10), False),
        ('bicycle', (8, 40, 1, 5), False)]


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_objects_turn_with_the_picture(tmp_path, orientation):
    """The spot that a box and a mask mark in the picture as it is stored is the one they mark as it is shown."""
    from PIL import ImageOps
    from pycocotools import mask as api
    stored = np.zeros((H, W, 3), np.uint8)
    stored[5:15, 40:60] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    rle = api.encode(np.asfortranarray(stored[..., 0] // 255))
    put(tmp_path / 'a.json', dict(
        images=[dict(id=1, file_name='a.png', height=H, width=W)], categories=[dict(id=1, name='x')],
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[40, 5, 20, 10],
                          segmentation=dict(size=[H, W], counts=rle['counts'].decode())),
                     dict(id=2, image_id=1, category_id=1, bbox=[40, 5, 20, 10],
                          segmentation=[[40, 5, 60, 5, 60, 15, 40, 15]])]))
    found = read_source(Tree(tmp_path), None, Options()).pictures[0]
    shown = np.array(ImageOps.exif_transpose(Image.open(tmp_path / 'a.png')))[..., 0] // 255
    assert (found.height, found.width) == shown.shape
    for item in found.objects:
        x, y, width, height = map(int, item.box)
        assert shown.sum() == 200 == shown[y:y + height, x:x + width].sum() == width * height
        assert (api.decode(run_lengths(item.mask, *shown.shape)) == shown).all()


def test_split_keeps_shares_of_classes_and_groups(tmp_path):
    rng = np.random.default_rng(0)
    collection = Collection(classes=['common', 'rare'])
    for i in range(200):
        names = ['common'] * int(rng.integers(0, 6)) + ['rare'] * int(rng.random() < 0.1)
        collection.pictures.append(Picture(tmp_path / f'patient{i // 4}_{i}.jpg', H, W,
                                           [Object(name, (1, 1, 2, 2)) for name in names]))
    for pattern, tolerance in ((None, 3), (r'patient(\d+)', 8)):
        split(collection, [0.8, 0.1, 0.1], pattern)
        pictures = Counter(p.split for p in collection.pictures)
        rare = Counter(p.split for p in collection.pictures for o in p.objects if o.name == 'rare')
        assert pictures['val'] == pytest.approx(20, abs=tolerance) == pytest.approx(pictures['test'], abs=tolerance)
        assert rare['val'] == pytest.approx(sum(rare.values()) / 10, abs=1.5)
    groups = {(p.path.name.partition('_')[0], p.split) for p in collection.pictures}
    assert len(groups) == 50


BROKEN = [
    (yolo, 'train/labels/a.txt', '2 .5 .5 .1 .1', 'a.txt, line 1 has the class 2; known are 0 to 1'),
    (yolo, 'train/labels/a.txt', '0 .5 .5 .1', 'has 4 numbers: a box has 5'),
    (yolo, 'train/labels/a.txt', '0 32 20 nan 10', 'shares of the width'),
    (yolo, 'data.yaml', 'train: nowhere\nnames: [a]', 'data.yaml: train is nowhere'),
    (yolo, 'data.yaml', 'train: train/images\nnames: {0: a, 2: b}', 'must be 0 to 1'),
    (labelme, 'a.json', '{"shapes": [{"label": "x", "points": [[1, 1], [2, null]]}], "imagePath": "a.jpg"}',
     r'a.json: shapes\[0\] \(x\) has the points'),
    (labelme, 'a.json', '{"shapes": [{"points": [[1, 1], [2, 2]]}], "imagePath": "a.jpg"}', 'has no label'),
    (labelme, 'a.json', '{"shapes": [], "imageHeight": 10, "imageWidth": 10, "imagePath": "a.jpg"}', '64 wide and 48'),
    (coco, 'result.json', '{"images": [], "categories": [], "annotations": [{"id": 1}]}', r'annotations\[0\]'),
    (via, 'via.json', '{"a": {"filename": "a.jpg", "regions": [{"shape_attributes": {"name": "rect", "x": 1}, '
     '"region_attributes": {"label": "b"}}]}}', 'region 0 is {"name": "rect"')]


@pytest.mark.parametrize('make, file, text, message', BROKEN)
def test_what_is_wrong_is_named(make, file, text, message, tmp_path):
    make(tmp_path)
    put(tmp_path / file, text)
    with pytest.raises(UserError, match=message):
        found = read_source(Tree(tmp_path), None, Options())
        raise UserError(found.broken[0])


def test_checks_name_what_is_odd(tmp_path):
    first = picture(tmp_path / 'a.jpg')
    (tmp_path / 'b.jpg').write_bytes(first.read_bytes())
    (tmp_path / 'c.jpg').write_bytes(first.read_bytes()[:400])
    boxes = [(5, 5, 0, 9), (60, 1, 9, 9), (70, 1, 9, 9), (1, 1, 5, 5), (1, 1, 5, 5)]
    odd = odd_things(Collection(
        [Picture(first, H, W, [Object('Car', box) for box in boxes], 'train'),
         Picture(tmp_path / 'b.jpg', H, W, [], 'val'),
         Picture(tmp_path / 'c.jpg', H, W), Picture(tmp_path / 'none.jpg', H, W)], ['Car', 'car'], broken=['x']))
    assert {kind: len(cases) for kind, cases in odd.items()} == {
        'entries that cannot be used': 1, 'boxes without width or height': 1, 'boxes outside of their picture': 1,
        'boxes that leave their picture by more than a pixel': 1, 'objects that stand there more than once': 1,
        'pictures without objects': 3, 'pictures that are the same as one of another split': 1,
        'pictures that cannot be read': 1, 'pictures that are missing': 1, 'classes of less than 10 objects': 2,
        'classes whose names are almost the same': 1}


def test_tool_joins_splits_and_overwrites_nothing(tmp_path):
    voc(tmp_path / 'v')
    yolo(tmp_path / 'y')
    text = run('convert/dataset.py', 'v', 'y', 'out/all.json', '--split', '1/1', cwd=tmp_path)
    files = [json.loads((tmp_path / f'out/all_{name}.json').read_text()) for name in ('train', 'val')]
    assert [len(file['annotations']) for file in files] == [2, 2] and '2 objects' in text
    assert {file['images'][0]['file_name'] for file in files} == {'v/JPEGImages/a.jpg', 'y/train/images/a.jpg'}
    assert 'exists already' in run('convert/dataset.py', 'v', 'y', 'out/all.json', '--split', '1/1', cwd=tmp_path,
                                   fails=True)
    assert 'is, or holds, what is read' in run('convert/dataset.py', 'v', 'v', '--to', 'yolo', '--force', cwd=tmp_path,
                                               fails=True)
