"""Evaluate a COCO result file: python tools/eval_results.py ANNOTATIONS.json RESULT.json

Prints pycocotools' summary; a result file with segmentations is evaluated as masks, any other as boxes.
"""
import argparse

from mmdet.engine.command_line import plain_errors
from mmdet.evaluation.coco_evaluation import check_results, coco_index, evaluate_coco, read_results
from mmdet.structures import read_coco_json


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('annotations', help='ground truth, COCO instances JSON')
    parser.add_argument('results', help='detections, COCO results JSON: a list of dicts with image_id, category_id, '
                        'score and bbox or segmentation')
    args = parser.parse_args()
    annotations = read_coco_json(args.annotations)
    results = read_results(args.results)
    check_results(results, annotations, args.results, args.annotations)
    iou_type = 'segm' if results and 'segmentation' in results[0] else 'bbox'
    evaluation = evaluate_coco(coco_index(annotations), results, iou_type)
    print(f'{iou_type}: {len(results)} results')
    evaluation.print_function = print
    evaluation.summarize()


if __name__ == '__main__':
    with plain_errors():
        main()
