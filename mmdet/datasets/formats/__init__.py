"""Formats of annotations: readers and writers, with one table of them.

A reader makes a Collection of pictures with objects, whose classes are names; a writer puts it into files.
"""
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from mmdet.errors import UserError
from mmdet.progress import progress

from ..picture_file import picture_size
from . import cityscapes, coco, labelme, pictures, via, voc, yolo
from .options import VOC_CORNERS, Options
from .records import Collection
from .tree import Tree
from .turn import turn

FORMATS: dict[str, ModuleType] = dict(voc=voc, coco=coco, labelme=labelme, via=via, cityscapes=cityscapes, yolo=yolo,
                                      pictures=pictures)
WRITERS: dict[str, Callable[[Collection, Path, Options], None]] = {
    name: module.write for name, module in FORMATS.items() if hasattr(module, 'write')}

__all__ = ['FORMATS', 'Options', 'VOC_CORNERS', 'WRITERS', 'read_source']


def read_source(tree: Tree, kind: str | None, options: Options) -> Collection:
    """Read a source in the format `kind`, by default the one that its files are of, and settle sizes and classes."""
    kind = kind or recognize(tree)
    collection = FORMATS[kind].read(tree, options)
    collection.remarks.insert(0, f'{tree.source}: {kind}, {len(collection.pictures)} pictures, '
                                 f'{sum(len(picture.objects) for picture in collection.pictures)} objects')
    settle_sizes(collection)
    if all(picture.id is None for picture in collection.pictures):  # in an order that is no matter of the format
        collection.pictures.sort(key=lambda picture: (picture.path.name, picture.path))
    if options.classes and kind != 'pictures':
        choose_classes(collection, options.classes)
    return collection


def recognize(tree: Tree) -> str:
    """The format of a source. Raises ValueError where it is none, or may be several."""
    kinds = [name for name, module in FORMATS.items() if name != 'pictures' and module.recognizes(tree)]
    if len(kinds) > 1:
        raise UserError(f'{tree.source} has annotations of several formats: {", ".join(kinds)}. Give --from with the '
                        'one that is meant')
    if not kinds and tree.source.is_dir() and pictures.recognizes(tree):
        return 'pictures'
    if not kinds:
        raise UserError(f'{tree.source} has no annotations of a known format ({", ".join(FORMATS)}), and no pictures')
    return kinds[0]


def settle_sizes(collection: Collection) -> None:
    """Compare each picture with its entry, and turn objects that were drawn on one before EXIF turned it."""
    kept, turned = [], 0
    for picture in progress(collection.pictures, 'sizes of the pictures'):
        stated = picture.height, picture.width
        if not picture.path.exists() and all(stated):
            kept.append(picture)
            continue
        with collection.collect():
            height, width, orientation = picture_size(picture.path)
            if all(stated) and stated != (height, width):
                if orientation < 5 or stated != (width, height):
                    raise UserError(f'{picture.path} is {width} wide and {height} high, its annotations say '
                                    f'{stated[1]} and {stated[0]}: correct them, or take the picture that was '
                                    'annotated')
                turned += 1
                for item in picture.objects:
                    turn(item, orientation, *stated)
            picture.height, picture.width = height, width
            kept.append(picture)
    collection.pictures = kept
    if turned:
        collection.remarks.append(f'{turned} pictures are turned by their EXIF orientation; so are their objects now')


def choose_classes(collection: Collection, classes: list[str]) -> None:
    """Keep the objects of these classes alone, in this order."""
    unknown = [name for name in classes if name not in collection.classes]
    if unknown:
        raise UserError(f'--classes has {", ".join(unknown)}, but the classes are {", ".join(collection.classes)}')
    for picture in collection.pictures:
        picture.objects = [item for item in picture.objects if item.name in classes]
    collection.classes = list(classes)
