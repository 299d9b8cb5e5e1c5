"""Detects on pictures and videos: python tools/image_demo.py INPUTS CONFIG --weights CHECKPOINT [options]."""
import sys

from detect_options import add_detect_options, run

from mmdet.command_line import CheckpointFile, DetectorFile, InputFiles, ToolParser, plain_errors


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('inputs', action=InputFiles, help='picture, URL, folder, pattern in quotes, text file of '
                                                          'paths, video, or the number of a camera')
    parser.add_argument('model', action=DetectorFile, help='config file, or a checkpoint that holds its config')
    parser.add_argument('--weights', action=CheckpointFile, help='checkpoint: path or URL')
    parser.add_argument('--out-dir', default='outputs', help='gets vis/ (pictures), preds/ (JSON) and the other files')
    parser.add_argument('--pred-score-thr', type=float, default=0.3, help='least score of a drawn detection')
    parser.add_argument('--out', help='name of the drawn video; default: OUT_DIR/vis/NAME')
    add_detect_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    if args.model.endswith('.pth'):
        args.model, args.weights = None, args.model
    sys.exit(run(args))


if __name__ == '__main__':
    with plain_errors():
        main()
