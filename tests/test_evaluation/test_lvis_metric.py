"""LVIS's AP against the package lvis, on data that is drawn."""
import json

import numpy as np
import pytest
import torch

from mmdet.errors import UserError
from mmdet.evaluation import LVISMetric

SIZE = 240


def box_mask(x, y, w, h):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[int(y):int(y + h), int(x):int(x + w)] = True
    return mask


@pytest.fixture
def drawn(tmp_path):
    """A file of LVIS v1 and the predictions of its images: good ones, false ones, and of classes that are not known."""
    draw = np.random.default_rng(3)
    categories = [dict(id=3 * i + 2, name=f'c{i}', frequency='rcf'[i % 3]) for i in range(7)]
    ids = [category['id'] for category in categories]
    images, annotations, samples = [], [], []
    for number in range(8):
        present, absent, unsure = np.array_split(draw.permutation(ids), [3, 5])
        images.append(dict(id=100 - number, height=SIZE, width=SIZE,
                           coco_url=f'http://images.cocodataset.org/val2017/{number:012}.jpg',
                           neg_category_ids=absent.tolist(),
                           not_exhaustive_category_ids=[int(present[0]), int(unsure[0])]))
        boxes, labels = [], []
        for category in present.tolist() * 2:  # 6 objects
            x, y = draw.integers(0, SIZE - 100, 2).tolist()
            w, h = draw.integers(12, 100, 2).tolist()
            annotations.append(dict(id=len(annotations) + 1, image_id=100 - number, category_id=category,
                                    bbox=[x, y, w, h], area=w * h,
                                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]]))
            boxes.append(np.array([x, y, w, h]) + draw.integers(-3, 4, 4))
            labels.append(ids.index(category))
        for category in draw.integers(0, 7, 20 if number else 320):  # 300 count
            boxes.append(draw.integers(12, 90, 4))
            labels.append(category)
        boxes = np.array(boxes)
        scores = torch.from_numpy(draw.permutation(4000)[:len(boxes)] / 4000) + .7 * (torch.arange(len(boxes)) < 6)
        masks = torch.from_numpy(np.stack([box_mask(*box) for box in boxes]))
        boxes[:, 2:] += boxes[:, :2]
        samples.append(dict(
            img_id=100 - number, img_path=f'val2017/{number:012}.jpg', ori_shape=(SIZE, SIZE), pred_instances=dict(
                bboxes=torch.from_numpy(boxes).float(), labels=torch.tensor(labels), masks=masks,
                scores=scores)))
    path = tmp_path / 'lvis.json'
    images[0]['neg_category_ids'].append(999)  # of no category in the file
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return path, [category['name'] for category in categories], samples


def test_figures_are_those_of_the_package(drawn, tmp_path, monkeypatch):
    lvis = pytest.importorskip('lvis')
    monkeypatch.setattr(np, 'float', float, raising=False)  # what the package still asks for
    path, classes, samples = drawn
    metric = LVISMetric(str(path), metric=['bbox', 'segm'], classwise=True, outfile_prefix=str(tmp_path / 'out'))
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    figures = metric.compute_metrics(metric.results)
    for kind in ('bbox', 'segm'):
        judge = lvis.LVISEval(str(path), str(tmp_path / f'out.{kind}.json'), kind)
        judge.run()
        theirs = {f'{kind}_{name}': round(value, 3) for name, value in judge.get_results().items() if '@' not in name}
        assert len(theirs) == 9 and 0.05 < theirs[f'{kind}_AP'] < 0.9
        assert {name: figures[name] for name in theirs} == theirs
    of_class = judge.eval['precision'][:, :, 2, 0]
    assert figures['segm_c2_precision'] == round(of_class[of_class > -1].mean(), 3)


def test_files_that_are_not_of_lvis(drawn):
    path = drawn[0]
    data = json.loads(path.read_text())
    del data['images'][1]['neg_category_ids']
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r'not of LVIS.*neg_category_ids.*CocoMetric'):
        LVISMetric(str(path))
    with pytest.raises(UserError, match='needs ann_file'):
        LVISMetric()
