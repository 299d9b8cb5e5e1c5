"""Result files for tools/eval_results.py: one value is another, or the text is none of results."""
import contextlib
import io
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import world
from case import Case
from pycocotools import mask as mask_api
from world import MISSING

TOOL = Path(__file__).parents[2] / 'tools/eval_results.py'
NAN, INF = float('nan'), float('inf')
NONSENSE = [None, NAN, INF, -INF, 'abc', '', [], {}, [[]], {'a': 1}, MISSING, 1e400]


def detections():
    """The truth as detections, with compressed masks."""
    entries = []
    for ann in world.annotations()['annotations']:
        rle = mask_api.merge(mask_api.frPyObjects(ann['segmentation'], *world.SIZE))
        entries.append(dict(image_id=ann['image_id'], category_id=ann['category_id'], bbox=ann['bbox'], score=0.9,
                            segmentation=dict(size=list(world.SIZE), counts=rle['counts'].decode())))
    return entries


COUNTS = detections()[2]['segmentation']['counts']
SIZE = list(world.SIZE)
PIXELS = int(np.prod(SIZE))
FIELDS = {
    (2, 'bbox'): [*NONSENSE, True, 5, '10 10 15 15', [10, 10, 15], [10, 10, 15, 15, 1], [10, 10, -15, 15],
                  [10, 10, 15, NAN], [10, 10, 15, 'x'], [10, 10, 15, None], [10, 10, 15, INF], [[10, 10, 15, 15]]],
    (2, 'score'): [*NONSENSE, '0.9', True, [0.9], 10 ** 400],
    (2, 'image_id'): [*NONSENSE, 99, -1, [2], True],
    (2, 'category_id'): [*NONSENSE, 99, -1, [3], 0],
    (2, 'segmentation'): [
        *NONSENSE, 5, [[1, 2, 3, 4, 5, 6]], 'RLE', dict(size=SIZE), dict(counts=COUNTS), dict(size=[0, 0], counts=''),
        dict(size=SIZE[::-1], counts=COUNTS), dict(size=[480, 640], counts=COUNTS), dict(size=SIZE[:1], counts=COUNTS),
        dict(size=[-48, -64], counts=COUNTS), dict(size=['48', '64'], counts=COUNTS), dict(size=None, counts=COUNTS),
        dict(size=[48.5, 64], counts=COUNTS), dict(size=[10 ** 10, 10 ** 10], counts=COUNTS),
        dict(size=SIZE, counts=''), dict(size=SIZE, counts='abc'), dict(size=SIZE, counts='o' * 2000),
        dict(size=SIZE, counts='\x00'), dict(size=SIZE, counts='~~~~'), dict(size=SIZE, counts=None),
        dict(size=SIZE, counts=[]), dict(size=SIZE, counts=[PIXELS + 1]), dict(size=SIZE, counts=[-1, PIXELS + 1]),
        dict(size=SIZE, counts=[1.5, 2]), dict(size=SIZE, counts=['a']), dict(size=SIZE, counts=10 ** 12),
        dict(size=SIZE, counts=[10 ** 30]), dict(size=SIZE, counts='ÿ')],
    (2,): [None, 5, 'abc', [], {}, [1], NAN],
}
TEXTS = {'empty': b'', 'null': b'null', 'number': b'5', 'dict': b'{}', 'text': b'"a"', 'html': b'<html></html>',
         'annotations': json.dumps(world.annotations()).encode(), 'deep': b'[' * 100000, 'zeros': bytes(500),
         'pickle': b'\x80\x04]\x94.', 'no detections': b'[]', 'png': b'\x89PNG\r\n\x1a\n',
         'UTF-16': '[]'.encode('utf-16'), 'lines': b'{"image_id": 1}\n{"image_id": 2}\n'}


def evaluate():
    """The tables that the tool prints."""
    sys.argv = [str(TOOL), 'ann.json', 'results.json']
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(TOOL), run_name='__main__')
    return printed.getvalue()


def case(name, content, says=()):
    def run():
        world.write(world.annotations())
        world.write(detections(), 'results.json')
        expected = evaluate()
        with open('results.json', 'wb') as file:
            file.write(content)
        return evaluate() == expected
    return Case(name, run, [r'results\.json'], says)


def cases(rng):
    sound = detections()
    for path, values in FIELDS.items():
        for value in values:
            shown = 'missing' if value is MISSING else repr(value)[:60]
            text = json.dumps(world.changed(sound, path, value))
            yield case(f'[2]{"." * len(path[1:])}{"".join(path[1:])} {shown}', text.encode())
    for name, content in TEXTS.items():
        yield case(f'text: {name}', content)
    text = json.dumps(sound).encode()
    for _ in range(30):
        at = rng.randrange(1, len(text))
        yield case(f'cut at byte {at}', text[:at])
    for _ in range(40):  # one character of a mask
        counts = list(COUNTS)
        at = rng.randrange(len(counts))
        counts[at] = chr(rng.randrange(1, 256))
        other = ''.join(counts)
        if other != COUNTS:
            changed = world.changed(sound, (2, 'segmentation', 'counts'), other)
            yield case(f'counts {other!r}', json.dumps(changed).encode())
