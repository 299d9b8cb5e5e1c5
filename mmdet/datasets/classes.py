"""Classes and labels: a label means a name, whatever ids and order a file gives its categories."""
import difflib
import logging
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log

from mmdet.errors import UserError
from mmdet.registry import DATASETS

_SHOWN = 5


def class_names(classes: Any) -> tuple[str, ...]:
    """The `classes` of a metainfo as a tuple. Raises ValueError where they are no names."""
    if isinstance(classes, str):
        raise UserError(f"metainfo['classes'] is the string {classes!r}, and no such file holds a class list. For one "
                        f'class write ({classes!r},) with the comma.')
    names = tuple(classes) if isinstance(classes, Sequence) else (classes,)
    for name in names:
        if not isinstance(name, str):
            raise UserError(f"metainfo['classes'] must be a list of names, but has {name!r}")
    return names


def labels_by_name(categories: Sequence[Mapping], classes: Sequence[str], objects: Mapping[Any, int], source: str,
                   chosen: bool = False) -> dict[Any, int]:
    """The label of each category id: the place of its name among `classes`.

    The log counts what the other categories have, and names the class that each may be meant for.

    Args:
        categories: dicts of id and name.
        objects: how many annotations each category id has.
        source: the file they are of.
        chosen: whether `classes` may have been chosen to leave the others out; then only likely mistakes are warnings.

    Raises:
        ValueError: there are categories, but none is among the classes.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    labels = {category['id']: label_of[category['name']] for category in categories if category['name'] in label_of}
    left_out: Counter[str] = Counter()
    for category in categories:
        if category['id'] not in labels:
            left_out[category['name']] += objects.get(category['id'], 0)
    meant = {name: nearest_name(name, classes) for name in left_out}
    named = [name for name in left_out if meant[name] or left_out[name]]
    named.sort(key=lambda name: (not meant[name], -left_out[name]))
    if categories and not labels:
        raise UserError(f'{source} has none of the classes {shown_names(classes)}, but '
                        f'{_counted(named or list(left_out), left_out, meant)}. Rename its categories, or correct '
                        'metainfo=dict(classes=...)')
    if named:
        level = logging.INFO if chosen and not any(meant.values()) else logging.WARNING
        print_log(f'{source} has categories that are none of the classes {shown_names(classes)}: '
                  f'{_counted(named, left_out, meant)}. They are left out: not learned, not looked for, not evaluated. '
                  'Rename them if they are meant to be one of the classes.', 'current', level)
    return labels


def one_id_a_name(categories: Sequence[Mapping], source: str) -> dict[Any, Any]:
    """For each category id the first id of its name; says which names stand there more than once."""
    first: dict[str, Any] = {}
    ids = {category['id']: first.setdefault(category['name'], category['id']) for category in categories}
    counts = Counter(category['name'] for category in categories)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        print_log(f'{source} has several categories of the name {shown_names(repeated)}: each name is one class',
                  'current', logging.WARNING)
    return ids


def with_classes(dataset: Mapping, meta: Mapping, place: str | None = None) -> Mapping:
    """The config of a data set, its classes those of the metainfo `meta`; so are those inside RepeatDataset and others.

    `place` is what to call it in a warning, for the case that it names classes of its own; None where that is known.
    """
    if 'dataset' in dataset:
        return {**dataset, 'dataset': with_classes(dataset['dataset'], meta, place)}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [with_classes(part, meta, place) for part in dataset['datasets']]}
    kind = DATASETS.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
    load_metainfo = getattr(kind, '_load_metainfo', None)
    if load_metainfo is None:  # no BaseDataset
        return dataset
    own = dataset.get('metainfo') or {}
    classes = meta['classes']
    stated = load_metainfo(own)['classes'] if 'classes' in own else classes
    if place and tuple(stated) != tuple(classes):
        print_log(f'{place}: metainfo.classes has {shown_names(stated)}, the training {shown_names(classes)}. Labels '
                  "are matched by name and follow the training's order.", 'current', logging.WARNING)
    palette = {'palette': meta['palette']} if isinstance(meta.get('palette'), (list, tuple)) else {}
    return {**dataset, 'metainfo': {**own, 'classes': classes, **palette}}


def settle_metainfo(dataset: Any) -> dict:
    """The metainfo of a loaded data set, which its wrappers take over: theirs is from before the file was read."""
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if parts[0] is None:
        return getattr(dataset, 'metainfo', {})
    dataset._metainfo = {**getattr(dataset, '_metainfo', {}), **[settle_metainfo(part) for part in parts][0]}
    return dataset._metainfo


def nearest_name(name: str, names: Sequence[str]) -> str | None:
    """The one of `names` that `name` may be meant for; case, spaces, hyphens and underscores count for nothing."""
    plain = {_plain(known): known for known in reversed(names)}
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.8)
    return plain[close[0]] if close else None


def shown_names(names: Sequence[str]) -> str:
    """The names as they stand in a message, at most a few of them."""
    return ', '.join(map(repr, names[:_SHOWN])) + f', ... ({len(names)} in all)' * (len(names) > _SHOWN)


def _plain(name: str) -> str:
    return ''.join(character for character in unicodedata.normalize('NFKC', name).casefold()
                   if not character.isspace() and character not in '-_')


def _counted(names: Sequence[str], objects: Mapping[str, int], meant: Mapping[str, str | None]) -> str:
    parts = [f'{name!r} (objects: {objects[name]}' + f'; is it {meant[name]!r}?' * bool(meant[name]) + ')'
             for name in names[:_SHOWN]]
    return ', '.join(parts) + f', ... ({len(names)} in all)' * (len(names) > _SHOWN)
