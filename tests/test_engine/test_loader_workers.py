import os
import select
import signal
import time

import pytest

from mmdet.engine import loader_workers


@pytest.mark.skipif(not hasattr(signal, 'sigtimedwait'), reason='needs sigtimedwait')
def test_a_worker_ends_when_its_main_process_was_killed(monkeypatch):
    monkeypatch.setattr(loader_workers, 'SECONDS', 0.05)
    reading, writing = os.pipe()
    main = os.fork()
    if main == 0:
        if os.fork() == 0:
            loader_workers._start(None, 0)
            os.write(writing, b'.')
        time.sleep(20)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b'.'
    os.kill(main, signal.SIGKILL)
    os.waitpid(main, 0)
    assert select.select([reading], [], [], 10)[0] and os.read(reading, 1) == b''  # no process holds the other end
    os.close(reading)
