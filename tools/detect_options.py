"""The options that image_demo.py, video_demo.py and large_image_demo.py share, and what they do."""
import os

from mmdet.errors import UserError


def add_detect_options(parser):
    parser.add_argument('--device', help='cuda:0, cpu, ...; default: a GPU where there is one')
    parser.add_argument('--batch-size', type=int, help='pictures or tiles at a time; default: by the memory of the GPU')
    parser.add_argument('--workers', type=int, default=2, help='threads that read pictures ahead')
    parser.add_argument('--show', action='store_true', help='show each picture in a window; q ends')
    parser.add_argument('--wait-time', type=float, default=0, help='seconds that --show shows a picture; 0: till a key')
    parser.add_argument('--no-save-vis', action='store_true', help='write no pictures')
    parser.add_argument('--no-save-pred', action='store_true', help='write no JSON')
    parser.add_argument('--print-result', action='store_true', help='print the detections')
    parser.add_argument('--palette', default='none', help='coco, random or a color; default: of the data set')
    parser.add_argument('--save-as', nargs='+', default=[], metavar='FORMAT',
                        help='also write coco, csv, yolo or labelme; several with spaces between')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation, see tools/test.py')
    parser.add_argument('--tile', '--patch-size', type=int, help='cut pictures into tiles of this many pixels')
    parser.add_argument('--overlap', '--patch-overlap-ratio', type=float, default=0.2,
                        help='share of a tile that the next one shows again')
    parser.add_argument('--merge-iou-thr', type=float, default=0.25, help='IoU from which tiles give one detection')
    parser.add_argument('--merge-nms-type', choices=['nms'], default='nms', help='how tiles are merged')
    parser.add_argument('--shards', action='store_true', help='predictions as JSON lines in OUT_DIR/shards')
    parser.add_argument('--resume', action='store_true', help='go on where a run with --shards has stopped')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='what started the processes, of which each takes its share; dist_detect.sh sets it')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by older launchers; ignored')


def run(args):
    """Detect as the options say; the exit status."""
    from mmdet.apis import DetInferencer
    from mmdet.apis.detect_files import detect_files
    from mmdet.apis.save_as import FORMATS
    from mmdet.apis.tiles import Tiling
    unknown = [name for name in args.save_as if name not in FORMATS]
    if unknown:
        raise UserError(f'--save-as {unknown[0]}: known formats are {", ".join(FORMATS)}')
    for name in ('batch_size', 'workers'):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f'--{name.replace("_", "-")} {getattr(args, name)}: it must be 1 or more')
    tiling = None if args.tile is None else Tiling(args.tile, args.overlap, args.merge_iou_thr).check()
    device = args.device
    if args.launcher != 'none':
        from mmdet.engine.distributed import device_type, start_process_group
        start_process_group(args.launcher, 'gloo', timeout=7 * 24 * 3600)  # one may have done its share long before
        device = device or (f'cuda:{os.environ["LOCAL_RANK"]}' if device_type() == 'cuda' else 'cpu')
    inferencer = DetInferencer(args.model, args.weights, device, palette=args.palette, tta=args.tta)
    failed = detect_files(
        inferencer, args.inputs, args.out_dir, not args.no_save_vis, not args.no_save_pred, args.save_as,
        args.pred_score_thr, args.show, args.wait_time, args.out, args.print_result, args.batch_size, tiling,
        args.workers, args.shards or args.launcher != 'none', args.resume)
    if int(os.environ.get('RANK', 0)) == 0:
        if args.save_as or args.shards or not (args.no_save_vis and args.no_save_pred):
            print(f'results are in {args.out_dir}')
        if args.out and os.path.exists(args.out):
            print(f'{args.out} is the drawn video')
        if failed:
            print(f'{failed} of the pictures could not be read; they are named above')
    return 1 if failed else 0
