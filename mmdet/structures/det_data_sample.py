"""DetDataSample: what one image brings into the model, and what the model says about it."""
from operator import attrgetter
from typing import Any

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor


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

    def __getstate__(self) -> dict:
        # A loader's worker hands over each tensor by a file and a socket of its own (2 ms); an array by its pipe.
        state: dict[str, Any] = dict(self.__dict__, arrays={})
        for name, instances in self.__dict__.items():
            if isinstance(instances, InstanceData):
                state[name] = instances.clone()
                for field, value in instances.items():
                    if _is_array(value):
                        state['arrays'][name, field] = value.numpy()
                        delattr(state[name], field)
        return state

    def __setstate__(self, state: dict) -> None:
        arrays = state.pop('arrays')
        self.__dict__.update(state)
        for (name, field), array in arrays.items():
            self.__dict__[name].set_field(torch.from_numpy(array), field)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == 'cpu' and value.dtype != torch.bfloat16 \
        and not value.requires_grad


SampleList = list[DetDataSample]
OptSampleList = SampleList | None
