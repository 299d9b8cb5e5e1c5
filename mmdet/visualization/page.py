"""A page of pictures: one HTML file that needs no other."""
import base64
import html
from pathlib import Path

import cv2
import numpy as np

HEAD = '''<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px sans-serif; margin: 16px; background: #f4f4f4 }}
main {{ display: flex; flex-wrap: wrap; gap: 12px; align-items: flex-start }}
figure {{ margin: 0; padding: 6px; background: white; width: 400px }} img {{ width: 100% }}
figcaption {{ overflow-wrap: anywhere; white-space: pre-line }}
</style></head><body><h1>{title}</h1><p>{text}</p><main>
'''


class Page:
    """Writes pictures with captions into the file `path`, as they come; a click on one shows it in its full size.

    Args:
        path: an .html file; folders that are missing are made.
        title, text: stand at its top.
    """

    def __init__(self, path: Path, title: str, text: str = ''):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open('w', encoding='utf-8')
        self._file.write(HEAD.format(title=html.escape(title), text=html.escape(text)))

    def add(self, image: np.ndarray, caption: str) -> None:
        """Add an (H, W, 3) uint8 RGB picture."""
        jpeg = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        data = base64.b64encode(jpeg.tobytes()).decode()
        self._file.write(f'<figure><img loading="lazy" onclick="open().document.write(this.outerHTML)" '
                         f'src="data:image/jpeg;base64,{data}"><figcaption>{html.escape(caption)}</figcaption>'
                         '</figure>\n')

    def close(self) -> None:
        self._file.write('</main></body></html>\n')
        self._file.close()
