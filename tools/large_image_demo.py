"""Detects on large pictures in tiles: python tools/large_image_demo.py INPUTS CONFIG CHECKPOINT [options]."""
import argparse
import sys

from detect_options import add_detect_options, run

from mmdet.engine.command_line import plain_errors


def main():
    parser = argparse.ArgumentParser(description='Detect on large pictures in tiles')
    parser.add_argument('inputs', metavar='img', help='picture, URL, folder or pattern')
    parser.add_argument('model', metavar='config', help='config file')
    parser.add_argument('weights', metavar='checkpoint', help='checkpoint: path or URL')
    parser.add_argument('--out-dir', default='outputs', help='gets vis/ (pictures), preds/ (JSON) and the other files')
    parser.add_argument('--score-thr', dest='pred_score_thr', type=float, default=0.3, help='least score drawn')
    add_detect_options(parser)
    parser.set_defaults(tile=640, overlap=0.25, out=None)
    sys.exit(run(parser.parse_args()))


if __name__ == '__main__':
    with plain_errors():
        main()
