"""Makes a checkpoint ready to be given away: python tools/publish_model.py IN OUT.pth (or OUT.safetensors).

Weights and meta are kept (classes, config); optimizer, schedules, random states and logs are not. The name becomes
OUT-abcdef12.pth, by the file's SHA-256, and a model card is written beside it: OUT-abcdef12.md.
"""
from pathlib import Path

from mmdet.command_line import CheckpointFile, ToolParser, plain_errors
from mmdet.errors import UserError


def main():
    parser = ToolParser(__doc__)
    parser.add_argument('source', metavar='IN', action=CheckpointFile, help='checkpoint: path, URL or name')
    parser.add_argument('out', metavar='OUT', type=Path, help='file to write: .pth, or .safetensors')
    parser.add_argument('--work-dir', type=Path, help="of the training, for the model card (default: IN's folder)")
    parser.add_argument('--force', action='store_true', help='replace files that exist')
    args = parser.parse_args()
    if args.work_dir and not args.work_dir.is_dir():
        raise UserError(f'--work-dir {args.work_dir} is no folder')

    from mmdet.apis.model_card import model_card
    from mmdet.checkpoints import local_file, published, read_checkpoint, write_published
    checkpoint = read_checkpoint(args.source)
    result, averaged = published(checkpoint, args.source), 'ema_state_dict' in checkpoint
    path, digest = write_published(result, args.out, args.force)
    work_dir = args.work_dir or local_file(args.source).parent
    card = path.with_suffix('.md')
    if card.exists() and not args.force:
        raise UserError(f'{card} exists and stays as it is; --force replaces it. The weights are written: {path}')
    card.write_text(model_card(result, path, digest, work_dir, averaged), encoding='utf-8')
    left_out = [str(key) for key in checkpoint if key not in ('state_dict', 'meta', 'conversion')]
    print(f'{path}: {len(result["state_dict"])} entries' + ', averages of EMAHook' * averaged +
          f', {path.stat().st_size / 2**20:.1f} MiB' + f'; left out: {", ".join(left_out)}' * bool(left_out))
    print(f'{card}: the model card')


if __name__ == '__main__':
    with plain_errors():
        main()
