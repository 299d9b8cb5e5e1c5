"""Tables on the disk: shared, made anew when the file changes or they are broken, and never in the way."""
import json
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mmdet.datasets.annotations import build, cache, read_annotations
from mmdet.datasets.annotations import read as read_module


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the tables; also small and new files have one."""
    monkeypatch.setattr(cache, 'SMALLEST', 0)
    monkeypatch.setattr(cache, 'UNSETTLED', 0)
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def builds(monkeypatch):
    """The paths of the files that were read and not taken from the cache."""
    paths = []

    def counted(entries, path):
        paths.append(path)
        return build.build_table(entries, path)
    monkeypatch.setattr(read_module, 'build_table', counted)
    return paths


@pytest.fixture
def path(write, coco):
    coco['annotations'][0]['segmentation'] = [[1, 2, 9, 2, 9, 8]]
    coco['annotations'].append(dict(image_id=3, category_id=7, bbox=[1, 2, 3, 4],
                                    segmentation=dict(size=[20, 30], counts=[600])))
    return write(coco)


def assert_equal(one, other):
    for name, array in one.arrays.items():
        assert np.array_equal(array, other.arrays[name]) and array.dtype == other.arrays[name].dtype, name


def tables(folder):
    return [file for file in folder.iterdir() if file.suffix != '.lock']


def test_a_file_is_read_once(path, folder, builds):
    first, second = read_annotations(path), read_annotations(path)
    assert len(builds) == 1 and first.mapped_from == second.mapped_from == tables(folder)[0]
    built = build.build_table(read_module.read_entries(path, None), path)
    assert built.mapped_from is None
    assert_equal(built, second)
    assert second.segmentation(0) == [[1, 2, 9, 2, 9, 8]] and second.segmentation(1)['size'] == [20, 30]
    assert not second.boxes.flags.writeable
    copied = pickle.dumps(second)
    assert len(copied) < 1000
    assert_equal(pickle.loads(copied), second)
    tables(folder)[0].unlink()
    assert_equal(pickle.loads(pickle.dumps(second)), second)


def test_a_changed_file_is_read_anew(path, coco, folder, builds):
    read_annotations(path)
    status = os.stat(path)
    coco['annotations'][0]['bbox'] = [2, 1, 8, 9]  # as many bytes
    with open(path, 'r+') as file:
        file.write(json.dumps(coco))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and the old time
    assert os.stat(path).st_size == status.st_size
    assert read_annotations(path).boxes[0].tolist() == [2, 1, 8, 9] and len(builds) == 2
    assert len(tables(folder)) == 1  # the old one is gone


def test_a_broken_table_is_made_anew(path, folder, builds):
    read_annotations(path)
    whole = tables(folder)[0].read_bytes()
    for i, broken in enumerate((b'', whole[:50], whole[:-1], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
                                whole[:-70] + bytes([whole[-70] ^ 4]) + whole[-69:], b'x' + whole, whole + b'x')):
        tables(folder)[0].write_bytes(broken)
        assert read_annotations(path).num_objects == 2
        assert len(builds) == i + 2 and tables(folder)[0].read_bytes() == whole


def test_a_folder_that_cannot_be_written(path, folder, builds, log, monkeypatch):
    folder.write_text('a file in its place')
    assert read_annotations(path).num_objects == 2 and 'MMDET_CACHE' in log.text
    folder.unlink()

    def full(table, path):
        path.write_bytes(b'half')
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(cache, 'save_table', full)
    assert read_annotations(path).num_objects == 2 and 'No space left' in log.text and not tables(folder)
    monkeypatch.setenv(cache.FOLDER, 'off')
    assert read_annotations(path).mapped_from is None and len(builds) == 3


def test_a_file_that_was_just_written_may_still_change(path, folder, monkeypatch):
    monkeypatch.setattr(cache, 'UNSETTLED', 2)
    assert read_annotations(path).mapped_from is None


def test_one_of_several_processes_builds(path, folder, builds, monkeypatch):
    """Threads stand for processes: a lock belongs to whoever has opened its file."""
    build_table = read_module.build_table

    def slow(entries, path):
        time.sleep(0.2)
        return build_table(entries, path)
    monkeypatch.setattr(read_module, 'build_table', slow)
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(read_annotations, [path] * 3)
    assert len(builds) == 1
    for other in others:
        assert_equal(first, other)
