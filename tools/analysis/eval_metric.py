"""Evaluates predictions without a model: python tools/analysis/eval_metric.py CONFIG RESULTS

The config's test_evaluator gives its figures for the data set of test_dataloader. RESULTS is what test.py --out wrote:
a .pkl, also one of mmdetection 3.x, or COCO results (.json).
"""

from mmdet.command_line import InputFiles, ToolParser, add_config, add_config_options, plain_errors


def main():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('pkl_results', action=InputFiles, help='predictions, .pkl or .json')
    add_config_options(parser)
    args = parser.parse_args()

    from mmengine.evaluator import Evaluator

    from mmdet.apis.tested_data import tested
    from mmdet.registry import EVALUATOR
    cfg, dataset, predictions = tested(args.config, args.pkl_results, args.cfg_options)
    wanted = cfg.get('test_evaluator') or cfg.val_evaluator
    evaluator = (EVALUATOR.build(wanted) if isinstance(wanted, dict) and wanted['type'] in EVALUATOR
                 else Evaluator(wanted))
    evaluator.dataset_meta = dataset.metainfo
    print(evaluator.offline_evaluate(predictions))


if __name__ == '__main__':
    with plain_errors():
        main()
