"""Which test runs which lines of mmdet/, and how long each takes: recorded once for each file of tests, as JSON."""
import ast
import json
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest
from forked import forked
from mutants import ROOT

KEPT = ROOT / 'build/lines_run'


class Recorder:
    """A plugin of pytest: what each test runs of mmdet/ in this process, and the seconds of those that pass."""

    def __init__(self, coverage):
        self.coverage, self.seconds = coverage, {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.coverage.switch_context(item.nodeid)
        self.passed, start = True, sum(os.times()[:4])
        done = yield
        if self.passed:
            self.seconds[item.nodeid] = round(sum(os.times()[:4]) - start, 2)
        return done

    def pytest_runtest_logreport(self, report):
        self.passed &= report.passed


def record(file, kept):
    """Runs this file of tests and keeps {test: seconds} and {file of mmdet/: {line: tests}}; the import is test ''."""
    from coverage import Coverage
    coverage = Coverage(data_file=None, source=[str(ROOT / 'mmdet')], config_file=False)
    recorder = Recorder(coverage)
    coverage.start()
    status = pytest.main(['-q', '-p', 'no:cacheprovider', file], plugins=[recorder])
    coverage.stop()
    data = coverage.get_data()
    lines = {str(Path(path).relative_to(ROOT)): {line: [test for test in tests if test in {'', *recorder.seconds}]
                                                 for line, tests in data.contexts_by_lineno(path).items()}
             for path in data.measured_files()}
    kept.write_text(json.dumps([recorder.seconds, lines]))
    return status


class LinesRun:
    """The recordings of these files of tests, made where they lack or are older than what they tell of."""

    def __init__(self, files):
        newest = max(path.stat().st_mtime for path in (ROOT / 'mmdet').rglob('*.py'))
        self.seconds, self.tests = {}, defaultdict(lambda: defaultdict(set))
        KEPT.mkdir(parents=True, exist_ok=True)
        for file in files:
            kept = KEPT / f'{file.replace("/", "-")}.json'
            if not kept.exists() or kept.stat().st_mtime < max(newest, (ROOT / file).stat().st_mtime):
                status, seconds, told = forked(lambda file=file, kept=kept: record(file, kept))
                print(f'{seconds:6.1f} s  {file}  {told.splitlines()[-1]}', flush=True)
            seconds, lines = json.loads(kept.read_text())
            self.seconds.update(seconds)
            for path, tests in lines.items():
                for line, names in tests.items():
                    self.tests[path][int(line)].update(names)
        self.sources = {path: (ROOT / path).read_text().splitlines() for path in self.tests}
        self.test_sources = {file: (ROOT / file).read_text() for file in files}

    def share(self, paths):
        """The share of the lines of these files that run."""
        from coverage import Coverage
        coverage, run, lines = Coverage(data_file=None, config_file=False), 0, 0
        for path in paths:
            statements = set(coverage.analysis2(str(path))[1])
            lines += len(statements)
            run += len(statements & self.tests[str(path.relative_to(ROOT))].keys())
        return run / lines

    def of_lines(self, path, lines):
        return {test for line in lines for test in self.tests[path].get(line, ())}

    def of_mutant(self, mutant):
        """The tests that run what is changed, the fastest first; of what runs at import, those that may meet it."""
        path = str(mutant.path.relative_to(ROOT))
        *outer, inner = (node for node in (*mutant.parents, mutant.node) if isinstance(node, ast.stmt))
        if any(isinstance(node, ast.FunctionDef) for node in outer):
            found = self.of_lines(path, span(mutant.node)) or self.of_lines(path, span(inner))
        elif isinstance(inner, ast.FunctionDef):  # a default, which a test may look at without a call
            *_, named = inner.name, *(node.name for node in outer if isinstance(node, ast.ClassDef))
            found = self.of_name(named) | self.of_lines(path, range(inner.lineno, inner.end_lineno + 1))
        else:
            found = {''}
        if found == {''}:
            found = self.of_lines(path, self.tests[path])
            for target in getattr(inner, 'targets', ()):
                found = found.union(*(self.of_name(node.id) for node in ast.walk(target) if isinstance(node, ast.Name)))
        return sorted(found - {''}, key=self.seconds.get)

    def of_name(self, name):
        """The tests that run a line, or stand in a file, which names it."""
        word = re.compile(rf'\b{name}\b')
        named_in = {file for file, text in self.test_sources.items() if word.search(text)}
        return {test for test in self.seconds if test.split('::')[0] in named_in}.union(*(
            self.of_lines(path, [line for line, text in enumerate(source, 1) if word.search(text)])
            for path, source in self.sources.items()))


def span(node):
    """The lines of an expression or a statement; of a statement that holds others, those before them."""
    inside = [child.lineno for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node]
    return range(node.lineno, max(node.lineno + 1, min(inside)) if inside else node.end_lineno + 1)
