"""Hooks of mkdocs: pages that lie beside docs/ are pages of the site, too, and links work in both places.

The pages are written with links that work in the repository. Here they become those of the site, and what the site does
not have (configs, tools) becomes plain text.
"""
import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
BESIDE = {'README.md': 'index.md', 'INSTALL.md': 'install.md', 'CHANGELOG.md': 'changelog.md',
          'CONTRIBUTING.md': 'contributing.md', 'SECURITY.md': 'security.md'}
LISTS = ('api/', 'benchmarks', 'conv-kernels', 'own')  # a search finds the guides before what these hold on all topics
SOUGHT = {  # words that readers type and the page does not say, or others say as often
    'benchmarks.md': 'speed fast',
    'classes.md': 'category categories num_classes',
    'cluster.md': 'distributed multi ddp docker',
    'data.md': 'custom dataset coco voc yolo',
    'errors.md': 'crash nan',
    'export.md': 'deploy deployment tensorrt',
    'fine-tune.md': 'finetune finetuning transfer learning rate lr pretrained freeze',
    'inference.md': 'inference predict prediction',
    'memory.md': 'oom amp mixed precision',
    'norms.md': 'groupnorm batchnorm normalization',
    'own.md': 'hook loss customize extend',
    'report.md': 'log validation threshold tensorboard'}
LINK = re.compile(r'\[([^\[\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)')


def on_files(files, config):
    """Add the pages beside docs/."""
    for source, page in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    """The text, its links outside of code turned into those between the pages of the site."""
    here = page.file.src_uri
    if not here.startswith(LISTS) and here not in BESIDE.values():
        page.meta['search'] = dict(boost=2)
    page.meta['tags'] = SOUGHT.get(here, '').split()
    source = next((name for name, uri in BESIDE.items() if uri == here), f'docs/{here}')

    def turned(match):
        text, link, heading = match[1], match[2], match[3] or ''
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if not (ROOT / target).exists():
            raise PluginError(f'{source} links to {link}, which does not exist')
        uri = BESIDE.get(target, target.removeprefix('docs/') if target.startswith('docs/') else '')
        if files.get_file_from_path(uri) is None:
            return text
        return f'[{text}]({posixpath.relpath(uri, posixpath.dirname(here) or ".")}{heading})'
    parts = re.split(r'(^```.*?^```$)', markdown, flags=re.MULTILINE | re.DOTALL)
    return ''.join(part if part.startswith('```') else LINK.sub(turned, part) for part in parts)
