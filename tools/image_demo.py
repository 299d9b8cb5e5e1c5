"""Detects on pictures: python tools/image_demo.py IMAGE_OR_FOLDER CONFIG --weights CHECKPOINT [options]."""
import argparse

from mmdet.apis import DetInferencer
from mmdet.engine.command_line import plain_errors


def main():
    parser = argparse.ArgumentParser(description='Detect on pictures')
    parser.add_argument('inputs', help='image, URL or folder')
    parser.add_argument('model', help='config file, or a checkpoint that holds its config')
    parser.add_argument('--weights', help='checkpoint: path or URL')
    parser.add_argument('--out-dir', default='outputs', help='gets vis/ (pictures) and preds/ (JSON)')
    parser.add_argument('--device', help='cuda:0, cpu, ...; default: a GPU where there is one')
    parser.add_argument('--pred-score-thr', type=float, default=0.3, help='least score of a drawn detection')
    parser.add_argument('--batch-size', type=int, default=1, help='images at a time')
    parser.add_argument('--show', action='store_true', help='show each picture in a window')
    parser.add_argument('--no-save-vis', action='store_true', help='write no pictures')
    parser.add_argument('--no-save-pred', action='store_true', help='write no JSON')
    parser.add_argument('--print-result', action='store_true', help='print the detections')
    parser.add_argument('--palette', default='none', help='coco, random or a color; default: of the data set')
    args = parser.parse_args()
    if args.model.endswith('.pth'):
        args.model, args.weights = None, args.model
    inferencer = DetInferencer(args.model, args.weights, args.device, palette=args.palette)
    inferencer(args.inputs, batch_size=args.batch_size, show=args.show, no_save_vis=args.no_save_vis,
               pred_score_thr=args.pred_score_thr, no_save_pred=args.no_save_pred, print_result=args.print_result,
               out_dir=args.out_dir)
    if not (args.no_save_vis and args.no_save_pred):
        print(f'\nresults are in {args.out_dir}')


if __name__ == '__main__':
    with plain_errors():
        main()
