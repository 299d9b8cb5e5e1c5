"""Builds the CUDA sources for the CPU; see cuda_runtime.h."""
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COMPILER = os.environ.get('CXX', 'g++')
FLAGS = ['-std=c++20', '-O1', '-U_FORTIFY_SOURCE', '-fPIC', '-fvisibility=hidden', '-ffp-contract=off',
         '-DCUDA_ON_CPU_ARCH=900', f'-I{HERE}', f'-I{torch.__path__[0]}/include']


def translate(source):
    """CUDA to C++, with the kernels registered for the CPU."""
    source = re.sub(r'extern __shared__ (?:__align__\(\d+\) )?((?:\w+ )*?)(\w+)\[\];',
                    r'auto* \2 = reinterpret_cast<\1*>(cuda_on_cpu::dynamic_shared);', source)
    source = re.sub(r'__shared__ ([^;]+);', _poisoned, source)
    source = source.replace('__CUDA_ARCH__', 'CUDA_ON_CPU_ARCH').replace('(mmdet, CUDA, m)', '(mmdet, CPU, m)')
    while '<<<' in source:
        source = _translate_launch(source)
    return source


def _poisoned(declaration):
    """Shared memory as a static variable that is overwritten when a block begins."""
    names = re.findall(r'(\w+)(?:\[[^]]*\])*(?:,|$)', re.sub('<[^<>]*>', '', declaration[1]))
    return f'static {declaration[1]}; ' + ' '.join(
        f'static uint64_t {name}_poisoned; cuda_on_cpu::poison({name}, {name}_poisoned);' for name in names)


def _translate_launch(source):
    """kernel<<<grid, threads>>>(arguments) to Launch{grid, threads}(kernel, arguments)."""
    start = source.index('<<<')
    end = source.index('>>>(', start)
    before = source[:start].rstrip()
    kernel = _callee(before)
    return (f'{before.removesuffix(kernel)}cuda_on_cpu::Launch{{{source[start + 3:end]}}}('
            f'[](auto... given) {{ {kernel}(given...); }}, {source[end + 4:]}')


def _callee(text):
    """The name that the text ends with, and its template's arguments."""
    start = len(text)
    if text.endswith('>'):
        depth = 0
        while True:
            start -= 1
            depth += (text[start] == '>') - (text[start] == '<')
            if depth == 0:
                break
    return re.search(r'\w+$', text[:start])[0] + text[start:]


def build(folder):
    """Copies package and tests to `folder`; the copy's extension has the CUDA kernels, for tensors on the CPU."""
    for name in ('mmdet', 'tests'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('_C.*', '__pycache__'))
    shutil.copy(ROOT / 'pyproject.toml', folder)
    csrc = folder / 'mmdet/ops/csrc'
    shutil.copy(HERE / 'cuda_launch.h', csrc)
    kernels = sorted(csrc.rglob('*.cu'))
    for path in (*kernels, *csrc.rglob('*.cuh'), csrc / 'host_device.h'):
        path.write_text(translate(path.read_text()))

    # Headers are most of what there is to compile.
    header = csrc / 'headers.h'
    header.write_text('#include <torch/csrc/stable/library.h>\n#include "cuda_launch.h"\n')
    subprocess.run([COMPILER, *FLAGS, '-w', '-x', 'c++-header', header, '-o', f'{header}.gch'], check=True)

    def compiled(source):
        out = source.with_suffix('.o')
        subprocess.run([COMPILER, *FLAGS, '-include', header, '-x', 'c++', '-c', source, '-o', out], check=True)
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, [*kernels, csrc / 'ops.cpp', csrc / 'encode_runs/encode_runs_cpu.cpp']))
    subprocess.run([COMPILER, '-shared', *objects, f'-L{torch.__path__[0]}/lib', '-ltorch_cpu', '-ltorch', '-o',
                    folder / 'mmdet/ops/_C.abi3.so'], check=True)
