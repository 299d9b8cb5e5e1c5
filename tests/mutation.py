"""Mutation testing: how many small faults, put into the sources one by one, do the tests find?

    python tests/mutation.py --mutants 150 --seed 0

Each mutant is one change of one expression or statement. It lives in a forked process, which imports the mutant in
place of its module. There the tests that run the changed lines run, the fastest first, until one fails. Which tests
these are is recorded once, under build/. A test that starts Python anew sees the true sources and finds nothing.
"""
import argparse
import gc
import os
import random
import sys

import pytest
from forked import forked, import_libraries
from lines_run import LinesRun
from mutants import ROOT, mutants_of_files

MUTATED = ('mmdet/ops/[!_]*.py', 'mmdet/models/task_modules/*.py', 'mmdet/models/layers/*.py', 'mmdet/engine/loops.py',
           'mmdet/engine/seeded_batches.py', 'mmdet/engine/training_state.py', 'mmdet/datasets/annotations/*.py',
           'mmdet/datasets/coco*.py', 'mmdet/datasets/learnable.py', 'mmdet/structures/mask/rle.py',
           'mmdet/evaluation/*.py')
TESTS = ('test_ops', 'test_datasets/test_annotations', 'test_datasets/test_coco.py', 'test_datasets/test_proposals.py',
         'test_structures/test_mask', 'test_evaluation', 'test_models/test_task_modules.py',
         'test_models/test_samplers.py', 'test_models/test_legacy.py', 'test_models/test_layers',
         'test_models/test_parts.py', 'test_models/test_roi_heads.py', 'test_models/test_resnet.py',
         'test_engine/test_resume.py', 'test_import_paths.py', 'test_tools/test_analysis_results.py')
LEFT_OUT = ('test_cuda_on_cpu', 'test_cbn_ddp', 'test_norms_gpu')  # they work in other processes, or on a GPU


class Chosen:
    """A plugin of pytest: of the tests collected, these, in this order."""

    def __init__(self, tests):
        self.place = {test: i for i, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if item.nodeid in self.place]
        items.sort(key=lambda item: self.place[item.nodeid])


def within(tests, seconds, budget):
    """The first of these tests that last so many seconds together, and that sum."""
    total = 0
    for number, test in enumerate(tests):
        if total + seconds[test] > budget:
            return tests[:number], total
        total += seconds[test]
    return tests, total


def test_files(paths):
    found = [file for path in (ROOT / 'tests' / path for path in paths)
             for file in ([path] if path.is_file() else sorted(path.rglob('test_*.py')))]
    return [str(file.relative_to(ROOT)) for file in found if file.stem not in LEFT_OUT]


def verdict(mutant, tests, seconds):
    """Whether it survives, the seconds of processor time, and what killed it."""
    if not tests:
        return True, 0, 'no test runs it'

    def run():
        sys.meta_path.insert(0, mutant)
        files = dict.fromkeys(test.split('::')[0] for test in tests)
        return pytest.main(['-x', '-q', '-p', 'no:cacheprovider', *files], plugins=[Chosen(tests)])
    status, spent, told = forked(run, int(3 * seconds) + 20)
    failed = [line for line in told.splitlines() if line.startswith(('FAILED', 'ERROR', 'SUBFAIL'))]
    return status == 0, spent, failed[0][:150] if failed else f'status {status}' if status else f'{len(tests)} tests'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mutants', type=int, default=150, help='faults to draw (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (%(default)s)')
    parser.add_argument('--only', default='', help='of these mutants, those in files whose names contain this')
    parser.add_argument('--numbers', type=int, nargs='+', help='of these mutants, those of these numbers')
    parser.add_argument('--budget', type=float, default=20, help='seconds of tests for one mutant (%(default)s)')
    parser.add_argument('--share', action='store_true', help='print which share of the lines the tests run')
    parser.add_argument('--tests', nargs='+', default=TESTS, help='folders and files under tests/')
    args = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    import_libraries()
    gc.freeze()  # what is imported by now need not be looked through by each child
    lines_run = LinesRun(test_files(args.tests))
    mutants, survivors = list(mutants_of_files(MUTATED)), []
    if args.share:
        share = lines_run.share({mutant.path for mutant in mutants})
        print(f'the tests run {share:.1%} of the lines of these modules', flush=True)
    chosen = random.Random(args.seed).sample(mutants, min(args.mutants, len(mutants)))
    chosen = [(number, mutant) for number, mutant in enumerate(chosen, 1)
              if args.only in str(mutant.path) and number in (args.numbers or [number])]
    for number, mutant in chosen:
        tests, seconds = within(lines_run.of_mutant(mutant), lines_run.seconds, args.budget)
        survives, spent, reason = verdict(mutant, tests, seconds)
        survivors += [f'{number:4} {mutant}'] * survives
        print(f'{number:4} {"SURVIVED" if survives else "killed":8} {spent:6.1f} s  {mutant}\n{"":24}{reason}',
              flush=True)
    gc.unfreeze()  # else libraries report what they never freed
    print(f'killed {len(chosen) - len(survivors)} of {len(chosen)}; the survivors:', *survivors, sep='\n')


if __name__ == '__main__':
    main()
