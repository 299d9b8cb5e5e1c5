"""What a user may say of a source."""
import dataclasses

# What is added to xmin and ymin, and to xmax and ymax, of Pascal VOC.
VOC_CORNERS = {'minus-one': (-1, -1), 'inclusive': (-1, 0), 'as-written': (0, 0)}


@dataclasses.dataclass
class Options:
    """Args:
        classes: names in their order, for sources that have no list of them.
        voc_corners: 'minus-one' as mmdetection, 'inclusive' where xmin to xmax are pixels that all belong to the box,
            'as-written' for corners that count from 0.
        class_attribute: which attribute of VIA's regions is the class.
    """
    classes: list[str] | None = None
    voc_corners: str = 'minus-one'
    class_attribute: str | None = None
