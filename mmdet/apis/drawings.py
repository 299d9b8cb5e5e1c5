"""Pictures and videos with the detections drawn in."""
import os
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.fileio import get

from mmdet.engine.result_names import ResultNames
from mmdet.errors import UserError
from mmdet.visualization import DetLocalVisualizer

from .detected import Detected
from .video import CODECS, Video, VideoFile


class Drawings:
    """Draws what is detected, and writes it as FOLDER/NAME.jpg, a video's frames as one video, or shows it.

    Args:
        folder: None: write nothing.
        names: the name of the drawing of each picture.
        video_path: name of the drawn video; by default FOLDER/NAME.
        wait_time: seconds that `show` shows a picture, 0: until a key is pressed; frames of a video by their rate.
    """

    def __init__(self, visualizer: DetLocalVisualizer, names: ResultNames, folder: str | Path | None = None,
                 show: bool = False, wait_time: float = 0, draw_pred: bool = True, pred_score_thr: float = 0.3,
                 video_path: str | Path | None = None):
        self.visualizer, self.names, self.folder, self.video_path = visualizer, names, folder, video_path
        self.show, self.wait_time = show, wait_time
        self.draw_pred, self.pred_score_thr = draw_pred, pred_score_thr
        self.video: Video | None = None
        self.file: VideoFile | None = None

    def write(self, detected: Detected) -> np.ndarray:
        """The drawing, (H, W, 3) uint8 RGB."""
        name, video = detected.picture.name, detected.picture.video
        picture_name = self.names(name if video is None else video.name)
        out_file = None if video is not None or self.folder is None else str(Path(self.folder, picture_name))
        self.visualizer.add_datasample(picture_name, _rgb(detected.image), detected.sample, draw_gt=False,
                                       draw_pred=self.draw_pred, show=self.show and video is None,
                                       wait_time=self.wait_time, out_file=out_file, pred_score_thr=self.pred_score_thr)
        drawing = self.visualizer.get_image()
        if video is not None:
            self._write_frame(video, picture_name, drawing[..., ::-1])
        return drawing

    def _write_frame(self, video: Video, name: str, frame: np.ndarray) -> None:
        if video is not self.video and (self.folder is not None or self.video_path is not None):
            self.close()
            name = name.removesuffix('.jpg')  # by which a picture could be saved
            name += '' if os.path.splitext(name)[1].lower() in CODECS else '.mp4'
            self.video = video
            self.file = VideoFile(self.video_path or Path(str(self.folder), name), video.fps)
        if self.file is not None:
            self.file.write(frame)
        if self.show:
            try:
                cv2.imshow(name, frame)
                key = cv2.waitKey(max(round(self.wait_time * 1000), 0 if self.wait_time == 0 else 1))
            except cv2.error as error:
                raise UserError('--show needs a screen and an OpenCV with windows (opencv-python, not '
                                f'opencv-python-headless): {str(error).splitlines()[0]}') from None
            if key in (27, ord('q')):
                raise KeyboardInterrupt

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def _rgb(image: str | np.ndarray) -> np.ndarray:
    return image[..., ::-1] if isinstance(image, np.ndarray) else mmcv.imfrombytes(get(image), channel_order='rgb')
