"""The ground truth of exactly the images that were seen, each once."""
from collections.abc import Sequence
from typing import NamedTuple

from mmdet.errors import UserError


class Seen(NamedTuple):
    """One result an image, in the order of `annotations['images']`, and the ground truth of these images."""
    results: list[dict]
    annotations: dict


def seen_in_file(results: Sequence[dict], annotations: dict, ann_file: str) -> Seen:
    """The images that the results name, out of an annotation file.

    Raises ValueError where the file does not list an image, or has one of another name under its id.
    """
    images = {image['id']: image for image in annotations['images']}
    unknown = [result['img_id'] for result in results if result['img_id'] not in images]
    if unknown:
        raise UserError(f'the evaluated data set holds {len(set(unknown))} image_id that {ann_file} does not list, '
                        f'first: {list(dict.fromkeys(unknown))[:5]}. Evaluate with the ann_file of the data set.')
    first: dict = {}
    for result in results:
        image = images[result['img_id']]
        if first.setdefault(image['id'], result) is result:
            _check_same_image(result, image, ann_file)
        elif result.get('img_path') != first[image['id']].get('img_path'):
            raise UserError(f'the evaluated data set has two images of the id {image["id"]}: '
                            f'{first[image["id"]]["img_path"]} and {result["img_path"]}, {ann_file} has one. Evaluate '
                            'data sets of their own files with MultiDatasetsEvaluator, or without ann_file.')
    return Seen(list(first.values()), dict(
        annotations, images=[images[i] for i in first],
        annotations=[ann for ann in annotations['annotations'] if ann['image_id'] in first]))


def _check_same_image(result: dict, image: dict, ann_file: str) -> None:
    """What the two call the image may differ in its folder."""
    path, name = result.get('img_path') or '', image.get('file_name') or ''
    if path and name and _last(path) != _last(name):
        raise UserError(f'image id {image["id"]} is {path} in the data set and {name} in {ann_file}: '
                        'give the evaluator the ann_file of the data set')


def _last(path: str) -> str:
    return path.replace('\\', '/').rpartition('/')[2]


def seen_in_samples(results: Sequence[dict], classes: Sequence[str]) -> Seen:
    """The images of the results with their `instances`. Label i is category id i; the n-th image has the id n.

    Two data sets may use one id for two images. The same image is seen again where path and instances are the same.
    """
    kept: list[dict] = []
    by_name: dict[tuple, list[dict]] = {}
    for result in results:
        known = by_name.setdefault((result['img_id'], result.get('img_path')), [])
        if all(other['instances'] != result['instances'] for other in known):
            known.append(result)
            kept.append(result)
    annotations = []
    for image_id, result in enumerate(kept):
        for instance in result['instances']:
            x1, y1, x2, y2 = instance['bbox']
            ann = dict(image_id=image_id, category_id=instance['bbox_label'], bbox=[x1, y1, x2 - x1, y2 - y1],
                       iscrowd=instance['ignore_flag'], area=(x2 - x1) * (y2 - y1))
            if 'mask' in instance:
                height, width = result['ori_shape']
                ann['segmentation'] = instance['mask'] or dict(size=[height, width], counts=[height * width])
            annotations.append(ann)
    images = [dict(id=image_id, height=result['ori_shape'][0], width=result['ori_shape'][1])
              for image_id, result in enumerate(kept)]
    categories = [dict(id=label, name=name) for label, name in enumerate(classes)]
    return Seen(kept, dict(images=images, annotations=annotations, categories=categories))
