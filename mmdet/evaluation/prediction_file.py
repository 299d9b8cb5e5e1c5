"""Files of predictions: COCO results (.json), or mmdetection's list of one dict an image (.pkl)."""
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdet.checkpoints import load_tensor_pickle
from mmdet.datasets.classes import one_id_a_name
from mmdet.errors import MissingFileError, UserError

from .coco_metric import detections_of
from .results import checked_results, read_results

PICKLES = ('.pkl', '.pickle')


def read_detections(path: str | Path, dataset: dict, ann_file: str) -> list[dict]:
    """COCO result dicts out of a file of either kind, each known to be a detection in an image of `dataset`.

    A pickle's labels are the classes that it names, or, where it names none, the categories in the order of `dataset`.

    Args:
        dataset: images and categories of the ground truth, out of `ann_file`.

    Raises:
        UserError: names the file and what is wrong in it.
    """
    if Path(path).suffix not in PICKLES:
        return checked_results(read_results(str(path)), dataset, str(path), ann_file)
    predictions = read_pickle(path)
    ids = one_id_a_name(dataset['categories'], ann_file)
    id_of_name = {category['name']: ids[category['id']] for category in dataset['categories']}
    images = {image['id']: image for image in dataset['images']}
    unknown = [entry['img_id'] for entry in predictions if entry['img_id'] not in images]
    if unknown:
        raise UserError(f'{path} holds {len(unknown)} img_id that {ann_file} does not list, first: {unknown[:5]}. '
                        'Evaluate with the annotation file the results were made for.')
    detections: list[dict] = []
    for entry in {entry['img_id']: entry for entry in predictions}.values():
        names = entry.get('classes') or list(id_of_name)
        found = {name: value.numpy() if isinstance(value, torch.Tensor) else value
                 for name, value in entry['pred_instances'].items()}
        detections += detections_of({**entry, **found}, images[entry['img_id']], [id_of_name.get(n) for n in names])
    if not detections:
        raise UserError(f'result file {path} holds no detections of a category of {ann_file}, so its AP is 0')
    return checked_results(detections, dataset, str(path), ann_file)


def read_pickle(path: str | Path) -> list[dict]:
    """The entries of a pickle that test.py --out wrote, here or in mmdetection 3.x. No code of the file runs.

    Each has img_id and pred_instances: bboxes (N, 4) float32 xyxy pixels of the original image, scores (N,), labels
    (N,), and masks (RLEs) where there are some; and `classes` where the file is ours.

    Raises:
        UserError: names the file and what is wrong in it.
    """
    try:
        entries = load_tensor_pickle(Path(path))
    except FileNotFoundError:
        raise MissingFileError(f'result file {path} does not exist') from None
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise UserError(f'result file {path} is no pickle of predictions, or is damaged ({error}): write it again with '
                        'tools/test.py --out') from None
    if not isinstance(entries, list) or not entries:
        raise UserError(f'result file {path} holds {"nothing" if entries == [] else f"a {type(entries).__name__}"}; '
                        'it must be a list of one dict an image')
    return [_checked(entry, i, path) for i, entry in enumerate(entries)]


def _checked(entry: Any, index: int, path: str | Path) -> dict:
    name = f'entry {index} of {path}'
    if isinstance(entry, (list, tuple)):
        raise UserError(f'{name} is a {type(entry).__name__}, as mmdetection 2 wrote them: test again, here or with '
                        'mmdetection 3')
    found = entry.get('pred_instances') if isinstance(entry, Mapping) else None
    if not isinstance(found, Mapping) or not {'bboxes', 'scores', 'labels'} <= found.keys():
        raise UserError(f'{name} has no pred_instances of bboxes, scores and labels')
    if not isinstance(entry.get('img_id'), (int, float, str, np.integer)):
        raise UserError(f'{name} has no img_id')
    values = {key: value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value, copy=True))
              for key, value in found.items() if key in ('bboxes', 'scores', 'labels')}
    size = len(values['scores'])
    if (values['bboxes'].shape != (size, 4) or values['labels'].shape != (size,) or values['scores'].dim() != 1
            or len(found.get('masks', range(size))) != size):
        raise UserError(f'{name} holds {", ".join(f"{key} {tuple(value.shape)}" for key, value in values.items())}, '
                        'which must be (N, 4), (N,) and (N,), with as many masks')
    return {**entry, 'pred_instances': {**found, **values}}


def read_predictions(path: str | Path, dataset: Any) -> list[dict]:
    """One entry for each image of a data set, in its order, out of a file of either kind.

    As read_pickle gives them; labels are the data set's. Where the file has nothing of an image, its entry is empty.

    Raises:
        UserError: the file names an image or a category that the data set does not have.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    classes = list(dataset.metainfo['classes'])
    if Path(path).suffix in PICKLES:
        found = {entry['img_id']: entry for entry in read_pickle(path)}
        found = {key: _relabelled(entry, classes, str(path)) for key, entry in found.items()}
    else:
        found = _grouped(read_results(str(path)), dataset, infos, str(path))
    unknown = list(found.keys() - {info['img_id'] for info in infos})
    if unknown:
        raise UserError(f'{path} holds {len(unknown)} images that the test data set does not have, first: '
                        f'{sorted(unknown, key=str)[:5]}. Name the config whose test_dataloader they were made by.')
    nothing = dict(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64))
    return [dict(ori_shape=(info['height'], info['width']), pred_instances=nothing) | found.get(info['img_id'], {})
            | {key: info.get(key) for key in ('img_id', 'img_path', 'instances')} for info in infos]


def _relabelled(entry: dict, classes: Sequence[str], path: str) -> dict:
    """The entry with the labels of `classes`; what is of none of them is left out."""
    names = entry.get('classes')
    found = entry['pred_instances']
    labels = found['labels']
    if names is None and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise UserError(f'{path} has the label {int(labels.max())}, the data set {len(classes)} classes')
    if names is None or list(names) == list(classes):
        return entry
    label_of = {name: label for label, name in enumerate(classes)}
    new = torch.tensor([label_of.get(name, -1) for name in names])[labels]
    kept = (new >= 0).nonzero().flatten()
    chosen = {key: [value[i] for i in kept.tolist()] if isinstance(value, list) else value[kept]
              for key, value in found.items()}
    return {**entry, 'classes': list(classes), 'pred_instances': {**chosen, 'labels': new[kept]}}


def _grouped(results: list, dataset: Any, infos: Sequence[dict], path: str) -> dict[Any, dict]:
    """COCO result dicts by image. Of a data set without COCO's categories the category is the label."""
    from mmdet.datasets import read_coco_json
    from mmdet.datasets.innermost import innermost_dataset
    dataset = innermost_dataset(dataset)
    classes = list(dataset.metainfo['classes'])
    ann_file = str(getattr(dataset, 'ann_file', ''))
    categories = (read_coco_json(ann_file)['categories'] if ann_file.endswith('.json')
                  else [dict(id=label, name=name) for label, name in enumerate(classes)])
    images = [dict(id=info['img_id'], height=info['height'], width=info['width']) for info in infos]
    results = checked_results(results, dict(images=images, categories=categories), path, ann_file or 'the data set')
    label_of = {category['id']: classes.index(category['name']) for category in categories
                if category['name'] in classes}
    grouped: dict[Any, list[dict]] = {}
    for result in results:
        if result['category_id'] in label_of:
            grouped.setdefault(result['image_id'], []).append(result)
    found = {}
    for image, entries in grouped.items():
        boxes = torch.tensor([entry.get('bbox') or [0, 0, 0, 0] for entry in entries], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        pred: dict[str, Any] = dict(bboxes=boxes, scores=torch.tensor([float(entry['score']) for entry in entries]),
                                    labels=torch.tensor([label_of[entry['category_id']] for entry in entries]))
        if 'segmentation' in entries[0]:
            pred['masks'] = [entry['segmentation'] for entry in entries]
        found[image] = dict(img_id=image, pred_instances=pred)
    return found
