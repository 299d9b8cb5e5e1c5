"""What the labels of a run mean: the classes of the training set, or of the checkpoint that is tested."""
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import BaseLoop
from torch.utils.data import Dataset

from mmdet.checkpoints import read_checkpoint, saved_dataset_meta
from mmdet.datasets.classes import settle_metainfo, shown_names, with_classes
from mmdet.errors import UserError

from .evaluated_files import check_evaluated_files

Build = Callable[[Any], BaseLoop]


def build_train_loop(runner: Any, build: Build, loop: Any) -> BaseLoop:
    """The loop; its data set keeps the places that its classes have in the checkpoint the training starts from."""
    built = build(loop)
    meta = settle_metainfo(built.dataloader.dataset)
    source, saved = start_meta(runner)
    if loop is built or 'classes' not in meta or 'classes' not in saved:
        return built
    order = places_in_checkpoint(meta['classes'], saved['classes'], source, runner.resume_from is not None)
    if order == tuple(meta['classes']):
        return built
    runner._train_dataloader = follow(runner._train_dataloader, dict(classes=order))
    built = build(loop)
    check_classes(built.dataloader.dataset, dict(classes=order), 'train_dataloader')
    return built


def build_val_loop(runner: Any, build: Build, loop: Any) -> BaseLoop:
    """The loop; its data set has the training's classes."""
    meta = training_meta(runner)
    runner._val_dataloader = follow(runner._val_dataloader, meta, 'val_dataloader')
    built = build(loop)
    check_classes(built.dataloader.dataset, meta, 'val_dataloader')
    check_evaluated_files(built, 'val_evaluator')
    return built


def build_test_loop(runner: Any, build: Build, loop: Any) -> BaseLoop:
    """The loop; its data set has the training's classes."""
    meta = training_meta(runner)
    runner._test_dataloader = follow(runner._test_dataloader, meta, 'test_dataloader')
    built = build(loop)
    source, own = start_meta(runner)[0], getattr(built.dataloader.dataset, 'metainfo', {}).get('classes')
    if source and own and 'classes' not in meta and 'conversion' not in runner.read_ahead[source]:
        print_log(f'{source} does not tell its classes: its labels are taken for those of the test data set, '
                  f'{shown_names(own)}', 'current', logging.WARNING)
    check_classes(built.dataloader.dataset, meta, 'test_dataloader')
    check_evaluated_files(built, 'test_evaluator')
    return built


def training_meta(runner: Any) -> dict:
    """The metainfo of the data set that the runner's model was trained on, as far as it is known."""
    if isinstance(runner._train_loop, BaseLoop):
        return settle_metainfo(runner._train_loop.dataloader.dataset)
    return start_meta(runner)[1]


def start_meta(runner: Any) -> tuple[str, dict]:
    """The checkpoint that the run starts from, and the metainfo of its data set. The weights wait in `read_ahead`."""
    source = runner.resume_from or runner._load_from
    if source is None or runner._has_loaded:
        return '', {}
    if source not in runner.read_ahead:
        runner.read_ahead[source] = read_checkpoint(source)
    return source, saved_dataset_meta(runner.read_ahead[source], source)


def follow(dataloader: Any, meta: Mapping, place: str | None = None) -> Any:
    """The config of a loader, its data set with the classes of `meta`; what is built already stays as it is."""
    if 'classes' not in meta or not isinstance(dataloader, Mapping) or not isinstance(dataloader['dataset'], Mapping):
        return dataloader
    return {**dataloader, 'dataset': with_classes(dataloader['dataset'], meta, place)}


def check_classes(dataset: Dataset, meta: Mapping, place: str) -> None:
    """Raise ValueError where a data set does not follow: it was built before, or its classes are its own."""
    own = getattr(dataset, 'metainfo', {}).get('classes')
    if own is not None and tuple(own) != tuple(meta.get('classes', own)):
        raise UserError(f'the data set of {place} has the classes {shown_names(own)}, the training '
                        f'{shown_names(meta["classes"])}: give it metainfo=dict(classes=...) in the training\'s order')


def places_in_checkpoint(classes: Sequence[str], saved: Sequence[str], source: str, resumes: bool) -> tuple[str, ...]:
    """The training's classes in the order in which the weights of a checkpoint fit them.

    A class that the checkpoint knows has its place there, others take the places that are left over. Where the numbers
    differ, its class weights are not loaded, and the order stays.

    Raises ValueError where a training `resumes` with other classes.
    """
    lost, new = [name for name in saved if name not in classes], [name for name in classes if name not in saved]
    if resumes and (lost or new):
        raise UserError(f'{source} was trained for the classes {shown_names(saved)}, the training set has '
                        f'{shown_names(classes)}. To train these, start from its weights: load_from instead of resume')
    if len(classes) != len(saved) or len(lost) != len(new):
        return tuple(classes)
    fresh = iter(new)
    order = tuple(next(fresh) if name in lost else name for name in saved)
    if order != tuple(classes):
        print_log(f"Labels are matched by name and follow {source}'s order of the classes, {shown_names(order)}; the "
                  f'training set has {shown_names(classes)}', 'current', logging.WARNING)
    if new:
        print_log(f'{source} was trained for {shown_names(lost)} in place of {shown_names(new)}: the weights of the '
                  'former are where the latter start', 'current', logging.WARNING)
    return order
