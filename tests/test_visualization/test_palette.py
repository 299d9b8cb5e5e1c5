import numpy as np
import pytest

from mmdet.visualization import get_palette


def test_generated_colors_differ():
    colors = np.array(get_palette(None, 12))
    distances = np.abs(colors[:, None] - colors[None]).sum(axis=2) + 1000 * np.eye(12)
    assert distances.min() > 40 and colors.min() >= 0 and colors.max() <= 255
    assert get_palette('random', 12) == get_palette(None, 12)


@pytest.mark.parametrize('palette, expected', [
    ('red', [(255, 0, 0)] * 3), ((1, 2, 3), [(1, 2, 3)] * 3),
    ([(1, 2, 3), (4, 5, 6)], [(1, 2, 3), (4, 5, 6), (1, 2, 3)]), ([(1, 1, 1)] * 5, [(1, 1, 1)] * 5)])
def test_given_colors(palette, expected):
    assert get_palette(palette, 3) == expected
