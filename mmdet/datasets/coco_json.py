"""An annotation file as the dict of COCO's evaluators."""
from .annotations import AnnotationTable, read_annotations


def read_coco_json(path: str, backend_args: dict | None = None, test_mode: bool = False) -> dict:
    """Read and check a COCO annotation file; arguments and errors are those of read_annotations.

    Returns:
        dict with the lists images (id, file_name, height, width), categories (id, name) and annotations (id,
        image_id, category_id, bbox xywh in pixels, area, iscrowd, and segmentation where there is one: polygons or a
        compressed RLE, one without pixels where no polygon is usable). Ids of images and categories are the file's.
    """
    return coco_dict(read_annotations(path, backend_args, test_mode))


def coco_dict(table: AnnotationTable) -> dict:
    """What read_coco_json returns, of a table."""
    images = [dict(id=table.image_id(i), file_name=table.file_name(i), height=height, width=width)
              for i, (height, width) in enumerate(table.sizes.tolist())]
    categories = table.categories
    annotations = []
    for n, (image, category, bbox, area, crowd) in enumerate(zip(
            table.image.tolist(), table.category.tolist(), table.boxes.tolist(), table.areas.tolist(),
            table.crowd.tolist(), strict=True)):
        annotation = dict(id=n + 1, image_id=images[image]['id'], category_id=categories[category]['id'], bbox=bbox,
                          area=area, iscrowd=int(crowd))
        segmentation = table.segmentation(n)
        if segmentation is not None:
            size = [images[image]['height'], images[image]['width']]
            annotation['segmentation'] = segmentation or dict(size=size, counts=[size[0] * size[1]])
        annotations.append(annotation)
    return dict(images=images, annotations=annotations, categories=categories)
