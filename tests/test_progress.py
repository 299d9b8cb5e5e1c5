import io
import sys

from mmdet import progress as module
from mmdet.progress import progress


def test_lines_in_a_pipe_a_bar_on_a_terminal(monkeypatch):
    clock = iter(range(0, 1000, 11))
    monkeypatch.setattr(module.time, 'monotonic', lambda: next(clock))
    pipe = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', pipe)
    assert list(progress(range(12), 'reading')) == list(range(12))
    # Seconds 0, 11, 22, 33: told at the third item, and once more each time more than 30 have gone by.
    assert pipe.getvalue().splitlines()[0] == 'reading: 2 of 12' and 2 <= len(pipe.getvalue().splitlines()) <= 4
    assert list(progress(iter('abc'), 'detecting')) == ['a', 'b', 'c'] and pipe.getvalue().endswith('detecting: 2\n')
    assert list(progress(iter('abc'), 'detecting', 3)) and pipe.getvalue().endswith('detecting: 2 of 3\n')

    monkeypatch.undo()
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, 'stderr', terminal)
    assert list(progress({'a': 1, 'b': 2}, 'reading')) == ['a', 'b']
