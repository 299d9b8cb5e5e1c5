"""Proposals from a file, for detectors that have no RPN of their own."""
import io
import json
import os.path as osp
import pickle
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from mmengine import fileio

from mmdet.checkpoints.unpickler import Instructions, Refused, Unpickler
from mmdet.errors import MissingFileError, UserError


class ProposalFile:
    """Boxes and scores of each image, by the last folder and the name of its picture ('val2017/000000000139.jpg').

    The file is a pickle, as DumpProposals and mmdetection write it, or JSON: a dict of such names and dicts (or
    InstanceData) of bboxes, (P, 4) xyxy in pixels of the original image, and perhaps scores (P,); best first. No code
    of the file is run.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it holds something else; names the image.
    """

    def __init__(self, path: str, backend_args: dict | None = None):
        self.path = path
        try:
            data = fileio.get(path, backend_args=backend_args)
        except FileNotFoundError:
            raise MissingFileError(f'proposal_file {path} does not exist: tools/test.py writes it for an RPN with '
                                   "test_evaluator=dict(type='DumpProposals', output_dir=..., proposals_file=...)"
                                   ) from None
        found = _load(data, path)
        if not isinstance(found, dict):
            raise UserError(f'proposal_file {path} holds a {type(found).__name__}, not a dict of images')
        self.start: dict[str, tuple[int, int]] = {}
        boxes, scores, count = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)], 0
        for name, proposals in found.items():
            own_boxes, own_scores = _checked(proposals, f'proposal_file {path}, {name!r:.200}')
            self.start[str(name)] = count, len(own_boxes)
            count += len(own_boxes)
            boxes.append(own_boxes)
            scores.append(own_scores)
        self.boxes, self.scores = np.concatenate(boxes), np.concatenate(scores)  # few arrays: workers share them

    def of(self, img_path: str) -> dict[str, np.ndarray]:
        """dict of bboxes float32 (P, 4) and scores float32 (P,) of a picture."""
        if proposal_key(img_path) not in self.start:
            raise UserError(f'proposal_file {self.path} has no proposals for {proposal_key(img_path)}; it has them for '
                            f'{len(self.start)} images, such as {next(iter(self.start), None)}')
        start, count = self.start[proposal_key(img_path)]
        part = slice(start, start + count)
        return dict(bboxes=self.boxes[part].copy(), scores=self.scores[part].copy())

    def __deepcopy__(self, memo: dict) -> 'ProposalFile':
        return self  # nothing of it changes

    def check(self, img_paths: Iterable[str]) -> None:
        """Raise UserError where a picture has no entry."""
        for path in img_paths:
            self.of(path)


def proposal_key(img_path: str) -> str:
    """What a picture is called in a file of proposals: its folder and its name."""
    folder, name = osp.split(img_path)
    return osp.join(osp.basename(folder), name)


class _Instances:
    """Stands for mmengine's InstanceData in a pickle."""

    def __setstate__(self, state: Any) -> None:
        self.fields = dict(state) if isinstance(state, dict) else {}


class _Reader(Unpickler):
    """Leaves sets empty: InstanceData's only name its fields."""
    dispatch = Instructions({**Unpickler.dispatch, pickle.ADDITEMS[0]: Unpickler.pop_mark})


# Protocol 2 writes a set, and the bytes of an empty array, as a call.
NAMES = {'mmengine.structures.instance_data.InstanceData': _Instances, 'builtins.set': lambda items=(): (),
         'builtins.bytes': lambda: b''}


def _load(data: bytes, path: str) -> Any:
    try:
        return json.loads(data) if data[:1] in b'{[' else _Reader(io.BytesIO(data), NAMES).load()
    except Refused as error:
        raise UserError(f'proposal_file {path} holds an object of type {error}; only arrays and plain data are read'
                        ) from None
    except (pickle.UnpicklingError, ValueError, RecursionError):
        raise UserError(f'proposal_file {path} is neither a pickle of arrays nor JSON, or is damaged') from None


def _checked(proposals: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    proposals = proposals.fields if isinstance(proposals, _Instances) else proposals
    if not isinstance(proposals, Mapping) or 'bboxes' not in proposals:
        raise UserError(f'{where}: expected a dict of bboxes and scores')
    try:
        boxes = np.array(proposals['bboxes'], np.float32)
        boxes = boxes.reshape(-1, 4) if boxes.size == 0 else boxes
        scores = np.array(proposals.get('scores', np.zeros(len(boxes))), np.float32)
    except (TypeError, ValueError):
        raise UserError(f'{where}: bboxes or scores are no numbers') from None
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise UserError(f'{where}: bboxes are {boxes.shape} and scores {scores.shape}, but must be (P, 4) and (P,)')
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all() and (boxes[:, 2:] >= boxes[:, :2]).all()):
        raise UserError(f'{where}: bboxes must be finite x1, y1, x2, y2, and scores finite')
    return boxes, scores
