import json
from collections import defaultdict

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.fileio import load
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from warm_process import CONTEXT

from mmdet.datasets.coco_classes import COCO_CLASSES
from mmdet.evaluation import CocoMetric
from mmdet.evaluation.coco_metric import encode_masks
from mmdet.registry import METRICS
from mmdet.structures.mask import PastedMasks

CLASSES = ('cedar', 'acorn')
SIZE = (100, 120)


def coco_file(path):
    """Two images; category ids that are no labels; annotation ids from 0; three objects and a crowd."""
    boxes = [(1, 7, [10, 10, 40, 40], 0), (1, 3, [60, 20, 20, 30], 0), (2, 7, [5, 5, 50, 50], 0),
             (2, 7, [60, 0, 60, 100], 1)]
    data = dict(images=[dict(id=i, file_name=f'{i}.jpg', height=SIZE[0], width=SIZE[1]) for i in (1, 2)],
                categories=[dict(id=3, name='acorn'), dict(id=7, name='cedar')],
                annotations=[dict(id=i, image_id=image, category_id=c, bbox=b, area=b[2] * b[3], iscrowd=crowd,
                                  segmentation=rle(b)) for i, (image, c, b, crowd) in enumerate(boxes)])
    path.write_text(json.dumps(data))
    return str(path)


def rle(box):
    return encode_masks(torch.from_numpy(filled(box)[None]))[0]


def filled(box):
    x, y, w, h = box
    mask = np.zeros(SIZE, bool)
    mask[y:y + h, x:x + w] = True
    return mask


def sample(img_id, boxes, scores, labels, masks=True, **meta):
    """What a detector's DetDataSample looks like after to_dict; boxes are xywh."""
    boxes = np.array(boxes).reshape(-1, 4)
    xyxy = torch.tensor(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), dtype=torch.float64)
    pred = dict(bboxes=xyxy, scores=torch.tensor(scores, dtype=torch.float64), labels=torch.tensor(labels).long())
    if masks:
        pred['masks'] = torch.from_numpy(np.array([filled(b) for b in boxes], bool).reshape(-1, *SIZE))
    return dict(img_id=img_id, ori_shape=SIZE, pred_instances=pred, **meta)


PERFECT = [sample(1, [[10, 10, 40, 40], [60, 20, 20, 30]], [0.9, 0.8], [0, 1]),
           sample(2, [[5, 5, 50, 50], [62, 2, 20, 20]], [0.7, 0.95], [0, 0])]


def run(samples, classes=CLASSES, **kwargs):
    metric = CocoMetric(**kwargs)
    metric.dataset_meta = dict(classes=classes)
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


@pytest.fixture
def ann_file(tmp_path):
    return coco_file(tmp_path / 'ann.json')


def test_perfect_predictions(evaluator, ann_file):
    figures = run(PERFECT, ann_file=ann_file, metric=['bbox', 'segm', 'proposal'], classwise=True)
    assert figures == {
        **{f'coco/{kind}_{item}': value for kind in ('bbox', 'segm') for item, value in
           dict(mAP=1, mAP_50=1, mAP_75=1, mAP_s=1, mAP_m=1, mAP_l=-1).items()},
        **{f'coco/{item}': value for item, value in
           {'AR@100': 1, 'AR@300': 1, 'AR@1000': 1, 'AR_s@1000': 1, 'AR_m@1000': 1, 'AR_l@1000': -1}.items()},
        'coco/cedar_precision': 1, 'coco/acorn_precision': 1,
        'coco/segm_cedar_precision': 1, 'coco/segm_acorn_precision': 1}


def test_ap_by_hand(evaluator, ann_file):
    """A false positive before the true one halves the precision of acorn; a box of IoU 0.64 counts up to 0.6."""
    samples = [sample(1, [[10, 10, 40, 40], [0, 60, 20, 20], [60, 20, 20, 30]], [0.9, 0.8, 0.7], [0, 1, 1]),
               sample(2, [[5, 5, 40, 40]], [0.9], [0])]
    figures = run(samples, ann_file=ann_file, classwise=True)
    # cedar: 2 objects; at IoU 0.5, 0.55, 0.6 both found, above one: precision 1 for 51 of 101 recalls.
    cedar = (3 * 1 + 7 * 51 / 101) / 10
    assert figures['coco/acorn_precision'] == 0.5
    assert figures['coco/cedar_precision'] == pytest.approx(cedar, abs=6e-4)
    assert figures['coco/bbox_mAP'] == pytest.approx((cedar + 0.5) / 2, abs=6e-4)
    assert figures['coco/bbox_mAP_50'] == 0.75


def test_many_masks(evaluator, ann_file):
    boxes = [[10, 10, 40, 40]] + [[60, 60, 9, 9]] * 299
    samples = [sample(1, boxes, [0.9] + [0.1] * 299, [0] * 300), PERFECT[1]]
    assert run(samples, ann_file=ann_file, metric='segm', classwise=True)['coco/segm_cedar_precision'] == 1


def test_nothing_found(evaluator, ann_file):
    figures = run([sample(i, [], [], []) for i in (1, 2)], ann_file=ann_file, metric=['bbox', 'segm', 'proposal'])
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == figures['coco/AR@100'] == 0


def real_samples(unzipped, index_of_label):
    """The example detections of COCO as a detector of the given classes would hand them out."""
    annotations, results = (load(unzipped(f'{n}_val2014_100.json')) for n in ('instances', 'results'))
    names = {c['id']: c['name'] for c in annotations['categories']}
    by_image = defaultdict(list)
    for result in results:
        by_image[result['image_id']].append(result)
    for image in annotations['images']:
        found = by_image[image['id']]
        yield sample(image['id'], [r['bbox'] for r in found], [r['score'] for r in found],
                     [index_of_label(names[r['category_id']]) for r in found], masks=False)


@pytest.mark.parametrize('order', [COCO_CLASSES, COCO_CLASSES[::-1]])
def test_real_detections(evaluator, unzipped, order):
    figures = run(list(real_samples(unzipped, order.index)), classes=order,
                  ann_file=unzipped('instances_val2014_100.json'))
    assert [figures[f'coco/bbox_{item}'] for item in ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')] == [
        0.505, 0.697, 0.573, 0.586, 0.519, 0.501]


def test_real_detections_of_some_classes_as_pycocotools_counts_them(evaluator, unzipped, capsys):
    classes = ('dog', 'person', 'unheard of')
    ann_file = unzipped('instances_val2014_100.json')
    samples = list(real_samples(unzipped, lambda name: classes.index(name) if name in classes else -1))
    for one in samples:
        keep = one['pred_instances']['labels'] >= 0
        one['pred_instances'] = {name: value[keep] for name, value in one['pred_instances'].items()}
    figures = run(samples, classes=classes, ann_file=ann_file, metric=['bbox', 'proposal'], proposal_nums=(1, 10, 100),
                  metric_items=('mAP', 'mAP_50', 'AR@10', 'AR_s@100'))
    coco = COCO(ann_file)
    ids = coco.getCatIds(catNms=list(classes))
    oracle = COCOeval(coco, coco.loadRes([r for r in load(unzipped('results_val2014_100.json'))
                                          if r['category_id'] in ids]), 'bbox')
    oracle.params.catIds = ids
    for name, use_categories in (('bbox_', 1), ('', 0)):
        oracle.params.useCats = use_categories
        oracle.evaluate()
        oracle.accumulate()
        oracle.summarize()
        assert [figures[f'coco/{name}{item}'] for item in ('mAP', 'mAP_50', 'AR@10', 'AR_s@100')] == [
            round(value, 3) for value in oracle.stats[[0, 1, 7, 9]]]


def test_tables(ann_file, log):
    run(PERFECT, ann_file=ann_file, metric=['bbox', 'segm'], classwise=True)
    for expected in ('bbox of each class', 'segm of each class', '| cedar | 1.000', '| mAP_75 |', '| segm '):
        assert expected in log.text


def test_iou_thresholds(ann_file):
    samples = [sample(1, [[10, 10, 40, 40], [60, 20, 20, 30]], [0.9, 0.8], [0, 1]),
               sample(2, [[5, 5, 40, 40]], [0.9], [0])]
    assert run(samples, ann_file=ann_file, iou_thrs=0.5)['coco/bbox_mAP'] == 1
    figures = run(samples, ann_file=ann_file, iou_thrs=[0.7])
    assert figures['coco/bbox_mAP'] == pytest.approx((1 + 51 / 101) / 2, abs=6e-4)
    assert figures['coco/bbox_mAP_50'] == -1


def test_format_only_writes_coco_results(ann_file, tmp_path):
    prefix = str(tmp_path / 'out' / 'result')
    assert run(PERFECT, ann_file=ann_file, metric=['bbox', 'segm'], format_only=True, outfile_prefix=prefix) == {}
    boxes, masks = load(f'{prefix}.bbox.json'), load(f'{prefix}.segm.json')
    assert boxes[1] == dict(image_id=1, category_id=3, bbox=[60, 20, 20, 30], score=pytest.approx(0.8))
    assert np.array_equal(mask_api.decode(masks[1]['segmentation']), filled([60, 20, 20, 30]))
    with pytest.raises(ValueError, match='outfile_prefix'):
        CocoMetric(format_only=True)


def test_ground_truth_from_the_samples():
    instances = [[dict(bbox=[10, 10, 50, 50], bbox_label=0, ignore_flag=0, mask=rle([10, 10, 40, 40])),
                  dict(bbox=[60, 20, 80, 50], bbox_label=1, ignore_flag=0, mask=rle([60, 20, 20, 30]))],
                 [dict(bbox=[5, 5, 55, 55], bbox_label=0, ignore_flag=0, mask=rle([5, 5, 50, 50])),
                  dict(bbox=[60, 0, 120, 100], bbox_label=0, ignore_flag=1, mask=rle([60, 0, 60, 100]))]]
    samples = [dict(one, instances=own) for one, own in zip(PERFECT, instances, strict=True)]
    figures = run(samples, metric=['bbox', 'segm'])
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == 1
    with pytest.raises(ValueError, match="ann_file.*'instances' to meta_keys"):
        run(PERFECT)


def test_each_image_counts_once(ann_file, log):
    """As a sampler pads them, and only those that were seen."""
    figures = run([*PERFECT, PERFECT[0]], ann_file=ann_file, metric=['bbox', 'segm'], classwise=True)
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == figures['coco/acorn_precision'] == 1
    assert '1 of 3 predictions are of an image that was seen before' in log.text
    figures = run(PERFECT[1:], ann_file=ann_file, metric=['bbox', 'segm'], classwise=True)
    assert figures['coco/bbox_mAP'] == figures['coco/segm_mAP'] == 1 and figures['coco/acorn_precision'] == -1


def test_two_pictures_of_one_name_and_their_truth():
    """Pictures of one id differ by their path; a picture with two sets of objects is two to evaluate."""
    box = [10, 10, 50, 50]
    one = dict(sample(1, [[10, 10, 40, 40]], [0.9], [0]), img_path='cam1/a.png',
               instances=[dict(bbox=box, bbox_label=0, ignore_flag=0, mask=rle([10, 10, 40, 40]))])
    empty = dict(sample(1, [], [], []), img_path='cam2/a.png', instances=[])
    other = dict(sample(1, [[10, 10, 40, 40]], [0.9], [1]), img_path='cam1/a.png',
                 instances=[dict(bbox=box, bbox_label=1, ignore_flag=0, mask=[])])
    assert set(run([one, empty, one, other], classwise=True).values()) == {1, -1}  # -1: there are none of that size


def test_broken_predictions_are_named(ann_file):
    def refused(match, **change):
        bad = sample(1, [[10, 10, 40, 40]], [0.9], [0], img_path='p/1.jpg')
        bad['pred_instances'].update(change)
        with pytest.raises(ValueError, match=f'{match}.*p/1.jpg'):
            run([bad], ann_file=ann_file, metric=['bbox', 'segm'])
    refused('not finite', scores=torch.tensor([float('nan')]))
    refused('not finite', bboxes=torch.tensor([[1, 2, float('inf'), 4]]))
    refused('negative width', bboxes=torch.tensor([[5., 5, 3, 9]]))
    refused('the label 2', labels=torch.tensor([2]))
    refused('the label -1', labels=torch.tensor([-1]))
    refused('predicted mask 0', masks=[dict(size=[100, 120], counts=b'\x31\x31')])
    refused(r'masks of height and width \[120, 100\]', masks=torch.zeros(1, 120, 100, dtype=torch.bool))


def test_mistakes_are_named(ann_file, tmp_path):
    with pytest.raises(ValueError, match=r"metric=\('bbox', 'segm', 'proposal', 'proposal_fast'\), not \['box'\]"):
        CocoMetric(metric='box')
    with pytest.raises(ValueError, match=r"metric_items .*\['AP'\].*mAP_50"):
        CocoMetric(metric_items=['AP'])
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        CocoMetric(ann_file='none.json')
    with pytest.raises(ValueError, match=r'1 image_id that .*ann\.json does not list, first: \[5\]'):
        run([*PERFECT, sample(5, [[0, 0, 9, 9]], [0.5], [0])], ann_file=ann_file)
    with pytest.raises(ValueError, match='image id 1 is a/9.jpg in the data set and 1.jpg in .*ann.json'):
        run([sample(1, [], [], [], img_path='a/9.jpg')], ann_file=ann_file)
    with pytest.raises(ValueError, match='two images of the id 1: a/1.jpg and b/1.jpg.*MultiDatasetsEvaluator'):
        run([sample(1, [], [], [], img_path=f'{folder}/1.jpg') for folder in 'ab'], ann_file=ann_file)
    with pytest.raises(ValueError, match=r"none of the classes \('oak',\).*\['acorn', 'cedar'\]"):
        run(PERFECT, classes=('oak',), ann_file=ann_file)
    with pytest.raises(ValueError, match="needs masks.*metric='bbox'"):
        run([sample(1, [[0, 0, 9, 9]], [0.5], [0], masks=False)], ann_file=ann_file, metric='segm')
    data = load(ann_file)
    del data['annotations'][0]['segmentation']
    (tmp_path / 'boxes.json').write_text(json.dumps(data))
    with pytest.raises(ValueError, match='1 annotations of the ground truth have no segmentation'):
        run(PERFECT, ann_file=str(tmp_path / 'boxes.json'), metric='segm')


def test_encode_masks():
    masks = torch.from_numpy(np.random.default_rng(0).random((3, 20, 30)) > 0.5)
    rles = encode_masks(masks)
    assert all(isinstance(r['counts'], str) and list(r['size']) == [20, 30] for r in rles)
    assert np.array_equal(mask_api.decode(rles).transpose(2, 0, 1).astype(bool), masks.numpy())
    assert encode_masks(masks[:0]) == [] and encode_masks(rles) is rles
    pasted = PastedMasks(torch.rand(3, 28, 28), torch.tensor([[2., 3, 19, 28]]).repeat(3, 1), 20, 30, 0.5)
    assert encode_masks(pasted) == pasted.rles() == encode_masks(pasted.to_tensor())


def evaluate_half(rank, ann_file, port_file, queue):
    dist.init_process_group('gloo', init_method=f'file://{port_file}', rank=rank, world_size=2)
    metric = CocoMetric(ann_file=ann_file, metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, [PERFECT[rank]])
    queue.put(metric.evaluate(2))
    dist.destroy_process_group()


def test_two_processes_of_half_the_images_equal_one(ann_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    queue = CONTEXT.Queue()
    processes = [CONTEXT.Process(target=evaluate_half, args=(rank, ann_file, tmp_path / 'meet', queue))
                 for rank in range(2)]
    for process in processes:
        process.start()
    figures = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert figures[0] == figures[1] == run(PERFECT, ann_file=ann_file, metric=['bbox', 'segm'])


def test_is_registered():
    assert METRICS.get('CocoMetric') is CocoMetric
