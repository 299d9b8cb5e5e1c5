"""tools/browse_dataset.py: the pictures are those that the data set gives, objects drawn at their boxes."""
import base64
import re

import cv2
import numpy as np
from run_tool import run


def test_page_and_files_show_what_the_loader_gives(tiny, tmp_path):
    text = run('browse_dataset.py', tiny, '--not-show', '--num', 3, '--page', tmp_path / 'p/page.html', '--output-dir',
               tmp_path / 'out', cwd=tmp_path)
    assert '3 of 8 pictures' in text
    page = (tmp_path / 'p/page.html').read_text()
    pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
                for data in re.findall('base64,([^"]+)"', page)]
    files = [cv2.imread(str(path)) for path in sorted((tmp_path / 'out').iterdir())]
    assert len(pictures) == len(files) == 3 and max(pictures[0].shape) == 256  # after Resize
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(pictures, files, strict=True))
    captions = re.findall(r'figcaption>([^<]+)<', page)
    assert all(re.search(r'\d+ objects.*\n.* to \d+ x \d+', caption, re.DOTALL) for caption in captions)
    assert 'has no' in run('browse_dataset.py', tiny, '--cfg-options', 'val_dataloader=None', '--loader', 'val',
                           cwd=tmp_path, fails=True)
