from collections.abc import Sequence

import mmcv
import numpy as np
import torch
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PastedMasks, PolygonMasks

from .draw import draw_boxes, draw_labels, draw_masks
from .palette import Color, get_palette

Masks = BitmapMasks | PastedMasks | PolygonMasks | np.ndarray | torch.Tensor


@VISUALIZERS.register_module()
class DetLocalVisualizer(Visualizer):
    """Draws annotations and predictions, and hands pictures and scalars to the visual backends.

    Class names and colours come from `dataset_meta`, dict(classes=..., palette=...).

    Args:
        bbox_color, mask_color, text_color: one colour for all, (R, G, B) or a name; by default the class's, and black
            or white for the text.
        line_width: pixels, by default fitted to the image.
        alpha: opacity of the masks.
        name, image, vis_backends, save_dir: those of mmengine's Visualizer.
    """

    def __init__(self, name: str = 'visualizer', image: np.ndarray | None = None, vis_backends: list | None = None,
                 save_dir: str | None = None, bbox_color: str | Color | None = None,
                 text_color: str | Color | None = None, mask_color: str | Color | None = None,
                 line_width: float | None = None, alpha: float = 0.45):
        super().__init__(name, image, vis_backends, save_dir)
        self.bbox_color = bbox_color
        self.text_color = text_color
        self.mask_color = mask_color
        self.line_width = line_width
        self.alpha = alpha
        self._dataset_meta: dict = {}
        self._drawn: np.ndarray | None = None

    @property
    def dataset_meta(self) -> dict:
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:  # mmengine's keeps it on rank 0 alone; here every rank draws
        self._dataset_meta = dataset_meta or {}

    def get_image(self) -> np.ndarray:
        """The RGB picture that add_datasample drew last, or the one set with set_image."""
        return super().get_image() if self._drawn is None else self._drawn

    def set_image(self, image: np.ndarray) -> None:
        self._drawn = None
        super().set_image(image)

    def add_datasample(self, name: str, image: np.ndarray, data_sample: DetDataSample | None = None,
                       draw_gt: bool = True, draw_pred: bool = True, show: bool = False, wait_time: float = 0,
                       out_file: str | None = None, pred_score_thr: float = 0.3, step: int = 0) -> None:
        """Draw the annotations (left) and the predictions (right) of an RGB image, each where there are some.

        The picture goes to a window for wait_time seconds (show), to out_file, or else to the visual backends.
        """
        image = image.clip(0, 255).astype(np.uint8)
        panels = []
        if draw_gt and data_sample is not None and 'gt_instances' in data_sample:
            panels.append(self.draw_instances(image, data_sample.gt_instances))
        if draw_pred and data_sample is not None and 'pred_instances' in data_sample:
            instances = data_sample.pred_instances
            panels.append(self.draw_instances(image, instances[instances.scores > pred_score_thr]))
        self._drawn = np.concatenate(panels or [image], axis=1)
        if show:
            self.show(self._drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(self._drawn[..., ::-1], out_file)
        elif not show:
            self.add_image(name, self._drawn, step)

    def draw_instances(self, image: np.ndarray, instances: InstanceData) -> np.ndarray:
        """Return a copy of the RGB image with the instances' masks, boxes and labels."""
        image = np.ascontiguousarray(image).copy()
        labels = _array(instances.labels).tolist() if 'labels' in instances else []
        if not labels:
            return image
        side = min(image.shape[:2])
        width = max(min(round(side / 350), 6) if self.line_width is None else round(self.line_width), 1)
        boxes = _array(instances.bboxes).astype(np.float32).reshape(-1, 4)
        palette = self.dataset_meta.get('palette')
        if 'masks' in instances:
            tints = [_shade(color, i) for i, color in enumerate(self._colors(self.mask_color or palette, labels))]
            draw_masks(image, mask_pieces(instances.masks), tints, self.alpha, width)
        colors = self._colors(self.bbox_color or palette, labels)
        draw_boxes(image, boxes, colors, width)
        size = int(np.clip(side / 32, 9, 22))
        return draw_labels(image, boxes, self._texts(instances, labels), colors, size, self.text_color)

    def _colors(self, palette: str | Sequence | None, labels: list[int]) -> list[Color]:
        colors = get_palette(palette, max(labels) + 1)
        return [colors[label] for label in labels]

    def _texts(self, instances: InstanceData, labels: list[int]) -> list[str]:
        classes = self.dataset_meta.get('classes') or ()
        texts = [classes[label] if label < len(classes) else f'class {label}' for label in labels]
        if 'scores' in instances:
            texts = [f'{text} {score:.2f}' for text, score in
                     zip(texts, _array(instances.scores).tolist(), strict=True)]
        return texts


def mask_pieces(masks: Masks) -> list[tuple[np.ndarray, int, int]]:
    """Each mask's window as (h, w) bool with its left and top; of (N, H, W) or masks of mmdet.structures."""
    if isinstance(masks, (BitmapMasks, PastedMasks, PolygonMasks)):
        windows = masks.windows
        return [(piece.astype(bool), int(x), int(y))
                for piece, (x, y, _, _) in zip(windows.pieces(), windows.boxes, strict=True)]
    pieces = []
    for mask in _array(masks).astype(bool):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = (columns[0], rows[0]) if rows.size else (0, 0)
        pieces.append((mask[y:rows[-1] + 1, x:columns[-1] + 1] if rows.size else mask[:0, :0], int(x), int(y)))
    return pieces


def _shade(color: Color, index: int) -> Color:
    """A color a little lighter or darker, so that neighbours of one class can be told apart."""
    factor, target = ((0, 0), (0.3, 255), (0.25, 0))[index % 3]
    return tuple(round(channel + (target - channel) * factor) for channel in color)


def _array(values: np.ndarray | torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
