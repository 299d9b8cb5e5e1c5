"""Programs called with options that are none, files that are not there, and words that a shell has taken apart."""
import re

from case import Case
from training import refused, tiny, tool

BRACKETS = ['a=[1,2', 'a=(1,2', 'a=dict(b=1', 'a=1,2]', 'a={1:2', 'a=[(1,2],3)']
PAIRS = ['a', '=1', 'a..b=1', '.a=1', 'a.=1', 'model', 'model.backbone', 'a=dict(b=open("ran","w"))', 'a=dict(b=)',
         'a=dict(1,2)', 'a={b:1}', 'a=dict(**b)', 'a=dict(b=__import__("os"))', 'model.backbone.depth.x=1',
         'train_pipeline.99.type=a', 'param_scheduler.x.type=a', 'model=dict()', 'model.backbone=[1]']


def cases(rng):
    config = tiny()
    folder = config.parent
    (folder / 'text.jpg').write_text('no picture')
    (folder / 'folder.py').mkdir(exist_ok=True)

    def case(name, *args, names=(), program='train.py'):
        names = names or (args[-1],)
        words = '|'.join(re.escape(str(word).replace(str(folder), '')) for word in names)
        return Case(f'{program} {name}', refused(lambda: tool(program, *args)), [words])
    for text in BRACKETS + PAIRS:
        yield case(text, config, '--work-dir', 'w', '--cfg-options', text,
                   names=(text.partition('=')[0] or text, 'model'))
    for program in ('train.py', 'print_config.py'):
        for name in ('none.py', 'folder.py', '', 'tiny', '/', '~', 'tiny.PY', 'none.yaml'):
            path = folder / name if name else ''
            yield case(repr(name), path, program=program, names=(str(path), 'config'))
    yield case('resume of nothing', config, '--work-dir', 'w', '--resume', 'none.pth')
    yield case('resume of a folder', config, '--work-dir', 'w', '--resume', folder, names=(str(folder),))
    yield case('resume of a config', config, '--work-dir', 'w', '--resume', config, names=(str(config),))
    yield case('launcher', config, '--work-dir', 'w', '--launcher', 'pytorch', names=('--launcher pytorch', 'RANK'))
    yield case('no lr to scale', config, '--work-dir', 'w', '--auto-scale-lr', names=('base_batch_size',))
    yield case('work_dir that is a file', config, '--work-dir', config, names=(str(config),))
    for checkpoint in ('none.pth', folder, config, folder / 'text.jpg', 'http://127.0.0.1:9/a.pth', 'torchvision://none',
                       'open-mmlab://none', 'ftp://a/b.pth', ''):
        names = str(checkpoint), 'checkpoint'
        yield case(f'checkpoint {checkpoint}', config, checkpoint, program='test.py', names=names)
        yield case(f'convert {checkpoint}', checkpoint, 'out.pth', program='convert/checkpoint.py', names=names)
    yield case('--out without an ending', config, config, '--out', 'results', program='test.py', names=('results',))
    for image in ('none.jpg', folder / 'text.jpg', 'http://127.0.0.1:9/a.jpg', folder / 'folder.py', config):
        yield case(f'image {image}', image, config, program='image_demo.py', names=(str(image),))
