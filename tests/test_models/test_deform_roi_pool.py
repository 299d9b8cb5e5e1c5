import pytest
import torch
from torch.nn import functional as F

from mmdet.models.roi_heads import SingleRoIExtractor


def by_grid_sample(layer, features, rois, scale):
    """The same, of one level, by sampling every point."""
    rows, columns = layer.output_size
    samples = layer.sampling_ratio

    def pool(right, down):
        out = []
        for i, (image, x1, y1, x2, y2) in enumerate(rois):
            at = (torch.arange(samples) + .5) / samples
            x = x1 + (x2 - x1) * ((torch.arange(columns)[:, None] + at) / columns + layer.gamma * right[i][..., None])
            y = y1 + (y2 - y1) * ((torch.arange(rows)[:, None, None] + at) / rows + layer.gamma * down[i][..., None])
            x, y = x[:, :, None].expand(-1, -1, samples, -1), y[..., None].expand(-1, -1, -1, samples)
            size = torch.tensor(features.shape[:1:-1])
            grid = 2 * torch.stack([x, y], -1).view(1, rows, -1, 2) * scale / size - 1
            values = F.grid_sample(features[int(image)][None], grid, align_corners=False)
            out.append(values.view(-1, rows, columns, samples * samples).mean(-1))
        return torch.stack(out)
    zeros = torch.zeros(len(rois), rows, columns)
    straight = pool(zeros, zeros).flatten(1)
    right, down = layer.offset_fc(straight).view(-1, 2, rows, columns).unbind(1)
    out = pool(right, down)
    return out * layer.mask_fc(straight).view(-1, 1, rows, columns) if hasattr(layer, 'mask_fc') else out


@pytest.mark.parametrize('kind', ['DeformRoIPoolPack', 'ModulatedDeformRoIPoolPack'])
def test_equals_sampling_every_point(kind):
    torch.manual_seed(0)
    extractor = SingleRoIExtractor(dict(type=kind, output_size=(3, 2), output_channels=4, deform_fc_channels=8,
                                        sampling_ratio=2), out_channels=4, featmap_strides=[4, 8])
    for parameter in extractor.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    names = {name.split('.')[1] + '.' + name.split('.')[2] for name in extractor.state_dict()}
    assert names == {f'{level}.{part}' for level in '01' for part in ('offset_fc', 'mask_fc')
                     if kind.startswith('Mod') or part == 'offset_fc'}
    # Smooth, as a sample within 1/256 pixel of a pixel's centre has the mean of the slopes on both sides.
    features = [F.interpolate(torch.randn(2, 4, 5, 5), 40 // i, mode='bicubic').requires_grad_() for i in (1, 2)]
    rois = torch.tensor([[0, 30., 40, 90, 70], [1, 20, 20, 140, 140], [1, 50, 60, 75, 110], [0, 20, 16, 140, 135]])
    fine = torch.tensor([True, False, True, False])
    out = extractor(features, rois)
    expected = torch.empty_like(out)
    expected[fine] = by_grid_sample(extractor.roi_layers[0], features[0], rois[fine], 1 / 4)
    expected[~fine] = by_grid_sample(extractor.roi_layers[1], features[1], rois[~fine], 1 / 8)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    targets = [*features, *extractor.parameters()]
    direction = torch.randn_like(out)
    found, wanted = (torch.autograd.grad((value * direction).sum(), targets) for value in (out, expected))
    for one, other in zip(found, wanted):
        assert (one - other).norm() < 0.02 * other.norm() + 1e-5


def test_begins_as_roi_align_and_takes_no_rois():
    options = dict(output_size=3, sampling_ratio=0)
    deform, plain = (SingleRoIExtractor(layer, out_channels=4, featmap_strides=[4]) for layer in (
        dict(type='DeformRoIPoolPack', output_channels=4, **options), dict(type='RoIAlign', **options)))
    features, rois = [torch.randn(1, 4, 20, 20)], torch.tensor([[0, 3., 5, 60, 30]])
    torch.testing.assert_close(deform(features, rois), plain(features, rois))
    assert deform(features, rois[:0]).shape == (0, 4, 3, 3)
    assert not plain.state_dict()
