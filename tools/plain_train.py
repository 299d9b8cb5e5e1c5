"""Trains a detector by a plain PyTorch loop, without the Runner: python tools/plain_train.py CONFIG [options].

Start from this file where the Runner does not suit you. One process; data, model, optimizer and schedules are the
config's, and the losses those of tools/train.py. It leaves out resume, mixed precision, hooks, logs and reports.
"""
from pathlib import Path

from mmdet.command_line import ToolParser, add_config, add_config_options, plain_errors
from mmdet.errors import UserError


def build_loader(cfg, seed):
    """A DataLoader as the config's `train_dataloader` or `val_dataloader` says."""
    import torch
    from torch.utils.data import BatchSampler, DataLoader

    from mmdet.datasets import stacked_collate
    from mmdet.engine.seeded_batches import seed_batches
    from mmdet.registry import DATA_SAMPLERS, DATASETS
    dataset = DATASETS.build(cfg.dataset)
    sampler = DATA_SAMPLERS.build(cfg.sampler, default_args=dict(dataset=dataset, seed=seed))
    if cfg.get('batch_sampler'):
        batches = DATA_SAMPLERS.build(cfg.batch_sampler, default_args=dict(sampler=sampler, batch_size=cfg.batch_size))
    else:
        batches = BatchSampler(sampler, cfg.batch_size, cfg.get('drop_last', False))
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=cfg.get('num_workers', 0),
                        collate_fn=stacked_collate, generator=torch.Generator().manual_seed(seed))
    seed_batches(loader, seed)  # what transforms draw follows from seed, epoch and picture
    return loader


def build_schedulers(cfg, optimizer, epoch_length):
    """Those that step behind each iteration, and those that step behind each epoch."""
    from mmdet.registry import PARAM_SCHEDULERS
    built = [[], []]
    for options in cfg.get('param_scheduler') or []:
        options = dict(options, optimizer=optimizer)
        if options.pop('convert_to_iter_based', False):
            scheduler = PARAM_SCHEDULERS.get(options.pop('type')).build_iter_from_epoch(
                **options, epoch_length=epoch_length)
        else:
            scheduler = PARAM_SCHEDULERS.build(options)
        built[scheduler.by_epoch].append(scheduler)
    return built


def evaluate(model, loader, cfg):
    """The figures of the config's val_evaluator."""
    from mmdet.registry import METRICS
    options = cfg.val_evaluator
    metrics = [METRICS.build(each) for each in (options if isinstance(options, list) else [options])]
    model.eval()
    for batch in loader:
        samples = [sample.to_dict() for sample in model.test_step(batch)]
        for metric in metrics:
            metric.process(batch, samples)
    figures = {}
    for metric in metrics:
        metric.dataset_meta = loader.dataset.metainfo
        figures.update(metric.evaluate(len(loader.dataset)))
    return figures


def tell(line):
    print(line, flush=True)


def train(cfg, device, told=tell):
    """Train as `cfg` says, and return the model and its data set. `told` gets a line of losses a step."""
    import torch
    from mmengine.runner import set_random_seed

    from mmdet.checkpoints import load_weights, read_checkpoint
    from mmdet.registry import MODELS, OPTIMIZERS
    if 'max_epochs' not in (cfg.get('train_cfg') or {}):
        raise UserError('plain_train.py counts epochs: train_cfg of the config needs max_epochs')
    seed = (cfg.get('randomness') or {}).get('seed') or 0
    set_random_seed(seed)
    model = MODELS.build(cfg.model).to(device)
    loader = build_loader(cfg.train_dataloader, seed)
    optimizer = OPTIMIZERS.build(dict(cfg.optim_wrapper.optimizer, params=model.parameters()))
    each_iteration, each_epoch = build_schedulers(cfg, optimizer, len(loader))
    model.init_weights()
    if cfg.get('load_from'):
        load_weights(model, read_checkpoint(cfg.load_from), source=cfg.load_from)
    for module in model.modules():
        if hasattr(module, 'set_epoch_length'):  # CBN counts its burn-in in epochs
            module.set_epoch_length(len(loader))

    for epoch in range(cfg.train_cfg.max_epochs):
        loader.batch_sampler.sampler.set_epoch(epoch)
        model.train()
        for iteration, batch in enumerate(loader):
            batch = model.data_preprocessor(batch, training=True)  # to the device: normalized, padded, ground truth
            losses = model(**batch, mode='loss')
            loss, figures = model.parse_losses(losses)
            optimizer.zero_grad()
            loss.backward()
            if cfg.optim_wrapper.get('clip_grad'):
                torch.nn.utils.clip_grad_norm_(model.parameters(), **cfg.optim_wrapper.clip_grad)
            optimizer.step()
            for scheduler in each_iteration:
                scheduler.step()
            told(f'epoch {epoch + 1} [{iteration + 1}/{len(loader)}] ' + ' '.join(
                f'{name} {value.item():.4f}' for name, value in figures.items()))
        for scheduler in each_epoch:
            scheduler.step()
    return model, loader.dataset


def main():
    parser = ToolParser(__doc__)
    add_config(parser)
    parser.add_argument('--out', default='plain.pth', help='the checkpoint to write')
    parser.add_argument('--device', help='default: the first GPU, or the CPU')
    add_config_options(parser)
    args = parser.parse_args()

    import torch
    from mmengine.logging import MMLogger

    from mmdet.engine.config import read_config
    from mmdet.utils import register_all_modules
    MMLogger.get_current_instance().addFilter(lambda record: '- torch.Size(' not in record.getMessage())  # each weight
    cfg = read_config(args.config, args.cfg_options)
    register_all_modules()
    model, dataset = train(cfg, args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(dataset.metainfo))), args.out)
    print(f'{args.out} is written; python tools/test.py {args.config} {args.out} tests it')
    if cfg.get('val_dataloader'):
        print(evaluate(model, build_loader(cfg.val_dataloader, 0), cfg))


if __name__ == '__main__':
    with plain_errors():
        main()
