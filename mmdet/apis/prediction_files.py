"""JSON files of predictions: one of each picture, one of all frames of a video."""
import json
from pathlib import Path
from typing import IO

from mmdet.engine.result_names import ResultNames

from .detected import Detected
from .video import Video


class PredictionFiles:
    """Writes FOLDER/NAME.json: labels, scores, bboxes and masks (RLE); of a video the list of these."""

    def __init__(self, folder: str | Path, names: ResultNames):
        self.folder, self.names = folder, names
        self.video: Video | None = None
        self.file: IO[str] | None = None

    def write(self, detected: Detected) -> None:
        video = detected.picture.video
        text = json.dumps(detected.record.prediction)
        if video is None:
            self._open(detected.picture.name).write(text)
            self.close()
        elif video is self.video and self.file is not None:
            self.file.write(',\n' + text)
        else:
            self.close()
            self.video = video
            self._open(video.name).write('[' + text)

    def _open(self, name: str) -> IO[str]:
        path = Path(self.folder, self.names(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, 'w', encoding='utf-8')
        return self.file

    def close(self) -> None:
        if self.file is not None:
            self.file.write(']' if self.video is not None else '')
            self.file.close()
        self.file = self.video = None
