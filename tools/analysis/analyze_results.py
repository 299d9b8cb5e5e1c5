"""Draws the best and the worst pictures: python tools/analysis/analyze_results.py CONFIG PREDICTIONS SHOW_DIR

By the AP of each picture alone (IoU 0.5 to 0.95). Writes SHOW_DIR/good and SHOW_DIR/bad, the AP in each file's name:
truth on the left, detections on the right. PREDICTIONS is what test.py --out wrote, .pkl or .json.
"""
from pathlib import Path

from mmdet.command_line import InputFiles, ToolParser, add_config, add_config_options, plain_errors
from mmdet.errors import UserError


def parse_args():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('prediction_path', action=InputFiles, help='predictions, .pkl or .json')
    parser.add_argument('show_dir', type=Path, help='folder of the pictures')
    parser.add_argument('--show', action='store_true', help='show each picture in a window')
    parser.add_argument('--wait-time', type=float, default=0, help='seconds that --show shows it; 0: until a key')
    parser.add_argument('--topk', type=int, default=20, help='pictures in each folder')
    parser.add_argument('--show-score-thr', type=float, default=0., help='least score of a detection that is drawn')
    add_config_options(parser)
    args = parser.parse_args()
    if args.topk < 1:
        raise UserError(f'--topk {args.topk}: it must be 1 or more')
    return args


def main():
    args = parse_args()

    import cv2

    from mmdet.apis.tested_data import tested
    from mmdet.evaluation.result_file import evaluated_predictions
    from mmdet.report.analysis import image_ap
    from mmdet.report.pictures import drawn_pair
    _, dataset, predictions = tested(args.config, args.prediction_path, args.cfg_options)
    evaluated = evaluated_predictions(dataset, predictions)
    values = image_ap(evaluated)
    order = values.argsort(kind='stable').tolist()
    number = min(args.topk, len(order) // 2) or 1
    for name, chosen in (('good', order[-number:]), ('bad', order[:number])):
        folder = args.show_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        for image in chosen:
            pixels = drawn_pair(evaluated, image, args.show_score_thr)
            path = Path(evaluated.paths[image])
            if pixels is None:
                raise UserError(f'{path} cannot be read: correct data_root or data_prefix of test_dataloader.dataset')
            cv2.imwrite(str(folder / f'{path.stem}_{values[image]:.3f}{path.suffix}'), pixels[..., ::-1])
            if args.show:
                cv2.imshow(name, pixels[..., ::-1])
                cv2.waitKey(int(args.wait_time * 1000))
    print(f'{number} pictures each in {args.show_dir / "good"} and {args.show_dir / "bad"}; mean AP of a picture '
          f'{values.mean():.3f}')


if __name__ == '__main__':
    with plain_errors():
        main()
