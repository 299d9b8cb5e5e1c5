"""A model card: in one page of Markdown what a checkpoint is, how it was trained, how good it is and how to use it."""
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.checkpoints import saved_dataset_meta
from mmdet.engine.config import innermost
from mmdet.errors import UserError
from mmdet.literals import literal_config
from mmdet.report import Run, figure_name

NO_FIGURES = {'step', 'time', 'data_time'}  # of a validation's line in scalars.json
PARTS = dict(backbone='backbone', neck='neck', bbox_head='box head', mask_head='mask head')


def model_card(checkpoint: Mapping, file: Path, digest: str, work_dir: Path, averaged: bool = False) -> str:
    """The card of a published checkpoint.

    Args:
        checkpoint: what mmdet.checkpoints.published returns.
        file, digest: where it lies, and its SHA-256.
        work_dir: of the training; its logs tell AP and environment. What nothing tells is left out.
        averaged: the weights are EMAHook's averages.
    """
    meta = checkpoint['meta']
    try:
        cfg: Any = literal_config(str(meta.get('cfg', '')))
    except UserError:  # a config of more than plain values
        cfg = {}
    run = Run(work_dir)
    machine = run.environment
    rows = {**_model(_part(cfg, 'model')), **_data(cfg, saved_dataset_meta(checkpoint)),
            **_training(cfg, meta, machine)}
    if averaged:
        rows['Weights'] = 'moving averages over the training (EMAHook)'
    count = sum(value.numel() for value in checkpoint['state_dict'].values())
    rows['Parameters and buffers'] = f'{count / 1e6:.2f} million'
    rows |= machine
    lines = [f'# {file.stem}', '', f'`{file.name}`, {file.stat().st_size / 2**20:.1f} MiB, SHA-256 `{digest}`', '',
             *_table(['', ''], [[key, str(value)] for key, value in rows.items() if value not in (None, '')]), '',
             *_accuracy(cfg, meta, run), '## Use', '', '```python', 'from mmdet.apis import DetInferencer',
             f'detector = DetInferencer({"" if cfg else "config, "}weights={file.name!r})',
             "detector('picture.jpg', out_dir='found')", '```', '']
    return '\n'.join(lines)


def _part(cfg: Mapping, name: str) -> Mapping[str, Any]:
    """An entry of a config that is a dict, of a list of them the first; empty where there is none."""
    part = cfg.get(name)
    if isinstance(part, (list, tuple)) and part:
        part = part[0]
    return part if isinstance(part, Mapping) else {}


def _model(model: Mapping) -> dict[str, Any]:
    parts = {name: _part(model, name) or _part(_part(model, 'roi_head'), name) for name in PARTS}
    norms = [f'{PARTS[name]} {_norm(name, part)}' for name, part in parts.items() if part]
    backbone, neck = parts['backbone'], parts['neck'].get('type')
    name = '-'.join(str(backbone[key]) for key in ('type', 'depth') if key in backbone)
    return {'Detector': model.get('type'), 'Backbone': name + f' with {neck}' * bool(neck), 'Norm': ', '.join(norms)}


def _norm(name: str, part: Mapping) -> str:
    norm = _part(part, 'norm_cfg').get('type') or ('BN' if name == 'backbone' else 'none')
    frozen = name == 'backbone' and norm in ('BN', 'SyncBN') and part.get('norm_eval', True)
    return f'{norm} with fixed statistics' if frozen else norm


def _data(cfg: Mapping, dataset_meta: Mapping) -> dict[str, Any]:
    rows = {}
    for title, loader in (('Trained on', 'train_dataloader'), ('Validated on', 'val_dataloader')):
        if dataset := _part(_part(cfg, loader), 'dataset'):
            dataset = innermost(dict(dataset))
            file = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
            rows[title] = f'{dataset.get("type")}, `{file}`'
    classes = dataset_meta.get('classes', ())
    return {**rows, 'Classes': f'{len(classes)}: {", ".join(classes)}' if classes else None}


def _training(cfg: Mapping, meta: Mapping, machine: Mapping) -> dict[str, Any]:
    wrapper = _part(cfg, 'optim_wrapper')
    optimizer = _part(wrapper, 'optimizer')
    size = _part(cfg, 'train_dataloader').get('batch_size')
    processes = int(next(iter(re.findall(r'\d+', machine.get('Processes', ''))), 1))
    steps = wrapper.get('accumulative_counts', 1)
    factors = ' x '.join([f'{size} a process', *[f'{processes} processes'] * (processes > 1),
                          *[f'{steps} accumulated'] * (steps > 1)])
    return {'Iterations': meta.get('iter'), 'Epochs': meta.get('epoch'),
            'Batch': size and f'{size * processes * steps} images ({factors})',
            'Optimizer': optimizer and f'{optimizer.get("type")}, learning rate {optimizer.get("lr")}',
            'Written': meta.get('time')}


def _accuracy(cfg: Mapping, meta: Mapping, run: Run) -> list[str]:
    """The validation of these weights; where they had none, the last one before, which is said."""
    unit = 'iter' if 'Iter' in str(_part(cfg, 'train_cfg').get('type')) else 'epoch'
    found = _validations(run)
    own = meta.get(unit)
    if not found or not isinstance(own, int):
        return []
    step = max([step for step in found if step <= own], default=max(found))
    lines = ['## Accuracy', '', f'Validation after {unit} {step}' + f'; the weights are those of {unit} {own}' *
             (step != own) + '. A dash: the data have no such objects.', '']
    tables: dict[str, dict[str, str]] = {}
    others = []
    for name, value in found[step].items():
        text = '-' if value == -1 else f'{value:.3f}' if isinstance(value, float) else str(value)
        figure = figure_name(name)
        if figure.group.endswith('AP'):
            tables.setdefault(figure.group, {})[figure.item] = text
        else:
            others.append([figure.text, text])
    columns = list(dict.fromkeys(column for figures in tables.values() for column in figures))
    if tables:
        lines += [*_table(['', *columns], [[name, *(figures.get(column, '') for column in columns)]
                                           for name, figures in tables.items()]), '']
    return lines + ([*_table(['figure', 'value'], others), ''] if others else [])


def _validations(run: Run) -> dict[int, dict[str, Any]]:
    """Step -> figures."""
    found = {line['step']: {key: value for key, value in line.items() if key not in NO_FIGURES}
             for line in run.validations}
    return {step: figures for step, figures in found.items() if figures}


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f'| {" | ".join(cell.replace("|", "&#124;") for cell in row)} |'
            for row in (head, ['---'] * len(head), *rows)]
