"""Detects on a video or a camera: python tools/video_demo.py VIDEO CONFIG CHECKPOINT --out NEW.mp4 [options]."""
import sys

from detect_options import add_detect_options, run

from mmdet.command_line import CheckpointFile, DetectorFile, InputFiles, ToolParser, plain_errors
from mmdet.errors import UserError


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('inputs', action=InputFiles, metavar='video',
                        help='video file, stream or the number of a camera')
    parser.add_argument('model', action=DetectorFile, metavar='config', help='config file')
    parser.add_argument('weights', action=CheckpointFile, metavar='checkpoint', help='checkpoint: path or URL')
    parser.add_argument('--out', help='the drawn video, e.g. drawn.mp4')
    parser.add_argument('--score-thr', dest='pred_score_thr', type=float, default=0.3, help='least score drawn')
    parser.add_argument('--out-dir', default='outputs', help='gets what --save-as and --shards write')
    add_detect_options(parser)
    parser.set_defaults(wait_time=0.001)
    args = parser.parse_args()
    if not (args.out or args.show or args.save_as or args.shards):
        raise UserError('nothing would come of it: give --out NEW.mp4, --show or --save-as')
    args.no_save_vis, args.no_save_pred = True, True
    sys.exit(run(args))


if __name__ == '__main__':
    with plain_errors():
        main()
