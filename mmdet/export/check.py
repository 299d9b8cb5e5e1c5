"""Runs a written file beside the detector it was made of, and compares what they find."""
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from mmdet.errors import UserError
from mmdet.structures import DetDataSample

Run = Callable[[np.ndarray], Sequence[np.ndarray]]  # uint8 (B, H, W, 3) -> boxes, labels, scores and maybe masks


class Difference(NamedTuple):
    """Between what two programs found. missing: detections that only one of them has; the others are the worst."""
    detections: int
    missing: int
    boxes: float        # pixels
    scores: float
    masks: float        # share of the picture's pixels that differ


def runtimes(path: Path, threads: int | None = None) -> dict[str, Run]:
    """The programs that can run the file and are installed, by name. threads: of the processor; None: theirs to say."""
    if path.suffix != '.onnx':
        module = torch.export.load(path).module()
        return {'torch.export': lambda images: [out.numpy() for out in module(torch.from_numpy(images))]}
    found: dict[str, Run] = {}
    try:
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        found['onnxruntime'] = lambda images: session.run(None, {'images': images})
    except ImportError:
        pass
    try:
        import openvino
        limit: dict[str, Any] = {} if threads is None else {'INFERENCE_NUM_THREADS': threads}
        compiled = openvino.compile_model(openvino.Core().read_model(path), 'CPU',
                                          {'INFERENCE_PRECISION_HINT': 'f32', **limit})
        found['openvino'] = lambda images: list(compiled({'images': images}).values())
    except ImportError:
        pass
    if not found:
        raise UserError('neither onnxruntime nor openvino is installed to check the file: '
                        'pip install "mmdet-norms[export]"')
    return found


def run_detector(detector: Any) -> Run:
    """The detector itself in this form, by its own predict."""
    def run(images):
        size = images.shape[1:3]
        samples = [DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1., 1.))) for _ in images]
        with torch.inference_mode():
            found = detector.test_step(dict(inputs=list(torch.from_numpy(images).permute(0, 3, 1, 2)),
                                            data_samples=samples))
            instances = [sample.pred_instances for sample in found]
            parts = [[one[name] for one in instances] for name in ('bboxes', 'labels', 'scores')]
            if 'masks' in instances[0]:
                parts.append([one.masks.to_tensor(torch.uint8) for one in instances])
            return [pad_sequence(part, batch_first=True).numpy() for part in parts]
    return run


def timed(run: Run, images: np.ndarray) -> tuple[Sequence[np.ndarray], float]:
    """What `run` gives for the images, and the seconds of its second call."""
    run(images)
    start = time.perf_counter()
    return run(images), time.perf_counter() - start


def compare(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Difference:
    """Outputs for the same pictures. A detection's partner is the nearest box of its label in its picture."""
    total, missing, worst = 0, 0, np.zeros(3)
    for (boxes, labels, scores, *masks), (other_boxes, other_labels, other_scores, *other_masks) in zip(
            zip(*expected), zip(*found), strict=True):
        rows = np.flatnonzero(scores > 0)
        others = list(np.flatnonzero(other_scores > 0))
        total += len(rows)
        for row in rows:
            same = [other for other in others if other_labels[other] == labels[row]]
            if not same:
                missing += 1
                continue
            partner = min(same, key=lambda other: np.abs(other_boxes[other] - boxes[row]).max())
            others.remove(partner)
            differences = [np.abs(other_boxes[partner] - boxes[row]).max(), abs(other_scores[partner] - scores[row]),
                           (other_masks[0][partner] != masks[0][row]).mean() if masks else 0]
            worst = np.maximum(worst, differences)
        missing += len(others)
    return Difference(total, missing, *map(float, worst))
