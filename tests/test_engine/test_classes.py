import pytest
import torch
import toy_run

from mmdet.engine import Runner
from mmdet.engine.classes import places_in_checkpoint

CLASSES = ('small', 'large')


def places(classes, saved=('cat', 'dog', 'cow'), resumes=False):
    return places_in_checkpoint(classes, saved, 'a.pth', resumes)


def test_a_training_keeps_the_places_that_a_checkpoint_gives_its_classes(log):
    assert places(('cat', 'dog', 'cow')) == places(('cow', 'cat', 'dog'), resumes=True) == ('cat', 'dog', 'cow')
    assert places(('cat', 'dog')) == ('cat', 'dog')  # the class weights do not fit
    assert 'in place of' not in log.text
    assert places(('emu', 'cow', 'ant')) == ('emu', 'ant', 'cow')
    assert "trained for 'cat', 'dog' in place of 'emu', 'ant'" in log.text
    with pytest.raises(ValueError, match="a.pth was trained for .*'cow', the training set has .*load_from instead"):
        places(('cat', 'dog', 'emu'), resumes=True)


def loaders(classes, *names):
    return {f'{name}_dataloader.dataset.metainfo': dict(classes=classes) for name in names}


def run(folder, name, **options):
    return Runner.from_cfg(toy_run.config(folder, experiment_name=f'{folder}{name}', **options))


def test_classes_travel_from_the_training_set(tmp_path):
    """To validation, to the checkpoint, and from there to a test, to fine-tuning and to a training that goes on."""
    runner = run(tmp_path / 'a', 'train', **loaders(CLASSES[::-1], 'train'), **{'train_cfg.max_epochs': 1})
    runner.train()
    assert runner.val_evaluator.dataset_meta['classes'] == CLASSES[::-1]
    checkpoint = str(tmp_path / 'a/epoch_1.pth')
    saved = torch.load(checkpoint, weights_only=False)
    assert saved['meta']['dataset_meta']['classes'] == CLASSES[::-1]

    runner = run(tmp_path / 'b', 'test', load_from=checkpoint, **loaders(CLASSES, 'test'))
    runner.test()
    assert runner.test_evaluator.dataset_meta['classes'] == CLASSES[::-1] and not runner.read_ahead
    log = (tmp_path / 'b' / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert log.count("test_dataloader: metainfo.classes has 'small', 'large', the training 'large', 'small'") == 1

    saved['meta'] = dict(CLASSES=CLASSES[::-1])  # as mmdetection 2 wrote it
    torch.save(saved, tmp_path / 'old.pth')
    for options in (dict(load_from=str(tmp_path / 'old.pth')), dict(load_from=checkpoint, resume=True)):
        runner = run(tmp_path / 'b', options, **loaders(CLASSES, 'train'), **options)
        assert runner.build_train_loop(runner._train_loop).dataloader.dataset.metainfo['classes'] == CLASSES[::-1]

    with pytest.raises(ValueError, match="for the classes 'large', 'small', the training set has 'small', 'huge'"):
        run(tmp_path / 'b', 'other', load_from=checkpoint, resume=True, **loaders(('small', 'huge'), 'train')).train()


def test_data_sets_that_do_not_follow_are_refused(tmp_path):
    runner = run(tmp_path, 'a')
    loader = runner.build_dataloader(toy_run.config(tmp_path, **loaders(CLASSES[::-1], 'val')).val_dataloader)
    runner._val_dataloader = loader
    with pytest.raises(ValueError, match="data set of val_dataloader has the classes 'large', 'small', the training"):
        runner.train()
