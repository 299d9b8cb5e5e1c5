"""Pictures of a circle and a square each, and their objects.csv, to try the parts on: python docs/own/draw.py."""
import csv
import sys
from pathlib import Path

import cv2
import numpy as np


def draw(folder, count=4):
    (folder / 'pictures').mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(0), []
    for i in range(count):
        image = np.full((96, 128, 3), 128, np.uint8)
        (x, y), size = rng.integers(8, 40, 2).tolist(), 16 + 4 * (i % 4)
        cv2.circle(image, (x + size // 2, y + size // 2), size // 2, (0, 0, 255), -1)
        cv2.rectangle(image, (x + 50, y), (x + 50 + size, y + size), (0, 255, 0), -1)
        cv2.imwrite(str(folder / f'pictures/{i}.png'), image)
        rows += [(f'{i}.png', 128, 96, 'circle', x, y, x + size, y + size),
                 (f'{i}.png', 128, 96, 'square', x + 50, y, x + 50 + size, y + size)]
    with open(folder / 'objects.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('picture', 'width', 'height', 'class', 'x1', 'y1', 'x2', 'y2'), *rows])


if __name__ == '__main__':
    draw(Path(*sys.argv[1:] or ['data/csv']))
