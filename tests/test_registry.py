import pytest

from mmdet.errors import UserError
from mmdet.registry import MODELS, SCOPE, TASK_UTILS, YieldingRegistry


def test_unknown_type_names_the_nearest():
    with pytest.raises(UserError, match="unknown type 'FPM'.*Did you mean 'FPN'"):
        MODELS.build(dict(type='FPM'))


def test_unknown_key_names_the_class_and_the_nearest():
    with pytest.raises(UserError, match="FPN takes no key 'num_out'.*Did you mean 'num_outs'.*in_channels"):
        MODELS.build(dict(type='FPN', in_channels=[8], out_channels=8, num_out=1))


def test_unknown_key_of_a_class_that_hands_keys_on():
    with pytest.raises(UserError, match="Shared2FCBBoxHead takes no key 'num_class'.*Did you mean 'num_classes'"):
        MODELS.build(dict(type='Shared2FCBBoxHead', num_class=3))


def test_missing_type():
    with pytest.raises(UserError, match='needs the key "type".*pos_iou_thr'):
        TASK_UTILS.build(dict(pos_iou_thr=0.5))


def test_text_in_the_place_of_a_number():
    for key, value in (('finest_scale', 'abc'), ('finest_scale', []), ('out_channels', '8')):
        cfg = dict(type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=7), out_channels=8,
                   featmap_strides=[4])
        with pytest.raises(UserError, match=f'SingleRoIExtractor takes a number as {key}, not'):
            MODELS.build(dict(cfg, **{key: value}))


def test_classes_of_others_take_the_place_of_ours_whichever_come_first():
    registry = YieldingRegistry('test', scope=SCOPE)

    def of(package):
        return type('Same', (), dict(__module__=package))
    ours, theirs, another = of('mmdet.models'), of('project.models'), of('others')
    registry.register_module(module=ours)
    registry.register_module(module=theirs)
    assert registry.get('Same') is theirs
    registry.register_module(module=ours)
    assert registry.get('Same') is theirs
    for again in (another, theirs):
        with pytest.raises(KeyError, match='already registered'):
            registry.register_module(module=again)
    registry.register_module(module=another, force=True)
    assert registry.get('Same') is another


def test_the_parts_of_a_list_are_checked():
    with pytest.raises(UserError, match="unknown type 'BFB'.*Did you mean 'BFP'"):
        MODELS.build([dict(type='FPN', in_channels=[8], out_channels=8, num_outs=1), dict(type='BFB')])
