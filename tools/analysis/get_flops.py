"""Counts FLOPs, parameters and activations of a detector: python tools/analysis/get_flops.py CONFIG [--shape H W].

An image goes through both stages, with as many proposals and masks as test_cfg allows. A multiplication and an addition
are 1 MAC or 2 FLOPs; mmdetection and most papers call MACs FLOPs. Counted are convolutions, linear layers and RoIAlign,
not norms, activation functions, resizing and NMS. Activations are the values that the counted operators put out.
"""

from mmdet.command_line import ToolParser, add_config, add_config_options, add_norm_option, plain_errors
from mmdet.errors import UserError


def row(title, costs, name, module):
    cost, parameters = costs.under(name), sum(parameter.numel() for parameter in module.parameters())
    return [title, f'{cost.flops / 2e9:.3f}', f'{cost.flops / 1e9:.3f}', f'{parameters / 1e6:.3f}',
            f'{cost.activations / 1e6:.3f}']


def main():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('--shape', type=int, nargs='+', default=[800, 1280], metavar='SIDE',
                        help='height and width in pixels, or one side of a square (default: 800 1280)')
    parser.add_argument('--layers', action='store_true', help='a line for every layer')
    add_norm_option(parser, 'as in tools/train.py')
    add_config_options(parser)
    args = parser.parse_args()
    height, width = args.shape * (3 - len(args.shape)) if len(args.shape) in (1, 2) else (0, 0)
    if min(height, width) < 1:
        raise UserError(f'--shape {" ".join(map(str, args.shape))}: this is no height and width in pixels')

    from terminaltables import AsciiTable

    from mmdet.apis.complexity import count_costs, num_rois
    from mmdet.engine.check_config import check_config
    from mmdet.engine.config import read_config
    from mmdet.engine.norm_option import apply_norm
    from mmdet.models.detectors import BaseDetector
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    register_all_modules()
    cfg = read_config(args.config, args.cfg_options)
    if args.norm:
        apply_norm(cfg, args.norm)
    check_config(cfg)
    detector = MODELS.build(cfg.model).eval()
    if not isinstance(detector, BaseDetector):
        raise UserError(f'{args.config}: what a {cfg.model.type} costs is not known, only Fast, Faster, Mask and '
                        'Cascade R-CNN and RPN')
    divisor = detector.data_preprocessor.pad_size_divisor
    padded = [-(-side // divisor) * divisor for side in (height, width)]
    costs = count_costs(detector, *padded)

    rows = [['part', 'GMACs', 'GFLOPs', 'parameters (M)', 'activations (M)']]
    for name, module in detector.named_modules():
        depth = name.count('.')
        if name in costs if args.layers else name and depth < 2 and (not depth or costs.under(name).flops):
            if args.layers or name != 'data_preprocessor':
                rows.append(row(name if args.layers else '  ' * depth + name, costs, name, module))
    rows.append(row('all', costs, '', detector))
    table = AsciiTable(rows, f' 1 image of {height} x {width}, computed as {padded[0]} x {padded[1]} ')
    table.justify_columns = dict.fromkeys(range(1, 5), 'right')
    print(table.table)
    proposals, detections = num_rois(detector)
    with_masks = getattr(getattr(detector, 'roi_head', None), 'mask_head', None) is not None
    print(f'{proposals} proposals' + f', {detections} masks' * with_masks +
          '. 1 MAC is 2 FLOPs; mmdetection prints MACs under the name FLOPs')


if __name__ == '__main__':
    with plain_errors():
        main()
