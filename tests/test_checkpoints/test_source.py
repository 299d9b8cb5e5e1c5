import pytest

from mmdet.checkpoints.source import resolve

THIRD_PARTY = 'https://download.openmmlab.com/pretrain/third_party/'


SOURCES = [
    ('torchvision://resnet18', 'https://download.pytorch.org/models/resnet18-f37072fd.pth'),
    ('torchvision://resnet50', 'https://download.pytorch.org/models/resnet50-0676ba61.pth'),
    ('torchvision://resnet101', 'https://download.pytorch.org/models/resnet101-63fe2227.pth'),
    ('torchvision://resnet50.imagenet1k_v2', 'https://download.pytorch.org/models/resnet50-11ad3fa6.pth'),
    ('torchvision://maskrcnn_resnet50_fpn', 'https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth'),
    ('torchvision://maskrcnn_resnet50_fpn.coco_v1', 'https://download.pytorch.org/models/maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth'),
    ('torchvision://fasterrcnn_resnet50_fpn', 'https://download.pytorch.org/models/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth'),
    ('open-mmlab://detectron2/resnet50_caffe', THIRD_PARTY + 'resnet50_msra-5891d200.pth'),
    ('open-mmlab://detectron2/resnet101_caffe', THIRD_PARTY + 'resnet101_msra-6cc46731.pth'),
    ('open-mmlab://detectron/resnet50_gn', THIRD_PARTY + 'resnet50_gn-9186a21c.pth'),
    ('open-mmlab://detectron/resnet101_gn', THIRD_PARTY + 'resnet101_gn-cac0ab98.pth'),
    ('open-mmlab://contrib/resnet50_gn', THIRD_PARTY + 'resnet50_gn_thangvubk-ad1730dd.pth'),
    ('https://example.org/a.pth', 'https://example.org/a.pth'),
    ('/data/a.pth', '/data/a.pth'),
]


def test_resolve(subtests):
    for name, url in SOURCES:
        with subtests.test(name):
            assert resolve(name) == url


@pytest.mark.parametrize('name', ['torchvision://resnet51', 'torchvision://resnet50.v9', 'open-mmlab://resnet50'])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=name):
        resolve(name)
