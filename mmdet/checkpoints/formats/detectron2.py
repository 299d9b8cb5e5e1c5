"""detectron2: Faster and Mask R-CNN with FPN (FrozenBN, BN, SyncBN or GN), and its ImageNet backbones."""
from collections.abc import Collection
from typing import Any

from ..conversion import Conventions, Conversion, check_resnet, translate

SOURCE = 'detectron2'
# MSRA's ImageNet weights, detectron2's default input.
BGR = dict(order='BGR', mean=(103.53, 116.28, 123.675), std=(1., 1., 1.))
RGB = dict(order='RGB', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
ASPECT_RATIOS = (0.5, 1., 2.)


def recognizes(names: Collection[str]) -> bool:
    return 'stem.conv1.weight' in names or any(
        name.startswith(('backbone.bottom_up.', 'backbone.stem.', 'proposal_generator.')) for name in names)


def _names(state, backbone):
    def norm_kind(place):
        return 'bn' if f'{place}.running_var' in state else 'gn'

    def resnet(match):
        place, leaf = match['place'], match['leaf']
        if place == 'stem.conv1':
            return f'{backbone}conv1.{leaf}'
        if place == 'stem.conv1.norm':
            return f'{backbone}{norm_kind(match["start"] + place)}1.{leaf}'
        stage, block, layer, *norm = place.split('.')
        layer = (f'downsample.{len(norm)}' if layer == 'shortcut' else
                 (norm_kind(match['start'] + place) if norm else 'conv') + layer[-1])
        return f'{backbone}layer{int(stage[3:]) - 1}.{block}.{layer}.{leaf}'

    def module(ours, offset):
        """A convolution and its norm, numbered from `offset`."""
        def of(match):
            kind = norm_kind(match['place'] + '.norm') if match['norm'] else 'conv'
            return f'{ours}.{int(match["i"]) - offset}.{kind}.{match["leaf"]}'
        return of
    leaf = r'\.(?P<leaf>\w+)'
    norm = r'(?P<norm>\.norm)?' + leaf
    return [
        (r'(?P<start>(?:backbone\.)?(?:bottom_up\.)?)(?P<place>stem\.conv1(?:\.norm)?|'
         r'res[2-5]\.\d+\.(?:conv[123]|shortcut)(?:\.norm)?)' + leaf, resnet),
        (r'(?P<place>backbone\.fpn_lateral(?P<i>[2-5]))' + norm, module('neck.lateral_convs', 2)),
        (r'(?P<place>backbone\.fpn_output(?P<i>[2-5]))' + norm, module('neck.fpn_convs', 2)),
        (r'proposal_generator\.rpn_head\.conv\.(weight|bias)', r'rpn_head.rpn_conv.\1'),
        (r'proposal_generator\.rpn_head\.conv\.conv(\d)\.(weight|bias)', r'rpn_head.rpn_conv.\1.conv.\2'),
        (r'proposal_generator\.rpn_head\.objectness_logits\.(\w+)', r'rpn_head.rpn_cls.\1'),
        (r'proposal_generator\.rpn_head\.anchor_deltas\.(\w+)', r'rpn_head.rpn_reg.\1'),
        (r'(?P<place>roi_heads\.box_head\.conv(?P<i>\d))' + norm, module('roi_head.bbox_head.shared_convs', 1)),
        (r'roi_heads\.box_head\.fc(?P<i>\d)\.(\w+)',
         lambda m: f'roi_head.bbox_head.shared_fcs.{int(m["i"]) - 1}.{m[2]}'),
        (r'roi_heads\.box_predictor\.cls_score\.(\w+)', r'roi_head.bbox_head.fc_cls.\1'),
        (r'roi_heads\.box_predictor\.bbox_pred\.(\w+)', r'roi_head.bbox_head.fc_reg.\1'),
        (r'(?P<place>roi_heads\.mask_head\.mask_fcn(?P<i>\d))' + norm, module('roi_head.mask_head.convs', 1)),
        (r'roi_heads\.mask_head\.deconv\.(\w+)', r'roi_head.mask_head.upsample.\1'),
        (r'roi_heads\.mask_head\.predictor\.(\w+)', r'roi_head.mask_head.conv_logits.\1'),
    ]


DROPPED = [
    (r'(backbone\.)?(bottom_up\.)?(stem\.fc|fc1000|linear|fc)\.\w+', "ImageNet's classifier"),
    (r'proposal_generator\.anchor_generator\..*|anchor_generator\..*', 'anchors come from the config'),
    (r'pixel_(mean|std)', 'said below; set it in the data_preprocessor'),
    (r'stem\.conv1\.bias|backbone\.bottom_up\.stem\.conv1\.bias', 'detectron2 gives its stem no bias'),
]
REFUSED = [
    (r'roi_heads\.keypoint.*', 'keypoint head'),
    (r'roi_heads\.box_(head|predictor)\.\d\..*', 'cascade of box heads'),
    (r'roi_heads\.res5\..*|backbone\.(stem|res\d)\..*', 'C4 or DC5 (no FPN)'),
    (r'roi_heads\.mask_(point|coarse).*|roi_heads\.mask_head\.(point|coarse)_.*', 'PointRend'),
    (r'sem_seg_head\..*', 'semantic segmentation head'),
    (r'head\.(cls|bbox).*|backbone\.top_block\..*', 'RetinaNet'),
    (r'.*\.conv2_offset\..*', 'deformable convolutions'),
    (r'roi_heads\.box_head\.conv\d\.bias', 'convolutions of the box head with a bias'),
]


def convert(state: dict[str, Any], path: str) -> Conversion:
    """State dict of tensors -> Conversion. Raises ValueError naming the part that cannot be represented."""
    detector = any(name.startswith(('roi_heads.', 'proposal_generator.', 'backbone.fpn_')) for name in state)
    refused = REFUSED if detector else [rule for rule in REFUSED if 'backbone' not in rule[0]]
    result = translate(SOURCE, state, path, _names(state, 'backbone.' if detector else ''), DROPPED, refused)
    depth = check_resnet(result, path)
    gn = any(name.endswith('gn1.weight') for name in result.weights)
    seen = _pixels(state) or (RGB if not detector and 'stem.fc.weight' in state else BGR)
    style = 'pytorch' if gn or seen['order'] == 'RGB' else 'caffe'
    if not detector:
        result.conventions = Conventions(**seen, style=style)
        return result
    result.notes += _anchors(state)
    kind = 'mask' if any('mask_head' in name for name in result.weights) else 'faster'
    plain = not any(name.startswith('neck') and '.conv.' not in name for name in result.weights)
    folder = f'configs/{kind}_rcnn/{kind}-rcnn_r{depth}{"-caffe" if style == "caffe" else ""}_fpn_1x_coco.py'
    config = (folder if plain else 'configs/gn/mask-rcnn_r50_fpn_gn-all_2x_coco.py' if gn and kind == 'mask'
              else f'{folder} with its norm_cfg')
    result.conventions = Conventions(**seen, style=style, aligned=True, box_width='x2 - x1', config=config)
    return result


def _pixels(state):
    if 'pixel_mean' not in state or 'pixel_std' not in state:
        return None
    mean, std = (tuple(round(value, 4) for value in state[name].flatten().tolist())
                 for name in ('pixel_mean', 'pixel_std'))
    return dict(order='RGB' if mean[0] > mean[-1] else 'BGR', mean=mean, std=std)


def _anchors(state):
    """The outputs of the proposal network follow the anchors' order: notes if it is not ratios 0.5, 1, 2."""
    cells = state.get('proposal_generator.anchor_generator.cell_anchors.0')
    if cells is None or cells.dim() != 2 or cells.shape[1] != 4:
        return []
    ratios = ((cells[:, 3] - cells[:, 1]) / (cells[:, 2] - cells[:, 0])).tolist()
    if len(ratios) == 3 and all(abs(have - want) < 0.05 * want for have, want in zip(ratios, ASPECT_RATIOS)):
        return []
    return [f'its anchors have the ratios {", ".join(f"{ratio:.2f}" for ratio in ratios)} in this order: '
            'set rpn_head.anchor_generator alike']
