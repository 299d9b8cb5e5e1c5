"""tools/analysis/dataset.py: counts and anchors of a data set whose sizes are known."""
import json
import re

import numpy as np
import pytest
from run_tool import run


def test_counts_and_anchors(tmp_path):
    rng = np.random.default_rng(0)
    annotations = [dict(id=i + 1, image_id=1 + i % 2, category_id=1 + i % 4 // 3, iscrowd=0, area=1, bbox=[
        1, 1, *((20, 40) if i % 2 else (100, 50)) * rng.uniform(0.95, 1.05, 2)]) for i in range(40)]
    annotations.append(dict(annotations[0], id=41, iscrowd=1))
    (tmp_path / 'a.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg', height=200, width=300) for i in (1, 2, 3)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')], annotations=annotations)))
    text = run('analysis/dataset.py', 'a.json', '--anchors', 2, '--output-dir', 'figures', cwd=tmp_path)
    assert re.search(r'cat +\| 30 +\| 2 +\| 10.00', text) and re.search(r'dog +\| 10 +\| 1 +\| 3.33', text)
    assert re.search(r'\| 1 +\| dog, cat', text) and (tmp_path / 'figures/dataset.png').stat().st_size > 10000
    anchors = [[float(side) for side in row] for row in re.findall(r'\| (\d+\.\d) +\| (\d+\.\d) +\| \d\.\d\d', text)]
    assert anchors == [pytest.approx([20, 40], rel=0.04), pytest.approx([100, 50], rel=0.04)]
    assert '100.0% of the objects reach 0.7' in text and 'not counted: 1 crowds' in text


def test_boxes_of_a_config_are_counted_after_resize(tiny, tmp_path):
    def heights(side):
        option = f'train_dataloader.dataset.pipeline.2.scale=({side},{side})'
        row = re.search(r'\| height +\|(.*)', run('analysis/dataset.py', tiny, '--cfg-options', option, cwd=tmp_path))
        return np.array([float(cell) for cell in row[1].split('|')[:-1]])
    assert heights(512) == pytest.approx(2 * heights(256), rel=0.005)  # sides are rounded
