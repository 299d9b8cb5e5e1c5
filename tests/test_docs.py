"""What the documents name exists: links, headings, files, commands, options, the version."""
import ast
import re
from pathlib import Path

import pytest

import mmdet
from mmdet.engine.check_config import check_config
from mmdet.engine.config import read_config
from mmdet.utils import register_all_modules

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'),
                *(page for folder in ('configs', 'docs', 'tests') for page in (ROOT / folder).rglob('*.md'))])
FOLDERS = '|'.join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ('data', 'work_dirs'))
SOURCES = [path.read_text() for files in ('tools/**/*.py', 'mmdet/engine/**/*.py', 'tests/mutation.py')
           for path in ROOT.glob(files)]
# Of pip, setup.py, argparse, torchrun, Slurm, docker, mkdocs and detectron2.
FOREIGN = {'--no-build-isolation', '--no-deps', '--no-index', '--find-links', '--index-url', '--inplace', '--help',
           '--signal', '--max-restarts', '--nnodes', '--nproc-per-node', '--rdzv-backend', '--rdzv-endpoint',
           '--rdzv-id', '--shm-size', '--ipc', '--config-file', '--num-gpus', '--eval-only', '--strict'}


def anchors(page):
    """Names of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.+)$', page.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


def test_pages_are_found():
    assert {'README.md', 'INSTALL.md', 'CONTRIBUTING.md', 'benchmarks.md', 'norms.md'} <= {page.name for page in PAGES}


def test_links_and_names(subtests):
    for page in PAGES:
        with subtests.test(page.name):
            text = page.read_text()
            for link in re.findall(r'\]\(([^)\s]+)\)', text):
                if not re.match(r'https?://|mailto:', link):
                    name, _, heading = link.partition('#')
                    target = page.parent / name if name else page
                    assert target.exists(), f'link to {link}'
                    assert not heading or heading in anchors(target), f'link to {link}'
            for path in re.findall(rf'(?<![\w/.{{-])(?:\./)?((?:{FOLDERS})/[\w./*+-]*\w)', text):
                assert any(ROOT.glob(path.replace('NAME', '*'))), f'no {path}'
            for config in re.findall(r'`([\w*-]+\.py)`', text) if page.parent.parent.name == 'configs' else []:
                assert any(page.parent.glob(config)), f'no {config}'
            for config in re.findall(r"mmdet::([\w./+-]+)", text):
                assert (ROOT / 'configs' / config).exists(), f'no {config}'
            for target in re.findall(r'(?:^|`)make (\w+)', text, re.MULTILINE):
                assert re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.MULTILINE), f'no make {target}'
            for option in set(re.findall(r'(?<=[\s`\[(])--[a-z][\w-]+', text)) - FOREIGN:
                assert any(f"'{option}'" in source for source in SOURCES), f'no tool has {option}'


def test_version_is_the_same_everywhere():
    newest, = re.findall(r'^## \[(\d.+)\] - \d{4}-\d\d-\d\d$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[:1]
    cited, = re.findall(r'^version: (.+)$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)
    assert newest == cited == mmdet.__version__


def test_messages_of_the_errors_page(subtests):
    """Each message of docs/errors.md stands in the sources, with ... for what is filled in."""
    told = []
    for path in (ROOT / 'mmdet').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                told.append('...'.join(part.value if isinstance(part, ast.Constant) else '' for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                told.append(node.value)
    told = '\n'.join(told)
    for message in re.findall(r'^\| `+(.+?)`+ \|', (ROOT / 'docs/errors.md').read_text(), re.MULTILINE):
        with subtests.test(message):
            for part in message.split('...'):
                assert part.strip() in told, f'no message has {part!r}'


def test_the_kubernetes_manifest():
    """Its fields are those of kubeflow.org/v1: PyTorchJobSpec, RunPolicy, ReplicaSpec, PodSpec and Container."""
    job = pytest.importorskip('yaml').safe_load((ROOT / 'docs/cluster/pytorchjob.yaml').read_text())
    spec = job['spec']
    assert (job['apiVersion'], job['kind']) == ('kubeflow.org/v1', 'PyTorchJob') and 'name' in job['metadata']
    assert spec.keys() <= {'runPolicy', 'elasticPolicy', 'pytorchReplicaSpecs', 'nprocPerNode'}
    assert isinstance(spec['nprocPerNode'], str)
    assert spec['runPolicy'].keys() <= {'cleanPodPolicy', 'ttlSecondsAfterFinished', 'activeDeadlineSeconds',
                                        'backoffLimit', 'schedulingPolicy'}
    assert spec['runPolicy']['cleanPodPolicy'] in ('All', 'Running', 'None')
    assert spec['pytorchReplicaSpecs'].keys() == {'Master', 'Worker'}
    assert spec['pytorchReplicaSpecs']['Master']['replicas'] == 1
    for replica in spec['pytorchReplicaSpecs'].values():
        assert replica.keys() == {'replicas', 'restartPolicy', 'template'}
        assert replica['restartPolicy'] in ('Always', 'OnFailure', 'Never', 'ExitCode')
        pod = replica['template']['spec']
        assert pod.keys() <= {'containers', 'volumes', 'terminationGracePeriodSeconds'}
        container, = pod['containers']
        assert container['name'] == 'pytorch'
        assert container.keys() <= {'name', 'image', 'workingDir', 'command', 'args', 'resources', 'volumeMounts'}
        assert {mount['name'] for mount in container['volumeMounts']} == {volume['name'] for volume in pod['volumes']}
        assert container['resources']['limits']['nvidia.com/gpu'] == int(spec['nprocPerNode'])


def test_the_configs_of_the_pages(tmp_path):
    """The whole configs of the pages that explain them are read, and pass the checks before a training."""
    register_all_modules()
    for page in ('fine-tune.md', 'configs.md', 'data.md'):
        whole = re.findall(r'^```python\n(_base_.*?)```', (ROOT / 'docs' / page).read_text(), re.MULTILINE | re.DOTALL)
        for i, text in enumerate(whole):
            path = tmp_path / f'{page[:-3]}_{i}.py'
            path.write_text(text.replace("'configs/", f"'{ROOT}/configs/"))
            cfg = read_config(str(path))
            check_config(cfg)
            assert cfg.train_cfg.max_epochs > 0 and cfg.optim_wrapper.optimizer.lr > 0
