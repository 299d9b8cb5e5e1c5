"""The tables and pictures of the norm study, from the lines of its trainings."""
import statistics
from collections import defaultdict

import matplotlib

matplotlib.use('Agg')
matplotlib.rcParams['figure.dpi'] = 95
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from study_norms import ANY_BATCH, NORMS  # noqa: E402

PROCESSES = 4  # of SyncBN
WHAT = 'mean\n(standard deviations)', 'variance\n(logarithm)'
TABLES = dict(test='test accuracy', training='accuracy in training, last tenth of the steps',
              averaged='test accuracy, running statistics averaged over the devices',
              population='test accuracy, statistics of the training set', lr='learning rate')
SHOWN = {'BN': 'C3', 'SyncBN, 4 processes': 'C1', 'Batch Renorm': 'C4', 'GN': 'C2', 'CBN, buffer 1': 'C9',
         'CBN, buffer 7, burn-in 2/3': 'C6', 'CBN, buffer 7': 'C0', 'FrozenBN': 'C7'}
ESTIMATES = {'batch': ('this batch alone (BN)', 'C3', '-'), 'average': ('average over the window', 'C1', '-'),
             'compensated': ('the same, compensated (CBN)', 'C0', '--')}
TRUTHS = {'inputs': "own weights moved,\nlayers' inputs as they were",
          'window': "window's pictures,\nwhole network as it is now",
          'population': 'other pictures,\nwhole network as it is now'}


def draw(lines, folder):
    """Print the tables of the trainings `lines`, and write accuracy.png, layers.png and estimates.png to `folder`."""
    for settings, part in grouped(lines, 'task', 'steps', 'batch', 'burnin', 'pretrain', 'map').items():
        task, steps, batch, burnin, pretrain, edge = settings
        name = f'{task.rstrip("/").split("/")[-1]}_{steps}_{batch}_{burnin:g}_{pretrain}_{edge}'
        cells = best(part)
        print(f'\n{task}: {steps} steps of {batch} pictures after {pretrain} of BN, last maps {edge} x {edge}, burn-in '
              f'{burnin:g}, learning rates {", ".join(f"{lr:g}" for lr in tried(part))}')
        images = sorted({n for _, n in cells}, reverse=True)
        for figure, title in TABLES.items():
            if figure != 'lr' or len(tried(part)) > 1:
                print(f'\n{table(cells, images, figure, title)}')
        for kind, plot in (('accuracy', accuracy), ('layers', layers), ('estimates', estimates)):
            figure = plot(cells, images)
            if figure:
                path = folder / f'{kind}_{name}.png'
                save(figure, path)
                print(f'\nwritten to {path}')


def save(figure, path):
    """As PNG of 64 colours: a third of the size."""
    figure.canvas.draw()
    Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert('RGB').quantize(64).save(path, optimize=True)
    plt.close(figure)


def grouped(lines, *keys):
    groups = defaultdict(list)
    for line in lines:
        groups[tuple(line[key] for key in keys)].append(line)
    return groups


def tried(lines):
    """The learning rates that every norm and number of images was trained with; all, if there is none."""
    rates = [{line['lr'] for line in part} for part in grouped(lines, 'norm', 'images').values()]
    return sorted(set.intersection(*rates) or set.union(*rates))


def best(lines):
    """Lines of each (norm, images) with the learning rate that is best in validation, and what follows from them.

    SyncBN over 4 processes is BN over four times the images: it uses the same statistics. Precise: the population
    statistics are estimated anew after the training. GN and FrozenBN are the same for all numbers of images.
    """
    rates = tried(lines)
    cells = {}
    lines = sorted((line for line in lines if line['lr'] in rates), key=lambda line: list(NORMS).index(line['norm']))
    for (norm, images), part in grouped(lines, 'norm', 'images').items():
        for name, val, test in ((norm, 'val', 'test'), (f'{norm}, precise', 'precise_val', 'precise')):
            if norm == 'BN, momentum 0.01' and val == 'precise_val' or val not in part[0]:
                continue
            group = max(grouped(part, 'lr').values(), key=lambda group: statistics.mean(line[val] for line in group))
            cells[name, images] = [dict(line, test=line[test]) for line in group]
    sizes = {images for _, images in cells}
    for images in sizes:
        for norm in ANY_BATCH:
            for count in sizes:
                if (norm, count) in cells:
                    cells[norm, images] = cells[norm, count]
        if ('BN', whole := min(PROCESSES * images, lines[0]['batch'])) in cells:
            cells['SyncBN, 4 processes', images] = cells['BN', whole]
    return cells


def table(cells, images, figure, title):
    """Mean and standard deviation over the seeds, in markdown: a row for a norm, a column for a number of images.

    A row that has no entry is left out, and so is a precise norm where its figures are those of the training.
    """
    rows = [[title + '; images on a device', *images]]
    for norm in dict.fromkeys(norm for norm, _ in cells):
        if norm.endswith('precise') and figure not in ('test', 'lr'):
            continue
        row = [norm]
        for count in images:
            values = [line[figure] for line in cells.get((norm, count), ()) if figure in line]
            row.append('' if not values else f'{values[0]:g}' if figure == 'lr' else spread(values))
        if any(row[1:]):
            rows.append(row)
    rows.insert(1, ['---'] * len(rows[0]))
    return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in rows)


def spread(values):
    return f'{statistics.mean(values):.1f}' + (f' ± {deviation(values):.1f}' if len(values) > 1 else '')


def deviation(values):
    return statistics.stdev(values) if len(values) > 1 else 0


def accuracy(cells, images):
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout='constrained')
    for axis, (kind, title) in zip(axes, dict(test='unseen pictures', training='in training, last tenth').items()):
        for place, (norm, color) in enumerate(SHOWN.items()):
            found = {count: [line[kind] for line in cells[norm, count]] for count in images if (norm, count) in cells}
            if found:  # side by side, so that no bar hides another
                axis.errorbar([count * 1.015 ** (len(SHOWN) / 2 - place) for count in found],
                              list(map(statistics.mean, found.values())), list(map(deviation, found.values())),
                              color=color, marker='o', markersize=4, capsize=3, label=norm)
        axis.set_xscale('log', base=2)
        axis.set_xticks(images, images)
        axis.minorticks_off()
        axis.invert_xaxis()
        axis.set(title=title, xlabel='images on a device')
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('accuracy (%)')
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=4, fontsize=9)
    return figure


def layers(cells, images):
    """Distance of BN's batch statistics from the population's."""
    if not any('layers' in line for (norm, _), part in cells.items() if norm == 'BN' for line in part):
        return None
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout='constrained')
    for place, (axis, what) in enumerate(zip(axes, WHAT)):
        for count in images:
            found = [line['layers'] for line in cells.get(('BN', count), ()) if 'layers' in line]
            if found:
                axis.plot([statistics.mean(run[layer][place] for run in found) for layer in range(len(found[0]))],
                          marker='.', label=f'{count} images')
        axis.set(title=what, xlabel='layer', ylabel="batch from population, rms over the channels")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return figure


def estimates(cells, _):
    """Errors of CBN's statistics in the course of a training: of the fewest images, and of CBN that starts first."""
    found = [(count, part[0]['probes'][0]['step'], norm) for (norm, count), part in cells.items()
             if 'probes' in part[0]]
    if not found:
        return None
    count, _, norm = min(found)
    probes = [line['probes'] for line in cells[norm, count]]
    steps = [probe['step'] for probe in probes[0]]
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), sharex=True, sharey='row', layout='constrained')
    for column, (truth, title) in enumerate(TRUTHS.items()):
        for row, what in enumerate(WHAT):
            axis = axes[row][column]
            for name, (label, color, line) in ESTIMATES.items():
                values = [[run[place][f'{name}/{truth}'][row] for run in probes] for place in range(len(steps))]
                axis.errorbar(steps, list(map(statistics.mean, values)), list(map(deviation, values)),
                              color=color, marker='.', capsize=2, label=label, linestyle=line)
            axis.set_yscale('log')
            axis.set_ylim(bottom=1e-4)
            axis.grid(alpha=0.3)
            if not column:
                axis.set_ylabel(f'error of the {what}')
            if not row:
                axis.set_title(title, fontsize=10)
            else:
                axis.set_xlabel('step')
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc='outside lower center', ncols=3, fontsize=9)
    figure.suptitle(f'{norm}, {count} images on a device')
    return figure
