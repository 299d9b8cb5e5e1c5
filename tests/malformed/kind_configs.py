"""The config of a small training with one key changed: numbers that are none, keys misspelt, parts of another kind."""
import re

from case import Case
from training import first_step, refused, tiny

from mmdet.engine.config import read_config

# Keys whose values other than a number from a range are sensible, too, or which nothing reads here.
FREE = ('work_dir', 'seed', 'backend_args', 'data_root', 'meta_keys', 'name', 'priority', 'palette', 'custom_imports')
MISTAKES = ['model.roi_head.mask_head.num_classes=7', 'model.roi_head.bbox_head.num_classes=7', 'model.neck.num_outs=4',
            'model.neck.in_channels=[1,2,3,4]', 'model.backbone.depth=19', 'model.backbone.norm_cfg.type=BNN',
            'model.backbone.out_indices=(0,1,2,9)', 'model.type=MaskRCNNN', 'model.rpn_head.loss_cls.type=Loss',
            'optim_wrapper.optimizer.type=SGDD', 'optim_wrapper.type=Wrapper', 'train_cfg.type=Loop', 'train_cfg=3',
            'train_cfg.by_epoch=yes', 'optim_wrapper=3', 'train_dataloader=3', 'train_dataloader.dataset.type=Coco',
            'train_dataloader.dataset.ann_file=none.json', 'train_dataloader.dataset.pipeline=[]', 'val_evaluator=3',
            'train_dataloader.sampler.type=S', 'val_evaluator.metric=boxes', 'visualizer.type=V', 'model=3',
            'default_hooks.checkpoint.save_best=bbox_mAP', 'default_hooks.checkpoint.type=Hook', 'log_level=LOUD',
            'default_hooks.checkpoint.save_best=coco/bboxmAP', 'param_scheduler.0.type=Linear', 'default_scope=other',
            'custom_imports=dict(imports=["none_such"])', 'launcher=rsh', 'model.data_preprocessor.mean=[1,2]',
            'optim_wrapper.clip_grad=3', 'randomness.seed=abc', 'model.neck=None', 'model.roi_head=None',
            'train_dataloader.dataset.indices=0', 'train_dataloader.collate_fn.type=none', 'load_from=none.pth']
MENDED = ['train_dataloader.persistent_workers=True', 'train_dataloader.prefetch_factor=4',
          'optim_wrapper.optimizer=dict(type="Lion",lr=0.001)', 'optim_wrapper.type=AmpOptimWrapper',
          'optim_wrapper.optimizer=dict(type="Adafactor",lr=0.001)', 'model.test_cfg.rcnn.max_per_img=-1',
          'model.train_cfg.rcnn.debug=True', 'default_hooks.checkpoint.save_best=auto']
FILES = {'empty.py': '', 'html.py': '<html>', 'binary.py': '\x00\x01', 'cut.py': 'model = dict(',
         'base.py': "_base_ = 'x.py'", 'list.json': '[1, 2]', 'cut.json': '{"model": ', 'number.json': '3',
         'tabs.yaml': 'model:\n\t- a', 'a.txt': 'a',
         'code.yaml': 'model: !!python/object/apply:os.system ["touch ran"]',
         'object.yaml': 'model: !!python/object/new:os.system ["touch ran"]', 'raises.py': 'raise SystemError(3)',
         'name.py': 'model = dict(a=b)', 'zero.py': 'model = 1 / 0', 'exits.py': 'import sys; sys.exit(0)',
         'loop.py': "_base_ = 'loop.py'\nmodel = dict()", 'model.py': 'model = [1]', 'import.py': 'import none_such',
         'mark.py': '\ufeffmodel = dict()', 'conflict.py': '<<<<<<< HEAD\nmodel = dict()\n'}


def leaves(node, place=''):
    """(dotted key, value) of everything in a config."""
    if place:
        yield place, node
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from leaves(value, f'{place}.{key}'.lstrip('.'))


def trained(config, *options):
    return lambda: first_step(config, '--work-dir', 'work', '--cfg-options', *options)


def cases(rng):
    config = tiny()
    folder = config.parent
    cfg = read_config(str(config)).to_dict()
    used = {key: cfg[key] for key in ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg', 'param_scheduler',
                                      'default_hooks', 'env_cfg')}
    for place, value in leaves(used):
        key = place.rpartition('.')[2]
        if key in FREE or key.isdigit() and not isinstance(value, dict):
            continue
        if isinstance(value, dict) and value:
            known = rng.choice(sorted(map(str, value)))
            wrong = known[:1] + known[2:] if len(known) > 3 else known + 'x'
            if place not in ('model.backbone.init_cfg', 'default_hooks'):
                yield Case(f'{place}.{wrong}', refused(trained(config, f'{place}.{wrong}=1')), [wrong])
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            for bad in ('nan', 'abc', '[]'):
                yield Case(f'{place}={bad}', refused(trained(config, f'{place}={bad}')), [re.escape(key)])
    for option in MISTAKES:
        words = '|'.join(map(re.escape, re.split('[.=]', option)))
        yield Case(option, refused(trained(config, option)), [words])
    for option in MENDED:
        yield Case(option, trained(config, option), [])
    for name, text in FILES.items():
        (folder / name).write_text(text)
        yield Case(name, refused(trained(folder / name, 'a=1')), [name])
