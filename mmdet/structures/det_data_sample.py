"""DetDataSample: what one image brings into the model, and what the model says about it."""
from operator import attrgetter

from mmengine.structures import BaseDataElement, InstanceData


def _instances(field: str, doc: str) -> property:
    """A property that holds an InstanceData under the private name `field`, as BaseDataElement wants it."""

    def put(self: BaseDataElement, value: InstanceData) -> None:
        self.set_field(value, field, dtype=InstanceData)

    def delete(self: BaseDataElement) -> None:
        delattr(self, field)

    return property(attrgetter(field), put, delete, doc)


class DetDataSample(BaseDataElement):
    """Annotations and predictions of one image; metainfo: img_id, img_path, ori_shape, img_shape, scale_factor.

    Boxes are (N, 4) float32 xyxy pixels: of the resized image in gt_instances, ignored_instances and proposals, of the
    original image in pred_instances.
    """
    gt_instances = _instances('_gt_instances', 'bboxes (N, 4), labels (N,) int64, masks: BitmapMasks.')
    ignored_instances = _instances('_ignored_instances', 'Crowds, with the fields of gt_instances.')
    proposals = _instances('_proposals', 'bboxes (N, 4), scores (N,).')
    pred_instances = _instances('_pred_instances', 'bboxes (N, 4), scores (N,), labels (N,), masks: PastedMasks from '
                                                   'the model, bool (N, H, W) from mmdet.apis.')


SampleList = list[DetDataSample]
