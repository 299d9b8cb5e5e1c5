import json

import pytest


@pytest.fixture
def coco():
    """An image 20 high and 30 wide with one object."""
    return dict(images=[dict(id=3, file_name='a.jpg', height=20, width=30)], categories=[dict(id=7, name='cat')],
                annotations=[dict(id=5, image_id=3, category_id=7, bbox=[1, 2, 8, 9])])


@pytest.fixture
def write(tmp_path):
    """Data or bytes to a file; its path."""
    def write(data, name='ann.json'):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return str(path)
    return write
