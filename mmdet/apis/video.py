"""Frames of video files and cameras, and video files of frames. Frames are (H, W, 3) uint8 BGR."""
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from mmdet.errors import MissingFileError, UserError

VIDEO_SUFFIXES = {'.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.gif'}
CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}


class Video:
    """A video file, a stream's URL or, by its number, a camera. Its frames are read by going through it.

    Attributes:
        name: what results are named by. fps: frames a second. num_frames: what the file says; 0 where it does not.

    Raises (when its frames are asked for):
        UserError: it cannot be read.
    """

    def __init__(self, source: str | int):
        self.source = source
        self.name = source if isinstance(source, str) else f'webcam{source}'
        is_live = not isinstance(source, str) or source.startswith(('rtsp://', 'rtmp://'))
        capture = cv2.VideoCapture(source)
        self.fps = capture.get(cv2.CAP_PROP_FPS) or 25.
        self.num_frames = 0 if is_live else max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.source)
        if capture.isOpened():
            return capture
        if not isinstance(self.source, str):
            raise UserError(f'there is no camera {self.source}')
        if '://' not in self.source and not os.path.exists(self.source):
            raise MissingFileError(f'video {self.source} does not exist')
        raise UserError(f'video {self.source} cannot be read: it is damaged or of a kind that OpenCV does not know. '
                        'ffmpeg -i FILE new.mp4 may mend it')

    def __iter__(self) -> Iterator[np.ndarray]:
        capture = self._open()
        count = 0
        try:
            while True:
                there, frame = capture.read()
                if not there:
                    break
                yield frame
                count += 1
        finally:
            capture.release()
        if count < self.num_frames:
            print_log(f'video {self.source} ends after {count} frames; its header says {self.num_frames}', 'current')


class VideoFile:
    """Writes a video; opened at the first frame, which tells the size.

    Raises UserError where the kind of file, by its suffix, cannot be written.
    """

    def __init__(self, path: str | Path, fps: float):
        self.path, self.fps = Path(path), fps
        if self.path.suffix.lower() not in CODECS:
            raise UserError(f'video {path} cannot be written: its name must end in {", ".join(CODECS)}')
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self.path), codec, self.fps, frame.shape[1::-1])
            if not self._writer.isOpened():
                raise UserError(f'video {self.path} cannot be written in {frame.shape[1]} x {frame.shape[0]} pixels')
        self._writer.write(np.ascontiguousarray(frame))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
