"""Builds mmdet/ops/csrc into one extension that runs on every later PyTorch and Python, with or without CUDA.

MMDET_CUDA=1 or 0 says whether CUDA kernels are built; unset, they are where nvcc is found.
TORCH_CUDA_ARCH_LIST names the GPU architectures in PyTorch's notation ('8.0;9.0+PTX').
MMDET_OPS=torchvision builds nothing, MMDET_OPS=mmdet makes a missing compiler an error; unset, torchvision.ops serves
where there is none.
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
# Of these, those that nvcc knows. Other GPUs run the nearest older one or compile the newest for themselves.
ARCHITECTURES = ('7.5', '8.0', '9.0', '10.0', '12.0')
FLAGS = ['-std=c++20', '-O3', f'-DTORCH_TARGET_VERSION={OLDEST_TORCH}']


def choice(variable, *known):
    value = os.environ.get(variable, '')
    if value not in ('', *known):
        raise SystemExit(f'{variable}={value!r}: must be {" or ".join(known)}, or unset')
    return value


def find_compiler():
    """The C++ compiler that setuptools would call: CXX, or the one Python was built with."""
    if sys.platform == 'win32':  # the flags here are those of GCC and Clang
        return None
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.sysconfig import customize_compiler
    compiler = new_compiler()
    customize_compiler(compiler)
    return shutil.which(compiler.compiler_cxx[0])


def find_torch():
    spec = importlib.util.find_spec('torch')  # importing it would take seconds
    if spec is None:
        raise SystemExit('torch is needed to build mmdet-norms: pip install -r requirements.txt comes first')
    return Path(spec.origin).parent


def find_nvcc():
    homes = [os.environ.get('CUDA_HOME'), os.environ.get('CUDA_PATH')]
    candidates = [f'{home}/bin/nvcc' for home in homes if home] + ['nvcc', '/usr/local/cuda/bin/nvcc']
    return next(filter(None, map(shutil.which, candidates)), None)


def cuda_toolkit(nvcc):
    """The folder of CUDA's headers and libraries by nvcc's own word: the one on PATH may be a wrapper elsewhere."""
    plan = subprocess.run([nvcc, '--dryrun', 'any.cu'], capture_output=True, text=True).stderr
    top = re.search(r'^#\$ TOP=(.+)$', plan, re.MULTILINE)
    return Path(top[1]).resolve() if top else Path(nvcc).resolve().parents[1]


def static_cuda_runtime(toolkit):
    for folder in ('lib64', 'lib', 'targets/x86_64-linux/lib', 'targets/sbsa-linux/lib', 'targets/aarch64-linux/lib'):
        library = toolkit / folder / 'libcudart_static.a'
        if library.exists():
            return str(library)
    raise SystemExit(f'{toolkit} holds no libcudart_static.a: install the whole CUDA toolkit, or set MMDET_CUDA=0')


def architecture_flags(nvcc):
    named = os.environ.get('TORCH_CUDA_ARCH_LIST', '').replace(';', ' ').split()
    if not named:
        known = subprocess.run([nvcc, '--list-gpu-code'], capture_output=True, text=True).stdout.split()
        named = [name for name in ARCHITECTURES if 'sm_' + name.replace('.', '') in known]
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


def size(source):
    return source.stat().st_size


def joined(sources, folder, count):
    """The CUDA sources in `count` files that include them: nvcc reads PyTorch's headers for longer than a kernel."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [[] for _ in range(min(count, len(sources)))]
    for source in sorted(sources, key=size, reverse=True):
        min(parts, key=lambda part: sum(map(size, part))).append(source)
    paths = [folder / f'kernels_{i}.cu' for i in range(len(parts))]
    for path, part in zip(paths, parts):
        path.write_text(''.join(f'#include "{source.as_posix()}"\n' for source in sorted(part)))
    return paths


class BuildOps(build_ext):
    def build_extension(self, extension):
        nvcc = find_nvcc() if choice('MMDET_CUDA', '0', '1') != '0' else None
        if nvcc is None and os.environ.get('MMDET_CUDA') == '1':
            raise SystemExit('MMDET_CUDA=1, but there is no nvcc on PATH, under CUDA_HOME or in /usr/local/cuda')
        print(f'mmdet-norms: building kernels for CPU{f" and CUDA ({nvcc})" if nvcc else " only"}')
        includes, libraries = [str(find_torch() / 'include')], []
        sources = sorted(CSRC.rglob('*.cpp'), key=size, reverse=True)  # what takes long begins first
        jobs = int(os.environ.get('MAX_JOBS') or os.cpu_count())
        if nvcc:
            toolkit = cuda_toolkit(nvcc)
            includes.append(str(toolkit / 'include'))
            libraries = [static_cuda_runtime(toolkit), '-lrt', '-lpthread', '-ldl']
            nvcc_flags = [f'-I{folder}' for folder in (*includes, '.')] + architecture_flags(nvcc)
            sources = joined(list(CSRC.rglob('*.cu')), Path(self.build_temp), jobs) + sources

        def compiled(source):
            if source.suffix == '.cpp':
                # Without fused multiply-adds all processors give the same bits.
                flags = [*FLAGS, '-g0', '-fvisibility=hidden', '-ffp-contract=off']
                return self.compiler.compile([str(source)], self.build_temp, include_dirs=includes,
                                             extra_postargs=flags)[0]
            target = source.with_suffix('.cu.o')
            self.spawn([nvcc, '-c', str(source), '-o', str(target), *FLAGS, *nvcc_flags,
                        '-Xcompiler=-fPIC,-fvisibility=hidden'])
            return str(target)

        with ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(compiled, sources))
        linux = sys.platform == 'linux'
        # libtorch stays named though nothing of it is called: it brings libtorch_cuda along where PyTorch has one.
        self.compiler.link_shared_object(
            objects, self.get_ext_fullpath(extension.name), libraries=['torch_cpu', 'torch'],
            library_dirs=[str(find_torch() / 'lib')], target_lang='c++',
            extra_preargs=['-Wl,--no-as-needed'] if linux else [], extra_postargs=libraries + ['-s'] * linux)

    def copy_file(self, source, target, **options):
        """Into the checkout in one move: a process that has the old extension open keeps it whole."""
        partial = f'{target}.{os.getpid()}'
        _, copied = super().copy_file(source, partial, **options)
        os.replace(partial, target)
        return target, copied


def extensions():
    wanted = choice('MMDET_OPS', 'mmdet', 'torchvision')
    if wanted == 'torchvision':
        return []
    if find_compiler() is None:
        if wanted == 'mmdet':
            raise SystemExit('MMDET_OPS=mmdet, but there is no C++ compiler: install one, or name it by CXX')
        print('mmdet-norms: there is no C++ compiler, so torchvision.ops will serve')
        return []
    # Only the name counts: build_extension looks the sources up.
    return [Extension('mmdet.ops._C', [str(CSRC / 'ops.cpp')], py_limited_api=True)]


if __name__ == '__main__':
    setup(ext_modules=extensions(), cmdclass={'build_ext': BuildOps},
          options={'bdist_wheel': {'py_limited_api': 'cp310'}})
