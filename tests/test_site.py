"""The site of the docs builds strictly, and a search finds the right page first."""
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
UNSEARCHED = set('a an and are as at be by for from in is it its of on or that the their to what with you your'.split())


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    for package in ('mkdocs', 'material', 'mkdocstrings', 'black'):
        pytest.importorskip(package, reason="the site needs pip install 'mmdet-norms[docs]'")
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', folder]  # with -q no warning would count
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True,
                          env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'})
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return folder


def test_every_page_is_in_the_menu(site):
    menu = (ROOT / 'mkdocs.yml').read_text()
    for page in DOCS.rglob('*.md'):
        assert f': {page.relative_to(DOCS)}\n' in menu, f'{page} is not in nav of mkdocs.yml'
    layers, own, start, apis = (' '.join(re.sub('<[^>]+>', '', (site / page / 'index.html').read_text()).split())
                          for page in ('api/layers', 'own', '', 'api/apis'))
    assert 'convert_norm' in layers and 'or no norm to convert' in layers and 'class CsvDataset(BaseDataset)' in own
    assert 'pred_score_thr: float = 0.3' in apis  # how a DetInferencer is called
    assert 'Pick a norm' in start and 'NAME' not in start


def test_search_finds_the_right_page_first(site, subtests):
    entries = json.loads((site / 'search/search_index.json').read_text())['docs']
    fields = {name: [Counter(stems(' '.join(entry.get('tags', [])) if name == 'tags' else entry[name]))
                     for entry in entries] for name in ('title', 'text', 'tags')}
    for word, page in {'fine-tune': 'fine-tune', 'resume': 'resume', 'class': 'classes', 'export': 'export',
                       'norm': 'norms', 'memory': 'memory', 'finetune': 'fine-tune', 'category': 'classes',
                       'learning rate': 'fine-tune', 'cuda out of memory': 'memory', 'deploy': 'export'}.items():
        with subtests.test(word):
            totals = [0.] * len(entries)
            for name, boost in (('title', 1e3), ('text', 1.), ('tags', 1e3)):
                for term in stems(word):
                    for i, score in enumerate(bm25(fields[name], term)):
                        totals[i] += boost * score * entries[i].get('boost', 1)
            for i, entry in enumerate(entries):  # as the theme weighs whole pages, and those that hold every word
                every = all(any(fields[name][i][term] for name in fields) for term in stems(word))
                totals[i] *= 1 + (('#' not in entry['location']) + every) ** 2
            best = sorted(range(len(entries)), key=lambda i: -totals[i])[:4]
            assert entries[best[0]]['location'].split('/')[0] == page, [entries[i]['location'] for i in best]


def stems(text):
    """Words as Lunr, the search of the site, compares them: small, without endings and without the commonest."""
    found = re.findall(r'[a-z]+', re.sub('<[^>]+>', ' ', text.lower()))
    return [re.sub(r'(?<=ss)es$|(?<=[^s])s$|(?<=..)(ed|ing|e)$', '', word) for word in found if word not in UNSEARCHED]


def bm25(documents, term):
    """The score of each Counter of stems, with Lunr's k1 = 1.2 and b = 0.75."""
    mean = sum(map(Counter.total, documents)) / len(documents)
    containing = sum(term in document for document in documents)
    rarity = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
    return [rarity * 2.2 * document[term] / (document[term] + 1.2 * (0.25 + 0.75 * document.total() / mean))
            for document in documents]
