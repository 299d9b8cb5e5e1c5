"""The classes that a checkpoint's labels mean."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.errors import UserError


def saved_dataset_meta(checkpoint: Mapping, source: str = 'the checkpoint') -> dict[str, Any]:
    """The metainfo of the data set that a checkpoint was trained on, as far as it tells: classes, palette.

    mmdetection 3's checkpoints and ours keep it as meta['dataset_meta'], mmdetection 2's as meta['CLASSES'] and
    meta['PALETTE']. Raises ValueError where the classes are no list of names.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    saved = meta.get('dataset_meta')
    saved = saved if isinstance(saved, Mapping) else {key: meta.get(key) for key in ('CLASSES', 'PALETTE')}
    found = {str(key).lower(): value for key, value in saved.items() if value is not None}
    if 'classes' in found:
        classes = found['classes']
        names = isinstance(classes, Sequence) and all(isinstance(name, str) for name in classes)
        if isinstance(classes, str) or not names:
            raise UserError(f'{source} has classes that are no list of names: {str(classes)[:80]}. Write them into '
                            "its meta['dataset_meta']['classes'] as a tuple of names")
        found['classes'] = tuple(classes)
    return found
