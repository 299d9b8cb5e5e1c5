"""Writes a checkpoint of Detectron, detectron2, torchvision, timm or mmdetection 1.x under the names used here.

python tools/convert/checkpoint.py IN OUT.pth [--config CONFIG]
"""
from dataclasses import asdict
from pathlib import Path

from mmdet.command_line import CheckpointFile, ConfigFile, ToolParser, plain_errors


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('source', metavar='IN', action=CheckpointFile,
                        help='path, URL or name such as torchvision://maskrcnn_resnet50_fpn')
    parser.add_argument('out', metavar='OUT', type=Path, help='file to write: .pth, or .safetensors')
    parser.add_argument('--config', action=ConfigFile, help='config of the model it is for: tells what is missing or '
                                                            'left over, and takes the classes that this model has')
    args = parser.parse_args()

    from mmdet.checkpoints import load_weights, read_checkpoint, weights_for, weights_of, write_file
    from mmdet.engine.check_config import check_config
    from mmdet.engine.config import read_config
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    checkpoint = read_checkpoint(args.source)
    conversion, weights = checkpoint.get('conversion'), weights_of(checkpoint)
    print(f'{args.source}\n' + (str(conversion) if conversion else "mmdetection's names already: nothing to convert"))
    if args.config:
        register_all_modules()
        cfg = read_config(args.config)
        check_config(cfg)
        model = MODELS.build(cfg.model)
        misfit = load_weights(model, checkpoint, source=args.source)
        weights = weights_for(model, conversion) if conversion else weights
        print(f'into {args.config}: ' + (f'\n{misfit}' if misfit else 'everything fits'))
    meta = dict(checkpoint.get('meta') or {})
    if conversion:
        meta.update(converted_from=conversion.source, conventions=asdict(conversion.conventions))
    write_file(args.out, weights, meta)
    print(f'{len(weights)} entries written to {args.out}')


if __name__ == '__main__':
    with plain_errors():
        main()
