"""A model that predicts the truth has an AP of 1, however the files number, order and name what they hold."""
import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from pycocotools import mask as mask_api
from torch import nn

from mmdet.engine import Runner
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

CLASSES = ('apple', 'pear', 'plum')
SIZE = (40, 60)
# file name: (class, left, top, width, height) of its objects
WORLD = {
    'a.png': [('apple', 2, 3, 20, 10), ('pear', 30, 5, 9, 30)],
    'b.png': [('plum', 5, 5, 12, 12), ('plum', 40, 20, 15, 15), ('pear', 20, 4, 10, 10)],
    'c.png': [('apple', 10, 10, 30, 20)],
    'd.png': [],
    'e.png': [('pear', 1, 1, 25, 25), ('apple', 33, 11, 11, 11)],
}


def rectangle(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


@MODELS.register_module()
class Oracle(BaseModel):
    """Knows what is in WORLD by the names of files; its labels are the places of the classes it was built with."""

    def __init__(self, classes=CLASSES):
        super().__init__(data_preprocessor=dict(type='DetDataPreprocessor'))
        self.head = nn.Module()
        self.head.num_classes = len(classes)
        self.weight = nn.Parameter(torch.ones(1))
        self.classes = classes

    def forward(self, inputs, data_samples=None, mode='loss', **kwargs):
        if mode == 'loss':
            return dict(loss=self.weight.sum())
        for sample in data_samples:
            objects = [o for o in WORLD[sample.img_path.rpartition('/')[2]] if o[0] in self.classes]
            boxes = torch.tensor([o[1:] for o in objects], dtype=torch.float64).reshape(-1, 4)
            rles = [mask_api.merge(mask_api.frPyObjects(rectangle(*o[1:]), *SIZE)) for o in objects]
            sample.pred_instances = InstanceData(
                bboxes=torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), scores=torch.ones(len(objects)),
                labels=torch.tensor([self.classes.index(o[0]) for o in objects], dtype=torch.int64), masks=rles)
        return data_samples


def coco(names, category_ids, image_ids=None):
    """The files `names` of WORLD in COCO's format. category_ids: dict of id -> name, in the order of the file."""
    images = list(zip(image_ids or range(len(names)), names))
    ids = {name: number for number, name in category_ids.items()}  # of a name that stands there twice the last
    annotations = [dict(image_id=i, category_id=ids[o[0]], bbox=o[1:], area=o[3] * o[4], iscrowd=0,
                        segmentation=rectangle(*o[1:])) for i, name in images for o in WORLD[name] if o[0] in ids]
    return dict(images=[dict(id=i, file_name=name, height=SIZE[0], width=SIZE[1]) for i, name in images],
                categories=[dict(id=number, name=name) for number, name in category_ids.items()],
                annotations=[dict(ann, id=i) for i, ann in enumerate(annotations)])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    register_all_modules()
    folder = tmp_path_factory.mktemp('world')
    for name in WORLD:
        cv2.imwrite(str(folder / name), np.full((*SIZE, 3), 90, np.uint8))
    alike = dict(zip((1, 2, 3), CLASSES))
    files = dict(
        train=coco(WORLD, alike), same=coco(WORLD, alike), reversed=coco(WORLD, dict(zip((3, 2, 1), CLASSES[::-1]))),
        other_ids=coco(WORLD, {'x': 'pear', -1: 'plum', 0.5: 'apple'}, ['a', -5, 0, 2 ** 70, 1.5]),
        fewer=coco(WORLD, {5: 'plum', 4: 'apple'}), twice=coco(['a.png', 'c.png', 'a.png'], alike),
        more=coco(WORLD, {1: 'Pear', 2: 'apple ', 3: 'plum', 4: 'pear', 5: 'apple'}),
        merged=coco(WORLD, {0: 'apple', 1: 'apple', 2: 'plum', 3: 'pear'}),
        first=coco(['a.png', 'b.png'], {1: 'plum', 2: 'pear', 3: 'apple'}),
        second=coco(['c.png', 'e.png'], {1: 'apple', 2: 'pear'}), strange=coco(WORLD, {1: 'Apple', 2: 'kiwi'}))
    files['merged']['annotations'][0]['category_id'] = 0
    files['more']['annotations'].append(dict(files['more']['annotations'][0], id=99, category_id=1))
    for name, data in files.items():
        (folder / f'{name}.json').write_text(json.dumps(data))
    return folder


def part(name, **options):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='Resize', scale=(90, 90), keep_ratio=True),
                dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'instances'))]
    return dict(type='CocoDataset', ann_file=f'{name}.json', pipeline=pipeline, test_mode=True, **options)


def joined(*parts):
    return dict(type='ConcatDataset', datasets=list(parts))


def repeated(dataset):
    return dict(type='RepeatDataset', times=2, dataset=dataset)


def metric(ann_file=None):
    return dict(type='CocoMetric', metric=['bbox', 'segm'], ann_file=ann_file and f'{ann_file}.json')


def each(*metrics):
    return dict(type='MultiDatasetsEvaluator', metrics=list(metrics), dataset_prefixes=['one', 'two'])


def config(folder, dataset, evaluator, **options):
    def placed(cfg):
        if isinstance(cfg, list):
            return [placed(value) for value in cfg]
        if isinstance(cfg, dict):
            return {key: placed(value) for key, value in cfg.items()} | (
                {'data_prefix': dict(img=str(folder))} if cfg.get('type') == 'CocoDataset' else {})
        return str(folder / cfg) if isinstance(cfg, str) and cfg.endswith('.json') else cfg

    def loader(dataset):
        sampler = dict(type='DefaultSampler', shuffle=False)
        return dict(batch_size=2, num_workers=0, dataset=placed(dataset), sampler=sampler)
    return Config(dict(
        default_scope='mmdet', model=dict(type='Oracle'), work_dir=str(folder / 'work'),
        train_dataloader=loader(dict(part('train'), test_mode=False)), train_cfg=dict(by_epoch=True, max_epochs=1),
        val_dataloader=loader(dataset), val_cfg=dict(), val_evaluator=placed(evaluator),
        test_dataloader=loader(dataset), test_cfg=dict(), test_evaluator=placed(evaluator),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook')), **options))


@pytest.fixture(scope='module')
def checkpoint(folder):
    """Of a training of one epoch, whose validation on a file in another order must be perfect too."""
    runner = Runner.from_cfg(config(folder, part('reversed'), metric('reversed'), experiment_name='train'))
    runner.train()
    assert runner.message_hub.get_scalar('val/coco/segm_mAP').current() == 1
    return str(folder / 'work/epoch_1.pth')


ARRANGEMENTS = {
    'the same file': (part('same'), metric('same')),
    'categories reversed': (part('reversed'), metric('reversed')),
    'categories reversed, truth of the samples': (part('reversed'), metric()),
    'the evaluator reads another file': (part('reversed'), metric('same')),
    'other ids': (part('other_ids'), metric('other_ids')),
    'a class is missing': (part('fewer'), metric('fewer')),
    'more categories': (part('more'), metric('more')),
    'two categories of one name': (part('merged'), metric('merged')),
    'metainfo in another order': (
        part('reversed', metainfo=dict(classes=('plum', 'apple', 'pear'))), metric('reversed')),
    'the first images': (part('same', indices=2), metric('same')),
    'repeated': (repeated(part('same', lazy_init=True)), metric('same')),
    'a picture listed twice': (part('twice'), metric('twice')),
    'a picture listed twice, truth of the samples': (part('twice'), metric()),
    'two sets of the same ids': (joined(part('first'), part('second')), metric()),
    'one set twice': (joined(part('first'), repeated(part('first'))), metric('first')),
    'a metric each': (joined(part('first'), part('second', indices=[1])), each(metric('first'), metric('second'))),
    'a metric each, truth of the samples': (joined(part('first'), part('second')), each(metric(), metric('second'))),
}


@pytest.mark.parametrize('name', ARRANGEMENTS)
def test_truth_has_ap_1(folder, checkpoint, name):
    runner = Runner.from_cfg(config(folder, *ARRANGEMENTS[name], load_from=checkpoint, experiment_name=name))
    figures = runner.test()
    figures = {key: value for key, value in figures.items() if key.endswith(('bbox_mAP', 'segm_mAP'))}
    assert figures and set(figures.values()) == {1.}
    if 'a metric each' in name:
        assert set(figures) == {f'{one}/coco/{kind}_mAP' for one in ('one', 'two') for kind in ('bbox', 'segm')}
        log = (folder / 'work' / runner.timestamp / f'{runner.timestamp}.log').read_text()
        assert re.search(r'one:(.|\n)*bbox(.|\n)*two:(.|\n)*bbox', log)  # each table stands under its name


def test_what_cannot_be_evaluated_is_named_before_it_begins(folder, checkpoint):
    def refused(match, dataset, evaluator, **options):
        cfg = config(folder, dataset, evaluator, load_from=checkpoint, experiment_name=match)
        cfg.merge_from_dict(options)
        with pytest.raises(ValueError, match=match):
            Runner.from_cfg(cfg).test()
    two = joined(part('first'), part('second'))
    refused('test_evaluator has the ann_file .*first.json, but its data sets read .*second.json', two, metric('first'))
    refused('must not shuffle', two, each(metric(), metric()), **{'test_dataloader.sampler.shuffle': True})
    refused('needs a ConcatDataset of as many data sets', part('first'), each(metric(), metric()))
    refused('each metric needs a prefix of its own', two, dict(each(metric(), metric()), dataset_prefixes=['one']))
    refused('none of the classes .*is it .apple', part('strange'), metric('strange'))


def test_another_ann_file_is_named(folder, checkpoint):
    runner = Runner.from_cfg(config(folder, *ARRANGEMENTS['the evaluator reads another file'], load_from=checkpoint,
                                    experiment_name='another'))
    runner.build_test_loop(runner._test_loop)
    log = (folder / 'work' / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert f'test_evaluator has the ann_file {folder}/same.json, but its data set reads {folder}/reversed.json' in log
