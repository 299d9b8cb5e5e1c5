"""What the documents name exists: links, headings, files, commands, options, the version."""
import re
from pathlib import Path

import mmdet

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'),
                *(page for folder in ('configs', 'docs', 'tests') for page in (ROOT / folder).rglob('*.md'))])
FOLDERS = '|'.join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ('data', 'work_dirs'))
SOURCES = [path.read_text() for folder in ('tools', 'mmdet/engine') for path in (ROOT / folder).rglob('*.py')]
# Of pip, setup.py, argparse, torchrun and Slurm.
FOREIGN = {'--no-build-isolation', '--no-deps', '--no-index', '--find-links', '--index-url', '--inplace', '--help',
           '--signal', '--max-restarts'}


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
