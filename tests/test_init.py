import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def import_beside(folder):
    path = os.pathsep.join([str(ROOT), str(folder)])
    return subprocess.run([sys.executable, '-c', 'import mmdet; print(mmdet.__version__)'],
                          env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True)


def test_imports_alone(tmp_path):
    assert import_beside(tmp_path).returncode == 0


def test_refuses_mmdetection_beside_it(tmp_path):
    metadata = tmp_path / 'mmdet-3.3.0.dist-info' / 'METADATA'
    metadata.parent.mkdir()
    metadata.write_text('Metadata-Version: 2.1\nName: mmdet\nVersion: 3.3.0\n')
    done = import_beside(tmp_path)
    assert done.returncode != 0 and 'pip uninstall mmdet' in done.stderr
