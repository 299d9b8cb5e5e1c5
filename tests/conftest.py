"""What all tests share. Those marked gpu are taken up only where there is one; the last line says what did not run."""
import gc
import logging
import os
from collections import Counter

import pytest

os.environ.setdefault('OMP_NUM_THREADS', '1')  # two workers, and what they start, would fight for the cores
NEED_GPU = pytest.StashKey[int]()
# Files of which one lasts as long as fifty others: of several workers none should meet them last.
SLOW = ('test_cuda_on_cpu', 'test_tools', 'test_analysis', 'test_configs', 'test_runner', 'test_compile',
        'test_site')


def pytest_collection_modifyitems(config, items):
    import torch  # not above: the process that only hands the tests out does without
    items.sort(key=lambda item: item.path.stem not in SLOW)
    if not torch.cuda.is_available():
        need_gpu = {item for item in items if item.get_closest_marker('gpu')}
        items[:] = [item for item in items if item not in need_gpu]
        config.hook.pytest_deselected(items=need_gpu)
        config.stash[NEED_GPU] = len(need_gpu)


def pytest_collection_finish():
    gc.freeze()  # every data set collects garbage, which would look through all of PyTorch each time


def pytest_unconfigure():
    gc.unfreeze()  # else libraries report at exit what they never freed


def pytest_sessionfinish(session):
    if hasattr(session.config, 'workeroutput'):  # in a worker of pytest-xdist: its parent prints the summary
        session.config.workeroutput['need_gpu'] = session.config.stash.get(NEED_GPU, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[NEED_GPU] = getattr(node, 'workeroutput', {}).get('need_gpu', 0)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    reasons = Counter({'need a GPU, and there is none': config.stash.get(NEED_GPU, 0)})
    for report in terminalreporter.stats.get('skipped', []):
        reasons[report.longrepr[2].removeprefix('Skipped: ')] += 1
    told = '; '.join(f'{count} {reason}' for reason, count in reasons.most_common() if count)
    terminalreporter.write_line(f'not run: {told or "nothing"}')


@pytest.fixture
def log(caplog):
    """What is logged through mmengine's current logger."""
    from mmengine.logging import MMLogger
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    yield caplog
    logger.removeHandler(caplog.handler)
