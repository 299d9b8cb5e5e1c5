"""Times predicted masks on their way to COCO's RLE: python tools/analysis/benchmark_masks.py

Our operator takes turns with pasting followed by encoding. The table's ratios are to torchvision's pasting.
"""

import torch
from timing import alternate, machine, markdown, rows
from torchvision.models.detection.roi_heads import paste_masks_in_image

from mmdet import ops
from mmdet.command_line import ToolParser
from mmdet.evaluation.coco_metric import encode_masks

THRESHOLD = 0.5


def parse_args():
    parser = ToolParser(__doc__)
    parser.add_argument('--masks', type=int, default=100, help='of an image')
    parser.add_argument('--size', type=int, nargs=2, default=(800, 1333), metavar=('HEIGHT', 'WIDTH'),
                        help='of the image in pixels')
    parser.add_argument('--box', type=float, nargs=2, default=(0.02, 0.5), metavar=('LEAST', 'MOST'),
                        help='sides of the boxes as parts of the image')
    parser.add_argument('--repeats', type=int, default=11, help='times to measure')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='of the CPU')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='cpu or cuda')
    return parser.parse_args()


def detections(args):
    """Blobs (N, 28, 28), sure inside and unsure at their outline, and boxes (N, 4) inside the image."""
    generator = torch.Generator().manual_seed(0)
    image = torch.tensor([args.size[1], args.size[0]])
    least, most = args.box
    sizes = (least + (most - least) * torch.rand(args.masks, 2, generator=generator)) * image
    corners = torch.rand(args.masks, 2, generator=generator) * (image - sizes)
    noise = torch.randn(args.masks, 1, 7, 7, generator=generator)
    noise = torch.nn.functional.interpolate(noise, (28, 28), mode='bicubic')[:, 0]
    ramp = 1 - torch.linspace(-1, 1, 28).abs()
    logits = 12 * (torch.minimum(ramp[:, None], ramp) - 0.3) + 1.5 * noise
    return logits.sigmoid().to(args.device), torch.cat([corners, corners + sizes], 1).to(args.device)


def main():
    args = parse_args()
    torch.set_num_threads(args.threads)
    probs, boxes = detections(args)
    ways = {
        'mmdet': lambda: ops.paste_masks_as_rle(probs, boxes, *args.size, THRESHOLD),
        'mmdet, bitmaps': lambda: encode_masks(ops.paste_masks(probs, boxes, *args.size, THRESHOLD)),
        'torchvision': lambda: encode_masks(
            paste_masks_in_image(probs[:, None], boxes, tuple(args.size))[:, 0] >= THRESHOLD),
    }
    same = sum(a['counts'] == b['counts'] for a, b in zip(ways['mmdet'](), ways['mmdet, bitmaps'](), strict=True))
    times = alternate(ways, args.repeats)
    title = f'{args.masks} masks, {args.size[0]} x {args.size[1]}'
    print(f'{machine()}, operators: {ops.backend(args.device)}\n\n{markdown(rows(title, times, "torchvision"))}\n')
    print(f'{same} of {args.masks} RLEs are those of the bitmaps')


if __name__ == '__main__':
    main()
