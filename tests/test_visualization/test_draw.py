import numpy as np

from mmdet.visualization.draw import draw_boxes, draw_labels, draw_masks

RED, BLUE = (255, 0, 0), (0, 0, 255)


def grey(height=60, width=80):
    return np.full((height, width, 3), 100, np.uint8)


def test_mask_tints_its_pixels_alone():
    image = grey()
    mask = np.ones((20, 30), bool)
    draw_masks(image, [(mask, 10, 5)], [RED], alpha=0.5, width=1)
    assert image[15, 25].tolist() == [177, 50, 50]  # halfway from grey 100 to red
    changed = (image != 100).any(axis=2)
    changed[4:26, 9:41] = False  # the mask and its outline
    assert not changed.any()


def test_small_mask_stays_visible_on_a_large_one():
    image = grey()
    small, large = (np.ones((10, 10), bool), 20, 20), (np.ones((50, 60), bool), 0, 0)
    draw_masks(image, [small, large], [RED, BLUE], alpha=1., width=1)
    assert image[25, 25].tolist() == [255, 0, 0] and image[10, 50].tolist() == [0, 0, 255]


def test_masks_beyond_the_image_are_cut():
    image = grey()
    draw_masks(image, [(np.ones((200, 200), bool), 70, 50), (np.zeros((0, 0), bool), 0, 0)], [RED, RED], 1., 1)
    assert image[56, 76].tolist() == [255, 0, 0]


def test_box_is_drawn_on_its_edges():
    image = grey()
    draw_boxes(image, np.array([[10., 10., 50., 40.]]), [RED], width=1)
    assert image[10, 30].tolist() == [255, 0, 0] and image[25, 10].tolist() == [255, 0, 0]
    assert image[25, 30].tolist() == [100, 100, 100]


def test_boxes_outside_the_image_do_no_harm():
    image = grey()
    draw_boxes(image, np.array([[-1e9, -5, 1e9, 1e9], [500, 500, 600, 600]]), [RED, RED], width=2)
    assert image.shape == (60, 80, 3)


def test_labels_keep_off_each_other_and_inside():
    image = grey(100, 200)
    boxes = np.array([[20., 40., 180., 90.], [20., 40., 180., 90.], [190., 2., 199., 9.]])
    drawn = draw_labels(image, boxes, ['one', 'two', 'three'], [RED, BLUE, (0, 255, 0)], size=12)
    assert (image == 100).all(), 'the image that is handed in stays as it is'
    for color in (RED, BLUE, (0, 255, 0)):
        rows, columns = np.nonzero((drawn == color).all(axis=2))
        assert len(rows) > 60, f'{color} is covered'
    assert drawn.shape == image.shape


def test_labels_on_an_image_smaller_than_themselves():
    assert draw_labels(grey(6, 6), np.array([[0., 0., 5., 5.]]), ['a long name'], [RED], size=12).shape == (6, 6, 3)
