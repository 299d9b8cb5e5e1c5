"""The tables and pictures of the norm study, from the lines of its trainings."""
import json
import statistics
from collections import defaultdict

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

PROCESSES = 4  # of SyncBN
WHAT = 'mean (standard deviations)', 'logarithm of the variance'
SHOWN = {'BN': 'C3', 'SyncBN, 4 processes': 'C1', 'BN, precise': 'C5', 'Batch Renorm': 'C4', 'GN': 'C2',
         'CBN, buffer 7': 'C0', 'CBN, buffer 7, precise': 'C9', 'FrozenBN': 'C7'}
ESTIMATES = {'batch': ('this batch alone (BN)', 'C3'), 'average': ('average over the window', 'C1'),
             'compensated': ('the same, compensated (CBN)', 'C0')}
TRUTHS = {'inputs': "own weights moved,\nlayers' inputs as they were",
          'window': "window's pictures,\nwhole network as it is now",
          'population': 'other pictures,\nwhole network as it is now'}


def draw(file):
    """Print the tables, and write accuracy.png, layers.png and estimates.png beside the JSON-lines `file`."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for settings, part in grouped(lines, 'task', 'steps', 'batch', 'burnin').items():
        task, steps, batch, burnin = settings
        name = f'{task.rstrip("/").split("/")[-1]}_{steps}_{batch}_{burnin:g}'
        cells = best(part)
        print(f'\n{task}: {steps} steps of {batch} pictures, burn-in {burnin:g}, learning rates '
              f'{", ".join(f"{lr:g}" for lr in tried(part))}')
        images = sorted({n for _, n in cells}, reverse=True)
        for title, figure in (('test accuracy', 'test'), ('accuracy in training, last tenth of the steps', 'training'),
                              ('test accuracy, running statistics averaged over the devices', 'averaged'),
                              ('learning rate', 'lr')):
            print(f'\n{table(cells, images, figure, title)}')
        for kind, plot in (('accuracy', accuracy), ('layers', layers), ('estimates', estimates)):
            figure = plot(cells, images)
            if figure:
                path = file.parent / f'{kind}_{name}.png'
                figure.savefig(path, dpi=110)
                plt.close(figure)
                print(f'\nwritten to {path}')


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
    for (norm, images), part in grouped([line for line in lines if line['lr'] in rates], 'norm', 'images').items():
        for name, val, test in ((norm, 'val', 'test'), (f'{norm}, precise', 'precise_val', 'precise')):
            if norm == 'BN, momentum 0.01' and val == 'precise_val' or val not in part[0]:
                continue
            group = max(grouped(part, 'lr').values(), key=lambda group: statistics.mean(line[val] for line in group))
            cells[name, images] = [dict(line, test=line[test]) for line in group]
    sizes = {images for _, images in cells}
    for images in sizes:
        for norm in ('GN', 'FrozenBN'):
            if (norm, max(sizes)) in cells:
                cells[norm, images] = cells[norm, max(sizes)]
        if ('BN', whole := min(PROCESSES * images, max(sizes))) in cells:
            cells['SyncBN, 4 processes', images] = cells['BN', whole]
    return cells


def table(cells, images, figure, title):
    """Mean and standard deviation over the seeds, in markdown: a row for a norm, a column for a number of images."""
    rows = [[title + '; images on a device', *images]]
    for norm in dict.fromkeys(norm for norm, _ in cells):
        row = [norm]
        for count in images:
            values = [line[figure] for line in cells.get((norm, count), ()) if figure in line]
            row.append('' if not values else f'{values[0]:g}' if figure == 'lr' else spread(values))
        rows.append(row)
    rows.insert(1, ['---'] * len(rows[0]))
    return '\n'.join('| ' + ' | '.join(map(str, row)) + ' |' for row in rows)


def spread(values):
    return f'{statistics.mean(values):.1f}' + (f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else '')


def accuracy(cells, images):
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout='constrained')
    for axis, (kind, title) in zip(axes, dict(test='unseen pictures', training='in training, last tenth').items()):
        for norm, color in SHOWN.items():
            found = {count: [line[kind] for line in cells[norm, count]] for count in images if (norm, count) in cells}
            if found and not (kind == 'training' and 'precise' in norm):
                axis.errorbar(list(found), list(map(statistics.mean, found.values())),
                              list(map(statistics.pstdev, found.values())), color=color, marker='o', markersize=4,
                              capsize=3, label=norm)
        axis.set_xscale('log', base=2)
        axis.set_xticks(images, images)
        axis.invert_xaxis()
        axis.set(title=title, xlabel='images on a device')
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('accuracy (%)')
    axes[0].legend(fontsize=8)
    return figure


def layers(cells, images):
    """Distance of BN's batch statistics from the population's."""
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
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), sharex=True, layout='constrained')
    for column, (truth, title) in enumerate(TRUTHS.items()):
        for row, what in enumerate(WHAT):
            axis = axes[row][column]
            for name, (label, color) in ESTIMATES.items():
                values = [[run[place][f'{name}/{truth}'][row] for run in probes] for place in range(len(steps))]
                axis.errorbar(steps, list(map(statistics.mean, values)), list(map(statistics.pstdev, values)),
                              color=color, marker='.', capsize=2, label=label)
            axis.set_yscale('log')
            axis.grid(alpha=0.3)
            if not column:
                axis.set_ylabel(f'error of the {what}')
            if not row:
                axis.set_title(title, fontsize=10)
            else:
                axis.set_xlabel('step')
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f'{norm}, {count} images on a device')
    return figure
