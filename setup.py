"""Builds mmdet/ops/csrc into one extension that runs on every later PyTorch and Python, with or without CUDA.

MMDET_CUDA=1 or 0 says whether CUDA kernels are built; unset, they are where nvcc is found.
TORCH_CUDA_ARCH_LIST names the GPU architectures in PyTorch's notation ('8.0;9.0+PTX').
MMDET_OPS=torchvision builds nothing, MMDET_OPS=mmdet makes a missing compiler an error; without one torchvision.ops
serves.
"""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path('mmdet/ops/csrc')
OLDEST_TORCH = '0x020a000000000000'  # 2.10: only its functions are used, and every later one still has them
ARCHITECTURES = ('7.5', '8.0', '9.0')  # the rest run the nearest older one, or compile it when first used


def torch_folder():
    spec = importlib.util.find_spec('torch')  # importing it would take seconds
    if spec is None:
        raise SystemExit('torch is needed to build mmdet-norms: pip install torch, then pip install --no-build-isolation')
    return Path(spec.origin).parent


def has_compiler():
    if sys.platform == 'win32':
        return False
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.sysconfig import customize_compiler
    compiler = new_compiler()
    customize_compiler(compiler)
    return shutil.which(compiler.compiler_cxx[0]) is not None


def find_nvcc():
    homes = [os.environ.get('CUDA_HOME'), os.environ.get('CUDA_PATH')]
    candidates = [Path(home, 'bin', 'nvcc') for home in homes if home] + ['nvcc', '/usr/local/cuda/bin/nvcc']
    return next(filter(None, map(shutil.which, candidates)), None)


def cuda_toolkit(nvcc):
    """The folder of nvcc's include and lib, as it says itself: the nvcc on PATH may be a wrapper that stands elsewhere."""
    plan = subprocess.run([nvcc, '--dryrun', 'any.cu'], capture_output=True, text=True).stderr
    top = re.search(r'^#\$ TOP=(.+)$', plan, re.MULTILINE)
    return Path(top.group(1)).resolve() if top else Path(nvcc).resolve().parents[1]


def static_cuda_runtime(toolkit):
    for folder in ('lib64', 'lib', 'targets/x86_64-linux/lib', 'targets/sbsa-linux/lib', 'targets/aarch64-linux/lib'):
        library = toolkit / folder / 'libcudart_static.a'
        if library.exists():
            return str(library)
    raise SystemExit(f'{toolkit} holds no libcudart_static.a: install the whole CUDA toolkit, or set MMDET_CUDA=0')


def architecture_flags(nvcc):
    """Machine code for each architecture, and the newest as PTX, which later GPUs compile for themselves."""
    named = os.environ.get('TORCH_CUDA_ARCH_LIST', '').replace(' ', ';').split(';')
    named = [name for name in named if name]
    if not named:
        known = subprocess.run([nvcc, '--list-gpu-code'], capture_output=True, text=True).stdout.split()
        named = [name for name in ARCHITECTURES if f'sm_{name.replace(".", "")}' in known]
        named[-1] += '+PTX'
    flags = []
    for name in named:
        match = re.fullmatch(r'(\d+)\.(\d[af]?)(\+PTX)?', name)
        if match is None:
            raise SystemExit(f'TORCH_CUDA_ARCH_LIST: {name!r} is no architecture such as 8.0, 9.0a or 9.0+PTX')
        number = match[1] + match[2]
        flags.append(f'-gencode=arch=compute_{number},code=sm_{number}')
        if match[3]:
            flags.append(f'-gencode=arch=compute_{number},code=compute_{number}')
    return flags


class BuildOps(build_ext):
    def build_extension(self, extension):
        nvcc = self._nvcc_wanted()
        torch = torch_folder()
        includes = [str(torch / 'include')]
        defines = [f'-DTORCH_TARGET_VERSION={OLDEST_TORCH}', '-std=c++20', '-O3']
        library_folder = torch / 'lib'
        linked = ['-s'] if sys.platform == 'linux' else []
        sources = sorted(CSRC.rglob('*.cpp'))
        if nvcc:
            sources += sorted(CSRC.rglob('*.cu'))
            linked += [static_cuda_runtime(cuda_toolkit(nvcc)), '-lrt', '-lpthread', '-ldl']
            nvcc_flags = architecture_flags(nvcc)

        def compile_one(source):
            if source.suffix == '.cpp':
                flags = [*defines, '-g0', '-fvisibility=hidden', '-ffp-contract=off']
                return self.compiler.compile([str(source)], self.build_temp, include_dirs=includes, extra_postargs=flags)[0]
            target = Path(self.build_temp, source.with_suffix('.cu.o'))
            target.parent.mkdir(parents=True, exist_ok=True)
            toolkit_include = cuda_toolkit(nvcc) / 'include'
            self.spawn([nvcc, '-c', str(source), '-o', str(target), '-I', *includes, '-I', str(toolkit_include), *defines,
                        *nvcc_flags, '-Xcompiler=-fPIC,-fvisibility=hidden', '-Xcudafe=--diag_suppress=177'])
            return str(target)

        with ThreadPoolExecutor(int(os.environ.get('MAX_JOBS') or os.cpu_count())) as pool:
            objects = list(pool.map(compile_one, sources))
        # libtorch, not libtorch_cuda: a CPU-only PyTorch has no such file, and on others libtorch brings it along.
        needed = ['-Wl,--no-as-needed'] if sys.platform == 'linux' else []
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(extension.name), library_dirs=[str(library_folder)],
            extra_preargs=needed, libraries=['torch_cpu', 'torch'], extra_postargs=linked, target_lang='c++')

    def _nvcc_wanted(self):
        choice = os.environ.get('MMDET_CUDA', '')
        if choice not in ('', '0', '1'):
            raise SystemExit(f'MMDET_CUDA={choice!r}: must be 1, 0 or unset')
        nvcc = find_nvcc() if choice != '0' else None
        if choice == '1' and nvcc is None:
            raise SystemExit('MMDET_CUDA=1, but there is no nvcc on PATH, under CUDA_HOME or in /usr/local/cuda')
        print(f'mmdet-norms: CPU and CUDA kernels ({nvcc})' if nvcc else 'mmdet-norms: CPU kernels only')
        return nvcc

    def copy_file(self, source, target, **options):
        """Into the checkout, in one move: a process that has the old extension open keeps it whole."""
        partial = f'{target}.{os.getpid()}'
        copied = super().copy_file(source, partial, **options)
        os.replace(partial, target)
        return target, copied[1]


def extensions():
    choice = os.environ.get('MMDET_OPS', '')
    if choice == 'torchvision':
        print('mmdet-norms: MMDET_OPS=torchvision, so nothing is compiled')
        return []
    if not has_compiler():
        if choice == 'mmdet':
            raise SystemExit('MMDET_OPS=mmdet, but no C++ compiler was found')
        print('mmdet-norms: no C++ compiler was found, so torchvision.ops will serve')
        return []
    # The sources are looked up when they are built; these lines only make setuptools pack them.
    return [Extension('mmdet.ops._C', sources=[str(CSRC / 'ops.cpp')], py_limited_api=True)]


setup(ext_modules=extensions(), cmdclass={'build_ext': BuildOps}, options={'bdist_wheel': {'py_limited_api': 'cp310'}})
