"""Times functions that do the same work in turns, so that other load on the machine affects them alike."""
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


def alternate(steps: Mapping[str, Callable], repeats: int, warmup: int = 2) -> dict[str, list[float]]:
    """Seconds of each call: all functions in turn, `repeats` times, after `warmup` rounds that do not count."""
    times = {name: [] for name in steps}
    for i in range(-warmup, repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if i >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def rows(title: str, times: Mapping[str, list[float]], baseline: str) -> list[list[str]]:
    """Table rows: title, name, median in ms, quartiles, ratio to the median of `baseline`."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    lines = []
    for name, values in times.items():
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        lines.append([title, name, f'{medians[name] * 1e3:.3g}', f'{low * 1e3:.3g} to {high * 1e3:.3g}',
                      ratio(medians[name], medians[baseline]) if baseline in medians else ''])
    return lines


def ratio(value: float, base: float) -> str:
    """Two decimals, or two significant digits where it is small."""
    return f'{value / base:.2f}' if value > 0.1 * base else f'{value / base:.2g}'


HEAD = ['what', 'who', 'median ms', 'quartiles', 'ratio']


def markdown(lines: list[list[str]], head: list[str] = HEAD) -> str:
    """A table with columns of even width."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    table = [head, ['-' * width for width in widths], *lines]
    return '\n'.join('| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + ' |'
                     for row in table)


def machine() -> str:
    """One line that says where and with what was measured."""
    if torch.cuda.is_available():
        device = f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'
    else:
        info = Path('/proc/cpuinfo').read_text() if Path('/proc/cpuinfo').exists() else ''
        names = [line.partition(':')[2].strip() for line in info.splitlines() if line.startswith('model name')]
        device = f'{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads'
    return f'{time.strftime("%Y-%m-%d")}: {device}, PyTorch {torch.__version__}, Python {platform.python_version()}'


def most_memory(device: str) -> float:
    """MiB that the process ever held: in tensors on a GPU, in all on a CPU."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Of this program alone: getrusage starts from what the parent held.
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
    return int(line.split()[1]) / 1024
