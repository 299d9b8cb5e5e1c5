"""Writes a detector as a file that runs without this package: python tools/export.py CONFIG CHECKPOINT OUT.onnx.

OUT.pt2 is torch.export's format. docs/export.md says what goes in and what comes out.
"""
import json
from pathlib import Path

from mmdet.command_line import CheckpointFile, ToolParser, add_config, add_config_options, plain_errors
from mmdet.errors import UserError

WEIGHTS = ('float32', 'float16', 'int8')


def check(path, detector, pictures):
    """Print how far what the file finds in pictures is from what the detector finds, and the time of both."""
    import cv2
    import numpy as np
    from terminaltables import AsciiTable

    from mmdet.apis.pipeline import TestPipeline
    from mmdet.export.check import compare, run_detector, runtimes, timed
    pipeline, ours, others = TestPipeline(detector.cfg), run_detector(detector), runtimes(path)
    rows = [['pictures', 'program', 'seconds', 'detections', 'missing', 'boxes', 'scores', 'masks']]
    for name in pictures:
        image = np.ascontiguousarray(pipeline(name)['inputs'].permute(1, 2, 0).numpy())
        smaller = cv2.resize(image, None, fx=0.7, fy=0.7)
        for images in (image[None], smaller[None], np.stack([smaller, smaller[:, ::-1]])):
            expected, seconds = timed(ours, images)
            rows.append([f'{Path(name).name} {"x".join(map(str, images.shape[:3]))}', 'mmdet', f'{seconds:.2f}',
                         (expected[2] > 0).sum()])
            for program, run in others.items():
                found, seconds = timed(run, images)
                count, missing, *differences = compare(expected, found)
                rows.append(['', program, f'{seconds:.2f}', count, missing, *(f'{value:.2g}' for value in differences)])
    print(AsciiTable(rows).table)
    print('boxes: largest difference in pixels. masks: largest share of pixels that differ')


def main():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('checkpoint', action=CheckpointFile, help='path, URL or name of the weights')
    parser.add_argument('out', metavar='OUT', type=Path, help='file to write: .onnx or .pt2')
    parser.add_argument('--weights', choices=WEIGHTS, default='float32', help='how the ONNX file holds the weights')
    parser.add_argument('--check', metavar='PICTURE', nargs='+', default=[],
                        help='then compare with the detector, on these pictures in two sizes and as a batch')
    add_config_options(parser)
    args = parser.parse_args()
    if args.out.suffix not in ('.onnx', '.pt2'):
        raise UserError(f'{args.out}: the name must end in .onnx or .pt2')
    if args.out.suffix == '.pt2' and args.weights != 'float32':
        raise UserError(f'--weights {args.weights} is for .onnx files alone')

    import torch

    from mmdet.apis import init_detector
    from mmdet.engine.config import innermost
    from mmdet.export import describe, export_program, write_onnx
    detector = init_detector(args.config, args.checkpoint, device='cpu', cfg_options=args.cfg_options)
    program = export_program(detector)
    meta = describe(detector, innermost(detector.cfg.test_dataloader.dataset)['pipeline'])
    if args.out.suffix == '.onnx':
        write_onnx(program, args.out, meta, args.weights)
    else:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(program, args.out, extra_files={'meta.json': json.dumps(meta)})
    print(f'{args.out}: {args.out.stat().st_size / 2**20:.1f} MiB, '
          f'{len(json.loads(meta["classes"]))} classes, pictures of {meta["least_side"]} pixels and more a side')
    if args.check:
        check(args.out, detector, args.check)


if __name__ == '__main__':
    with plain_errors():
        main()
