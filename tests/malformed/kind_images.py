"""Pictures: cut, of another format than their name says, of rare kinds; as a loader meets them."""
import io

import numpy as np
import world
from case import Case
from PIL import Image

HEIGHT, WIDTH = world.SIZE


def picture(mode='RGB'):
    values = np.random.default_rng(2).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(values[..., ::-1].copy()).convert(mode)


def encoded(format, mode='RGB', **options):
    file = io.BytesIO()
    picture(mode).save(file, format, **options)
    return file.getvalue()


def case(name, content, same, says=()):
    """`same` tells, for the case that it loads, whether its pixels must be those of the sound picture."""
    def run():
        world.draw()
        world.write(world.annotations())
        expected = world.sound()
        with open('2.png', 'wb') as file:
            file.write(content)
        found = world.seen()
        if same:
            return found == expected
        return {name: objects for name, (_, objects) in found.items()} == \
            {name: objects for name, (_, objects) in expected.items()}
    return Case(name, run, [r'2\.png'], says)


def cases(rng):
    sound = encoded('PNG')
    jpeg = encoded('JPEG', quality=95)
    for format in ('PNG', 'BMP', 'TIFF', 'WEBP', 'PPM'):
        options = dict(lossless=True) if format == 'WEBP' else {}
        yield case(f'{format} by the name of a PNG', encoded(format, **options), True)
    for format in ('JPEG', 'GIF'):
        yield case(f'{format} by the name of a PNG', encoded(format), False)
    for mode in ('L', 'LA', 'RGBA', 'P', '1', 'I;16'):
        yield case(f'PNG of mode {mode}', encoded('PNG', mode), False)
    for mode in ('L', 'CMYK'):
        yield case(f'JPEG of mode {mode}', encoded('JPEG', mode), False)
    for mode in ('F', 'I;16', 'LAB'):
        yield case(f'TIFF of mode {mode}', encoded('TIFF', 'L' if mode != 'LAB' else 'RGB'), False)
    yield case('progressive JPEG', encoded('JPEG', progressive=True), False)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield case(f'JPEG turned by EXIF {orientation}', encoded('JPEG', exif=exif), False)
    for name, more in dict(zeros=bytes(1000), noise=rng.randbytes(1000), jpeg=jpeg, text=b'MotionPhoto_Data').items():
        yield case(f'JPEG and {name} behind it', jpeg + more, False)
        yield case(f'PNG and {name} behind it', sound + more, True)
    yield case('JPEG without its two last bytes', jpeg[:-2], False)
    texts = {'empty': b'', 'html': b'<html>404</html>', 'text': b'abc', 'zeros': bytes(500),
             'pickle': b'\x80\x04}\x94.',
             'svg': b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'apple': b'\x00\x05\x16\x07' + bytes(100),
             'PNG header': sound[:8], 'JPEG header': jpeg[:20], 'noise': rng.randbytes(3000), 'pdf': b'%PDF-1.4\n',
             'lfs': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n'}
    for name, content in texts.items():
        yield case(f'content: {name}', content, True)
    for _ in range(40):
        at = rng.randrange(1, len(sound) - 12)  # without its end mark it is whole
        yield case(f'PNG cut at {at}', sound[:at], True)
    for _ in range(40):
        at = rng.randrange(1, len(jpeg) - 2)
        yield case(f'JPEG cut at {at}', jpeg[:at], True)
    for side in ((1, 1), (1, WIDTH), (HEIGHT, 1), (WIDTH, HEIGHT), (HEIGHT + 1, WIDTH)):
        file = io.BytesIO()
        Image.new('RGB', side[::-1]).save(file, 'PNG')
        yield case(f'PNG of {side}', file.getvalue(), True)
