"""Pieces that need several processes: each test starts two that talk through gloo."""
import os
import re
import textwrap

import pytest
from warm_process import run_two

from mmdet.engine.distributed import _first_slurm_host, own_port, start_process_group
from mmdet.errors import UserError

NAMES = dict(pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
             mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'))


def run(code, tmp_path, launcher='pytorch'):
    """Run `code` in two processes that hold rank, world_size, dist, torch; return their outputs by rank."""
    script = tmp_path / 'script.py'
    script.write_text(textwrap.dedent('''
        import torch
        from torch import distributed as dist
        from mmdet.engine.distributed import start_process_group
        torch.set_num_threads(1)
        start_process_group(LAUNCHER, timeout=60)
        rank, world_size = dist.get_rank(), dist.get_world_size()
    ''').replace('LAUNCHER', repr(launcher)) + textwrap.dedent(code) + '\ndist.destroy_process_group()\n')
    # Some versions of PyTorch let gloo report its connections on stdout.
    return [re.sub(r'^\[Gloo\].*\n', '', out, flags=re.MULTILINE) for out in run_two(script, names=NAMES[launcher])]


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_processes_meet_on_the_cpu(tmp_path, launcher):
    outputs = run('''
        total = torch.tensor([rank + 1.])
        dist.all_reduce(total)
        print(dist.get_backend(), rank, world_size, total.item())
    ''', tmp_path, launcher)
    assert outputs == ['gloo 0 2 3.0\n', 'gloo 1 2 3.0\n']


def test_processes_leave_their_group_when_they_end(tmp_path):
    outputs = run('''
        import atexit
        atexit._run_exitfuncs()
        print(dist.is_initialized())
        dist.destroy_process_group = lambda: None
    ''', tmp_path)
    assert outputs == ['False\n'] * 2


def test_running_statistics_are_averaged_but_not_those_of_frozen_layers(tmp_path):
    outputs = run('''
        from torch import nn
        from types import SimpleNamespace
        from mmdet.engine.running_statistics import average_running_statistics
        model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2).eval(), nn.GroupNorm(1, 2))
        for norm in model[:2]:
            norm.running_mean += rank
            norm.running_var += 2 * rank
        average_running_statistics(SimpleNamespace(model=model, hooks=[]))
        print([norm.running_mean.tolist() + norm.running_var.tolist() for norm in model[:2]])
    ''', tmp_path)
    assert outputs == ['[[0.5, 0.5, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0]]\n',
                       '[[0.5, 0.5, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]]\n']


def test_random_states_are_gathered_by_rank(tmp_path):
    outputs = run('''
        from mmdet.engine.random_state import gather_random_states, set_random_state
        torch.manual_seed(rank)
        states = gather_random_states()
        drawn = torch.rand(1).item()
        set_random_state(states[1 - rank])
        print(drawn, torch.rand(1).item())
    ''', tmp_path)
    (own, other), (others_own, others_other) = (out.split() for out in outputs)
    assert own == others_other and other == others_own and own != other


def test_slurm_finds_the_first_machine(tmp_path, monkeypatch):
    script = tmp_path / 'scontrol'
    script.write_text('#!/bin/sh\n[ "$1 $2 $3" = "show hostnames node[3-4]" ] && printf "node3\\nnode4\\n"\n')
    script.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv('SLURM_NODELIST', 'node[3-4]')
    assert _first_slurm_host() == 'node3'


def test_slurm_jobs_that_share_a_machine_have_ports_of_their_own(monkeypatch):
    ports = []
    for job, step in [('', ''), ('71234', '0'), ('71235', '0'), ('71235', '1'), ('71235', '4294967290')]:
        for name, value in (('JOB', job), ('STEP', step)):
            monkeypatch.setenv(f'SLURM_{name}_ID', value) if value else monkeypatch.delenv(f'SLURM_{name}_ID', False)
        ports.append(own_port())
    assert ports[0] == 29500 and len(set(ports)) == 5 and all(1024 < port < 32768 for port in ports)


def test_a_process_whom_nobody_meets_says_where_it_waited(monkeypatch):
    for name, value in dict(RANK='1', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT='9').items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r'the 2 processes did not meet at 127.0.0.1:9 .*NODE_RANK'):
        start_process_group('pytorch', timeout=1)


def test_unknown_launcher():
    with pytest.raises(ValueError, match='unknown launcher .*pytorch, slurm, mpi'):
        start_process_group('torchrun')


def test_gradients_travel_in_bfloat16_or_over_a_static_graph_and_all_seeds_are_told(tmp_path):
    outputs = run('''
        import warnings
        from types import SimpleNamespace
        from mmengine.config import Config
        from torch import nn
        from mmdet.engine import Runner
        warnings.filterwarnings('error', '.*broadcast_buffers')

        def gradients(**options):
            torch.manual_seed(0)
            runner = Runner.__new__(Runner)
            runner._distributed, runner.cfg = True, Config()
            model = runner.wrap_model(options, nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)))
            for step in range(2):
                torch.manual_seed(10 * rank + step)
                model.zero_grad()
                model(torch.randn(2, 3, 12, 12)).square().mean().backward()
            return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        full = gradients()
        assert torch.equal(gradients(static_graph=True, broadcast_buffers=True), full)
        rough = gradients(gradient_dtype='bfloat16')  # each mean is rounded, and so is what either adds to it
        error = (rough - full).abs()
        assert 0 < error.max() and (error <= 2 ** -7 * full.abs() + 1e-3 * full.abs().max()).all()
        print(rough.double().sum().item(), rough.double().square().sum().item())
        try:
            gradients(gradient_dtype='float16')
        except ValueError as raised:
            assert "gradient_dtype='float16' must be 'bfloat16'" in str(raised)

        told = []
        runner = Runner.__new__(Runner)
        vars(runner).update(_seed=7 + rank, _deterministic=False, _launcher='pytorch', _world_size=2, cfg=Config(),
                            logger=SimpleNamespace(info=told.append))
        runner._log_env({})
        assert 'Seed       7, 8, deterministic False' in told[0]
    ''', tmp_path)
    assert outputs[0] == outputs[1] and len(outputs[0].split()) == 2
