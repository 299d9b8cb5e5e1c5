"""The build finds compilers and CUDA where machines really keep them."""
import os
import runpy
from pathlib import Path

import pytest

SETUP = runpy.run_path(str(Path(__file__).parents[1] / 'setup.py'))


def executable(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(['#!/bin/sh', *lines, '']))
    path.chmod(0o755)
    return path


@pytest.fixture
def no_cuda(monkeypatch, tmp_path):
    for variable in ('CUDA_HOME', 'CUDA_PATH', 'TORCH_CUDA_ARCH_LIST', 'MMDET_OPS'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'), prepend=os.pathsep)


@pytest.mark.parametrize('folder', ['lib64', 'lib', 'targets/x86_64-linux/lib'])
def test_toolkit_behind_a_wrapper(no_cuda, tmp_path, folder):
    """nvcc on PATH hands over to a toolkit elsewhere, and only that toolkit knows where it is."""
    library = tmp_path / 'toolkit' / folder / 'libcudart_static.a'
    library.parent.mkdir(parents=True)
    library.touch()
    real = executable(tmp_path / 'toolkit/bin/nvcc', f'echo "#$ TOP={tmp_path}/toolkit/bin/.." >&2')
    wrapper = executable(tmp_path / 'bin/nvcc', f'exec {real} "$@"')
    nvcc = SETUP['find_nvcc']()
    assert nvcc == str(wrapper)
    assert SETUP['cuda_toolkit'](nvcc) == tmp_path / 'toolkit'
    assert SETUP['static_cuda_runtime'](tmp_path / 'toolkit') == str(library)


def test_cuda_home_comes_first(no_cuda, tmp_path, monkeypatch):
    executable(tmp_path / 'bin/nvcc')
    chosen = executable(tmp_path / 'other/bin/nvcc')
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'other'))
    assert SETUP['find_nvcc']() == str(chosen)


def test_half_a_toolkit_is_named(tmp_path):
    with pytest.raises(SystemExit, match='no libcudart_static.a'):
        SETUP['static_cuda_runtime'](tmp_path)


def test_default_architectures_are_those_nvcc_knows(no_cuda, tmp_path):
    nvcc = executable(tmp_path / 'bin/nvcc', 'echo sm_80; echo sm_90; echo sm_120; echo sm_130')
    assert SETUP['architecture_flags'](str(nvcc)) == [
        '-gencode=arch=compute_80,code=sm_80', '-gencode=arch=compute_90,code=sm_90',
        '-gencode=arch=compute_120,code=sm_120', '-gencode=arch=compute_120,code=compute_120']


def test_chosen_architectures(no_cuda, monkeypatch):
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '8.6;9.0a+PTX')
    assert SETUP['architecture_flags']('nvcc') == [
        '-gencode=arch=compute_86,code=sm_86', '-gencode=arch=compute_90a,code=sm_90a',
        '-gencode=arch=compute_90a,code=compute_90a']
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', 'Ampere')
    with pytest.raises(SystemExit, match="'Ampere' is no architecture"):
        SETUP['architecture_flags']('nvcc')


def test_without_a_compiler(no_cuda, monkeypatch, capsys):
    monkeypatch.setenv('CXX', '/nowhere/c++')
    assert SETUP['extensions']() == []
    assert 'no C++ compiler, so torchvision.ops will serve' in capsys.readouterr().out
    monkeypatch.setenv('MMDET_OPS', 'mmdet')
    with pytest.raises(SystemExit, match='no C\\+\\+ compiler'):
        SETUP['extensions']()


def test_nothing_is_built_when_told_so(no_cuda, monkeypatch):
    monkeypatch.setenv('MMDET_OPS', 'torchvision')
    assert SETUP['extensions']() == []


def test_unknown_choices_are_refused(monkeypatch):
    monkeypatch.setenv('MMDET_CUDA', 'yes')
    with pytest.raises(SystemExit, match="MMDET_CUDA='yes': must be 0 or 1, or unset"):
        SETUP['choice']('MMDET_CUDA', '0', '1')
