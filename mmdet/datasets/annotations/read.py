"""An annotation file as a table."""
import os

from mmengine.fileio import LocalBackend, get_file_backend

from mmdet.datasets.garbage_collection import no_garbage_collection
from mmdet.errors import UserError

from .build import build_table
from .cache import cached_table
from .json_file import COCO, read_entries
from .table import AnnotationTable


def read_annotations(path: str, backend_args: dict | None = None, test_mode: bool = False) -> AnnotationTable:
    """Read and check a COCO annotation file; a large local one is read once, later ones come from the cache.

    Args:
        path: file or URL that mmengine.fileio reads with `backend_args`; gzip and a byte order mark are no obstacle.
        test_mode: whether the list 'annotations' may be missing, as in COCO's test-dev.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no COCO JSON, or an entry that contradicts itself or another; names file, entry, value and cure.
    """
    path = str(path)

    def build() -> AnnotationTable:
        with no_garbage_collection():
            return build_table(read_entries(path, backend_args), path)

    try:
        local = isinstance(get_file_backend(path, backend_args=backend_args), LocalBackend)
    except (KeyError, ImportError) as error:
        raise UserError(f'annotation file {path}: mmengine.fileio cannot read from such addresses ({error}). Copy it '
                        'here, then correct ann_file') from None
    table = cached_table(path, build) if local and os.path.isfile(path) else build()
    if not table.complete and not test_mode:
        raise UserError(f"annotation file {path} is no COCO instances file: it has no list ['annotations']. {COCO}.")
    return table
