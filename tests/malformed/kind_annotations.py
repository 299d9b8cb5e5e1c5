"""Annotation files: one value is another, the text is cut or something else, the whole is of another format."""
import gzip
import json

import world
from case import Case
from world import MISSING

NAN, INF = float('nan'), float('inf')
FAR = [[[10, 10, 25, 10, 1e9, 1e9]], [[10, 10, 25, 10, 1e8, 25]], [[10, 10, 25, 10, 1e300, 25]],
       [[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]]
SOUND = [*FAR, [[10] * 8]]  # other masks than ours, but masks
NONSENSE = [None, NAN, INF, 'abc', '', [], {}, [[]], -1e30, 1e308, [1, 2], {'a': 1}, '\x00', 'null', MISSING]
FIELDS = {
    ('annotations', 2, 'bbox'): [*NONSENSE, True, 5, '10 10 15 15', [10, 10, 15], [10, 10, 15, 15, 1],
                                 [10, 10, -15, 15], [10, 10, 15, NAN], [10, 10, 15, 'x'], [10, 10, 15, None],
                                 ['10', '10', '15', '15'], [[10, 10, 15, 15]], [10, 10, 15, 1e300],
                                 [10, 10, 15, INF], [10, 10, 15, True],
                                 {'x': 10, 'y': 10, 'w': 15, 'h': 15}, [0.1, 0.1, 0.2, 0.2], [10, 10, 0, 15],
                                 [500, 500, 10, 10]],
    ('annotations', 2, 'area'): [*NONSENSE, '225', -5, 0, [225], True],
    ('annotations', 2, 'iscrowd'): [*NONSENSE, '0', '0.0', False, 0.0, 2, -1, 0.5, 'false', [0]],
    ('annotations', 2, 'ignore'): [*NONSENSE, '0', False, 0.0, 2, 'no'],
    ('annotations', 2, 'category_id'): [*NONSENSE, '3', 3.0, 99, -1, '3.0', [3], 'plum', True, 10 ** 30],
    ('annotations', 2, 'image_id'): [*NONSENSE, '2', 2.0, 99, 0, [2], '2.png', False, 10 ** 30],
    ('annotations', 2, 'id'): [*NONSENSE, 1, '3', 3.0, True, 10 ** 30],
    ('annotations', 2, 'segmentation'): [
        *NONSENSE, 5, True, [[10, 10, 25, 10]], [[10, 10, 25, 10, 25]], [10, 10, 25, 10, 25, 25, 10, 25],
        [[[10, 10], [25, 10], [25, 25], [10, 25]]], [[10, 10], [25, 10], [25, 25], [10, 25]],
        [[10, 10, 25, 10, 25, NAN]], [[10, 10, 25, 10, 25, 'x']], [['10', '10', '25', '10', '25', '25', '10', '25']],
        *SOUND, [[1, 2, 3]],
        dict(size=[48, 64], counts=[0]), dict(size=[48, 64], counts=[48 * 64 + 1]),
        dict(size=[48, 64], counts=[-5, 48 * 64 + 5]), dict(size=[48, 64], counts='abc'),
        dict(size=[48, 64], counts=''), dict(size=[48, 64], counts='\x01\x02'),
        dict(size=[64, 48], counts=[48 * 64]), dict(size=[0, 0], counts=[]),
        dict(size=[48], counts=[48]), dict(size='48x64', counts=[48 * 64]), dict(counts=[48 * 64]), dict(size=[48, 64]),
        dict(size=[48, 64], counts=None), dict(size=[48.5, 64], counts=[48 * 64]), dict(size=[-48, -64], counts=[3072]),
        dict(size=[10 ** 9, 10 ** 9], counts=[10 ** 18]), dict(size=[48, 64], counts=[1.5, 3070.5]),
        dict(size=[48, 64], counts=['a']), dict(size=[48, 64], counts='o' * 1000), dict(size=[48, 64], counts=10 ** 6)],
    ('images', 1, 'id'): [*NONSENSE, 1, '2', 2.0, True, 99, 10 ** 30],
    ('images', 1, 'file_name'): [*NONSENSE, 5, 'none.png', '../2.png', '.', '/', 'a' * 5000, '1.png\n', True],
    ('images', 1, 'width'): [*NONSENSE, '64', 64.0, 0, -64, 63, 65, 64.5, '64px', True, [64], 10 ** 12],
    ('images', 1, 'height'): [*NONSENSE, '48', 48.0, 0, -48, 47, 49, 48.5, 64, True, 10 ** 12],
    ('categories', 1, 'id'): [*NONSENSE, 1, '2', 2.0, True, 99],
    ('categories', 1, 'name'): [*NONSENSE, 5, 'Pear', 'pear ', 'apple', True, ['pear'], 'x' * 10 ** 5],
    ('images', 1): [None, 5, 'abc', [], {}, [1], NAN],
    ('annotations', 2): [None, 5, 'abc', [], {}, [1], NAN],
    ('categories', 1): [None, 5, 'pear', [], {}, [1], NAN],
    ('images',): [*NONSENSE, 5, {'1': {}}, '1.png'], ('annotations',): [*NONSENSE, 5, {'1': {}}, 'x'],
    ('categories',): [*NONSENSE, 5, {'1': 'apple'}, 'apple', ['apple', 'pear', 'plum']],
}
LEFT_OUT = ('left out', 'ignored where masks', 'no polygon', 'takes', 'read as', 'is none of', 'are none of',
            'has no category', 'several categories', 'no objects', 'could be corners', 'within 0..1',
            'several images')
WRITTEN = {  # by programs that mean something else: name, what they do to the images and to the objects
    'corners': (None, lambda ann: ann.update(bbox=[*ann['segmentation'][0][:2], *ann['segmentation'][0][4:6]])),
    'normalized polygons': (None, lambda ann: ann.update(segmentation=[[v / 64 for v in ann['segmentation'][0]]])),
    'a bucket of Google': (lambda image: image.update(file_name=f'gs://bucket/{image["file_name"]}'), None),
    'a bucket of Amazon': (lambda image: image.update(file_name=f's3://bucket/{image["file_name"]}'), None),
    'two entries of one picture': (lambda image: image.update(file_name='1.png'), None),
    'a path of Windows': (lambda image: image.update(file_name=f'C:\\data\\{image["file_name"]}'), None),
    'texts of a table': (None, lambda ann: ann.update(area=str(ann['area']), iscrowd='False')),
    'normalized boxes': (None, lambda ann: ann.update(bbox=[v / 64 for v in ann['bbox']])),
}
VOC = '<annotation><filename>1.png</filename><object><name>apple</name></object></annotation>'
LABELME = json.dumps(dict(version='5.0', shapes=[dict(label='apple', points=[[1, 2], [3, 4]])], imagePath='1.png'))
TEXTS = {
    'empty': b'', 'blanks': b' \n ', 'voc': VOC.encode(), 'yolo': b'0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n',
    'labelme': LABELME.encode(), 'html': b'<!DOCTYPE html><html><body>404</body></html>', 'list': b'[]', 'number': b'5',
    'null': b'null', 'text': b'"a"', 'csv': b'file,x,y\n1.png,3,4\n', 'zeros': bytes(1000), 'deep list': b'[' * 200000,
    'deep dict': b'{"a":' * 200000, 'gzip header': b'\x1f\x8b', 'zip': b'PK\x03\x04' + bytes(40),
    'pickle': b'\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00}\x94.', 'png': b'\x89PNG\r\n\x1a\n' + bytes(50),
    'results': b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', 'python': b"{'images': []}",
    'lfs': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n',
    'conflict': b'<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> b\n', 'yaml': b'train: images\nnc: 1\n',
    'json lines': b'{"images": []}\n{"images": []}\n', 'keys twice': b'{"images": [], "images": 5}'}


def case(name, make, says=LEFT_OUT):
    def run():
        world.draw()
        make()
        return world.seen() == world.sound()
    return Case(name, run, [r'ann\.json|image .*\.png|image \S+ (does not exist|is a folder)|File name too long'], says)


def cases(rng):
    data = world.annotations()
    for path, values in FIELDS.items():
        for value in values:
            if value is MISSING and path[-1] == 'ignore':  # as it is
                continue
            shown = 'missing' if value is MISSING else repr(value)[:60]
            where = path[0] + ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in path[1:])

            def make(path=path, value=value):
                world.write(world.changed(data, path, value))
            yield case(f'{where} {shown}', make, ('',) if value in SOUND else LEFT_OUT)
    for name, changes in WRITTEN.items():
        yield case(f'written by another program: {name}', lambda changes=changes: _write(*changes))
    text = json.dumps(data).encode()
    for name, content in TEXTS.items():
        yield case(f'text: {name}', lambda content=content: _put(content))
    for name, encoding in (('UTF-16', 'utf-16'), ('UTF-32', 'utf-32'), ('BOM', 'utf-8-sig')):
        yield case(f'text: {name}', lambda encoding=encoding: _put(text.decode().encode(encoding)))
    latin = json.dumps(world.changed(data, ('categories', 1, 'name'), 'pêche'), ensure_ascii=False).encode('latin-1')
    yield case('text: Latin-1', lambda: _put(latin))
    yield case('text: gzip', lambda: _put(gzip.compress(text)))
    yield case('text: gzip cut short', lambda: _put(gzip.compress(text)[:-20]))
    for _ in range(60):
        at = rng.randrange(1, len(text))
        yield case(f'cut at byte {at}', lambda at=at: _put(text[:at]))
    for _ in range(60):
        at, byte = rng.randrange(len(text)), rng.choice(b'"{}[],:\x00\xff')
        broken = text[:at] + bytes([byte]) + text[at + 1:]
        if not _same_json(broken, data):
            yield case(f'byte {at} is {byte}', lambda broken=broken: _put(broken))


def _write(change_image, change_object):
    data = world.annotations()
    for name, change in (('images', change_image), ('annotations', change_object)):
        for entry in data[name]:
            if change:
                change(entry)
    world.write(data)


def _put(content):
    with open('ann.json', 'wb') as file:
        file.write(content)


def _same_json(text, data):
    """Whether the text is JSON, and so may be another sound data set."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
