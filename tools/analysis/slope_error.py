"""What CBN loses where its slopes are of some positions alone: python tools/analysis/slope_error.py [CONFIG]

Trains with CBN and looks, every few steps, at each of its layers: statistics of the last iterations without
compensation and with it, by slopes of all positions, a quarter (slope_stride=2) and a ninth (3) of them, against the
true ones, which are those of the same inputs under today's weights.
"""
import sys
from pathlib import Path

from mmdet.command_line import ConfigFile, ToolParser, add_config_options, plain_errors


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('config', nargs='?', action=ConfigFile, default='configs/demo/mask-rcnn_demo.py',
                        help='config to train')
    parser.add_argument('--steps', type=int, default=160, help='of the training')
    parser.add_argument('--every', type=int, default=40, help='steps from look to look')
    parser.add_argument('--buffer-num', type=int, default=3, help='earlier iterations')
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    import torch
    from mmengine.runner import set_random_seed
    from slope_window import STRIDES, Window, errors
    from timing import markdown

    from mmdet.engine.config import read_config
    from mmdet.engine.norm_option import apply_norm
    from mmdet.models.layers import CBN
    from mmdet.registry import MODELS, OPTIMIZERS
    from mmdet.utils import register_all_modules
    sys.path.append(str(Path(__file__).parents[1]))
    from plain_train import build_loader
    register_all_modules()
    cfg = read_config(args.config, args.cfg_options)
    apply_norm(cfg, 'CBN', buffer_num=args.buffer_num)
    set_random_seed(0)
    model = MODELS.build(cfg.model).train()
    model.init_weights()
    windows = []
    for module in model.modules():
        if isinstance(module, CBN):
            module.burnin = module.burnin_iters = 0
            windows.append(Window(module))
    loader = build_loader(cfg.train_dataloader, 0)
    optimizer = OPTIMIZERS.build(dict(cfg.optim_wrapper.optimizer, params=model.parameters()))
    rows, step = [], 0
    while step < args.steps:
        for batch in loader:
            step += 1
            loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, training=True), mode='loss'))
            if step % args.every == 0:
                rows.append(torch.stack([errors(window.estimates()) for window in windows if len(window.kept) > 1]))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step == args.steps:
                break
    names = ['averaged, not compensated', *(f'slope_stride={every}' for every in STRIDES)]
    table = [[name, *(f'{value:.4f}' for value in row)]
             for name, row in zip(names, torch.cat(rows).mean(0), strict=True)]
    print(f'{len(windows)} layers, {len(rows)} looks, {args.buffer_num} earlier iterations')
    print(markdown(table, ['', 'error of the mean, standard deviations', 'of the logarithm of the variance']))


if __name__ == '__main__':
    with plain_errors():
        main()
