"""Pascal VOC: an XML file a picture, as labelImg, CVAT and Roboflow write it, too."""
from pathlib import Path
from xml.etree import ElementTree

from mmdet.progress import progress

from ..voc_xml import FLAGS, read_voc_xml
from .options import VOC_CORNERS, Options
from .output import Output
from .records import Collection, Object, Picture, box_of, outlines
from .tree import Tree, read_lines, split_of


def recognizes(tree: Tree) -> bool:
    return any(b'<annotation' in path.read_bytes()[:1000] for path in tree.ending('.xml')[:20])


def read(tree: Tree, options: Options) -> Collection:
    """Corners are moved as options.voc_corners says; difficult objects are crowds, which do not count."""
    found = Collection()
    low, high = VOC_CORNERS[options.voc_corners]
    splits = _image_sets(tree)
    for path in progress(tree.ending('.xml'), 'reading'):
        with found.collect():
            content = read_voc_xml(path)
            picture = tree.picture(path.stem, path)
            if not picture.exists() and content.filename:
                picture = tree.picture(content.filename, path)
            objects = []
            for item in content.objects:
                x1, y1, x2, y2 = item.corners
                objects.append(Object(item.name, (x1 + low, y1 + low, x2 - x1 + high - low, y2 - y1 + high - low),
                                      [item.polygon] if item.polygon else None, crowd=item.difficult,
                                      notes=item.notes))
            split = splits.get(path.stem) or ('' if splits else split_of(path, tree.root))
            found.pictures.append(Picture(picture, *(content.size or (0, 0)), objects, split))
    if any(min(item.box[:2]) < 0 for picture in found.pictures for item in picture.objects) and low:
        found.remarks.append('some corners are 0, though VOC counts pixels from 1: if these files count from 0, give '
                             '--voc-corners as-written')
    found.name_classes()
    return found


def write(collection: Collection, out: Path, options: Options) -> None:
    """Annotations, JPEGImages and ImageSets/Main in the folder `out`."""
    low, high = VOC_CORNERS[options.voc_corners]
    output = Output(collection, out)
    for picture in progress(collection.pictures, 'writing'):
        name = output.flat_name(picture)
        root = ElementTree.Element('annotation')
        _add(root, folder='JPEGImages', filename=name)
        _add(_child(root, 'size'), width=picture.width, height=picture.height, depth=3)
        for item in picture.objects:
            x, y, width, height = item.box
            node = _child(root, 'object')
            _add(node, name=item.name, pose=item.notes.get('pose', 'Unspecified'),
                 **{flag: int(bool(item.notes.get(flag))) for flag in FLAGS},)
            node.find('difficult').text = str(int(item.crowd))  # type: ignore[union-attr]
            _add(_child(node, 'bndbox'), xmin=x - low, ymin=y - low, xmax=x + width - high, ymax=y + height - high)
            polygons = outlines(item.mask) if item.mask else []
            if len(polygons) == 1 and box_of(polygons)[2:] != (0, 0):
                points = zip(polygons[0][::2], polygons[0][1::2], strict=True)
                _add(_child(node, 'polygon'), **{f'{axis}{i}': value for i, point in enumerate(points, 1)
                                                 for axis, value in zip('xy', point, strict=True)})
            elif polygons:
                output.lose('masks of several parts')
        ElementTree.indent(root)
        output.text(f'Annotations/{Path(name).stem}.xml', ElementTree.tostring(root, encoding='unicode') + '\n')
        output.picture(picture, f'JPEGImages/{name}')
    for split, pictures in output.splits('trainval').items():
        names = [Path(output.flat_name(picture)).stem for picture in pictures]
        output.text(f'ImageSets/Main/{split}.txt', '\n'.join(names) + '\n')
    output.finish()


def _image_sets(tree: Tree) -> dict[str, str]:
    """The split of each name, by the lists in ImageSets/Main."""
    splits: dict[str, str] = {}
    for split in ('train', 'val', 'test'):
        for path in tree.ending('.txt'):
            if path.name == f'{split}.txt' and path.parent.parent.name == 'ImageSets':
                splits.update(dict.fromkeys((line.split()[0] for line in read_lines(path)
                                             if line.strip()), split))
    return splits


def _child(node: ElementTree.Element, tag: str) -> ElementTree.Element:
    return ElementTree.SubElement(node, tag)


def _add(node: ElementTree.Element, **values: float | str) -> None:
    for tag, value in values.items():
        whole = isinstance(value, float) and value.is_integer()
        _child(node, tag).text = str(int(value) if whole else value)


