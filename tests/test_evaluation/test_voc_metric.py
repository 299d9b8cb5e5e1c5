"""VOCMetric against the steps of VOC's own devkit (VOCevaldet.m, VOCap.m), written as loops."""
import numpy as np
import pytest
import torch

from mmdet.errors import UserError
from mmdet.evaluation import VOCMetric


def devkit_ap(images, label, threshold, mode):
    detections = sorted(((-score, n, box) for n, image in enumerate(images) for box, kind, score in image['pred']
                         if kind == label), key=lambda item: item[0])
    total = sum(kind == label and not difficult for image in images for _, kind, difficult in image['gt'])
    taken, hits = set(), []
    for _, n, box in detections:
        best, best_iou = None, -1.0
        for j, (other, kind, _) in enumerate(images[n]['gt']):
            if kind != label:
                continue
            iw = min(box[2], other[2]) - max(box[0], other[0]) + 1
            ih = min(box[3], other[3]) - max(box[1], other[1]) + 1
            if iw > 0 and ih > 0:
                union = sum((b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)) - iw * ih
                if iw * ih / union > best_iou:
                    best, best_iou = j, iw * ih / union
        if best_iou >= threshold:
            if not images[n]['gt'][best][2]:
                hits.append((n, best) not in taken)
                taken.add((n, best))
        else:
            hits.append(False)
    precision = [sum(hits[:k + 1]) / (k + 1) for k in range(len(hits))]
    recall = [sum(hits[:k + 1]) / max(total, 1) for k in range(len(hits))]
    if mode == '11points':
        return sum(max((p for p, r in zip(precision, recall) if r >= t / 10), default=0) for t in range(11)) / 11
    area, last = 0.0, 0.0
    for k, r in enumerate(recall):
        area += (r - last) * max(precision[k:])
        last = r
    return area


def random_images(rng, num_classes):
    images = []
    for _ in range(12):
        corners = rng.integers(0, 60, (6, 2))
        objects = [([*map(int, low), *map(int, low + rng.integers(8, 40, 2))], int(rng.integers(num_classes)),
                    bool(rng.random() < 0.25)) for low in corners]
        near = [([side + int(rng.integers(-2, 3)) for side in box], kind, float(rng.random()))
                for box, kind, _ in objects for _ in range(2) if rng.random() < 0.7]
        images.append(dict(gt=objects, pred=[(b, k, s) for b, k, s in near if b[2] >= b[0] and b[3] >= b[1]]))
    return images


def as_sample(index, image):
    def fields(entries):
        return dict(bboxes=torch.tensor([e[0] for e in entries], dtype=torch.float32).reshape(-1, 4),
                    labels=torch.tensor([e[1] for e in entries], dtype=torch.long))
    return dict(img_id=index, gt_instances=fields([e for e in image['gt'] if not e[2]]),
                ignored_instances=fields([e for e in image['gt'] if e[2]]),
                pred_instances=dict(**fields(image['pred']), scores=torch.tensor([e[2] for e in image['pred']])))


@pytest.mark.parametrize('mode', ['11points', 'area'])
def test_figures_are_those_of_the_devkit(mode):
    images = random_images(np.random.default_rng(5), 3)
    metric = VOCMetric(iou_thrs=[0.5, 0.75], eval_mode=mode)
    metric.dataset_meta = dict(classes=('a', 'b', 'c', 'never there'), dataset_type='VOC2007')
    samples = [as_sample(i, image) for i, image in enumerate(images)]
    metric.process({}, samples)
    metric.process({}, samples[:2])  # seen again
    figures = metric.compute_metrics(metric.results)
    wanted = {t: np.mean([devkit_ap(images, label, t, mode) for label in range(3)]) for t in (0.5, 0.75)}
    assert 0.1 < wanted[0.75] < wanted[0.5] < 0.95
    assert figures['mAP'] == pytest.approx(np.mean(list(wanted.values())), abs=1e-3)
    assert figures['AP50'] == pytest.approx(wanted[0.5], abs=6e-4)
    assert figures['AP75'] == pytest.approx(wanted[0.75], abs=6e-4)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="'11points' and 'area'"):
        VOCMetric(eval_mode='11point')
    with pytest.raises(UserError, match='LoadAnnotations'):
        VOCMetric().process({}, [dict(pred_instances={}, gt_instances={})])


def test_result_files(tmp_path):
    metric = VOCMetric(outfile_prefix=str(tmp_path / 'to/comp4'), format_only=True)
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    boxes = torch.tensor([[0., 1., 9., 9.], [3.5, 4., 8., 9.]])
    metric.process({}, [dict(img_id='000004', img_path='JPEGImages/000004.jpg', pred_instances=dict(
        bboxes=boxes, scores=torch.tensor([.75, .5]), labels=torch.tensor([1, 1])))])  # no ground truth
    assert metric.compute_metrics(metric.results) == {}
    assert (tmp_path / 'to/comp4_det_test_dog.txt').read_text() == (
        '000004 0.750000 1.0 2.0 10.0 10.0\n000004 0.500000 4.5 5.0 9.0 10.0\n')
    assert (tmp_path / 'to/comp4_det_test_cat.txt').read_text() == ''
    with pytest.raises(UserError, match='outfile_prefix'):
        VOCMetric(format_only=True)
