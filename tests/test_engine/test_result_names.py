from each import each

from mmdet.engine.result_names import ResultNames


@each('paths, drawings, predictions', [
    (['/d/cam1/1.png', '/d/cam1/2.png'], ['1.png', '2.png'], ['1.json', '2.json']),
    (['/d/cam1/1.png', '/d/cam2/1.png', '/d/cam2/1.png'], ['cam1/1.png', 'cam2/1.png', 'cam2/1.png'],
     ['cam1/1.json', 'cam2/1.json', 'cam2/1.json']),
    (['/d/1.jpg', '/d/1.png'], ['1.jpg', '1.png'], ['1.jpg.json', '1.png.json']),
    (['/a/x/cam/1.jpg', '/a/y/cam/1.png', '/a/y/cam/1.jpg'], ['x/cam/1.jpg', 'y/cam/1.png', 'y/cam/1.jpg'],
     ['x/cam/1.jpg.json', 'y/cam/1.png.json', 'y/cam/1.jpg.json']),
    (['/d/a', '/d/a.jpg', '/d/b.JPG'], ['a.jpg', 'a.jpg.jpg', 'b.JPG.jpg'], ['a.json', 'a.jpg.json', 'b.JPG.json']),
    (['/d/cam1/../1.png', '/d/cam1/1.png'], ['d/1.png', 'cam1/1.png'], ['d/1.json', 'cam1/1.json']),
    (['http://a.b/x/1.png', 'http://a.b/y/1.png'], ['x/1.png', 'y/1.png'], ['x/1.json', 'y/1.json'])])
def test_names(paths, drawings, predictions):
    for suffix, expected in ((None, drawings), ('.json', predictions)):
        for order in (paths, paths[::-1]):
            names = ResultNames(suffix)
            names.plan(paths)
            assert {path: names(path) for path in order} == dict(zip(paths, expected, strict=True))


def test_names_without_a_plan_differ():
    names = ResultNames('.json')
    paths = ['/a/1.png', '/b/1.png', '/a/1.jpg', 'array://1.png', '/1.png', '/b/1.png', '/1.json.png', '/1']
    given = [names(path) for path in paths]
    assert given[0] == '1.json' and given[1] == given[5] == 'b/1.json' and len(set(given)) == len(set(paths))
    assert [names(path) for path in paths] == given
