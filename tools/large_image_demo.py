"""Detects on large pictures in tiles: python tools/large_image_demo.py INPUTS CONFIG CHECKPOINT [options]."""
import sys

from detect_options import add_detect_options, run

from mmdet.command_line import CheckpointFile, DetectorFile, InputFiles, ToolParser, plain_errors


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('inputs', action=InputFiles, metavar='img', help='picture, URL, folder or pattern')
    parser.add_argument('model', action=DetectorFile, metavar='config', help='config file')
    parser.add_argument('weights', action=CheckpointFile, metavar='checkpoint', help='checkpoint: path or URL')
    parser.add_argument('--out-dir', default='outputs', help='gets vis/ (pictures), preds/ (JSON) and the other files')
    parser.add_argument('--score-thr', dest='pred_score_thr', type=float, default=0.3, help='least score drawn')
    add_detect_options(parser)
    parser.set_defaults(tile=640, overlap=0.25, out=None)
    sys.exit(run(parser.parse_args()))


if __name__ == '__main__':
    with plain_errors():
        main()
