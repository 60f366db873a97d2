import numpy as np
import pytest
from PIL import Image, ImageSequence

from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.images.animation import save_gif


def test_floats_are_clipped_and_rounded():
    pixels = np.array([-0.5, 0.0, 0.5, 1.0, 1.5], np.float32)
    assert grids.to_uint8(pixels).tolist() == [0, 0, 128, 255, 255]


def test_every_uint8_value_survives_the_way_through_floats():
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(grids.to_uint8(values.astype(np.float32) / 255), values)
    assert np.array_equal(grids.to_uint8(values), values)


def test_small_digits_are_enlarged_by_a_whole_factor_to_64_pixels_or_more():
    digit = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    picture = grids.grid(digit, 4)
    assert picture.shape == (64, 64, 3)
    assert np.array_equal(picture[::8, ::8], np.broadcast_to(grids.to_uint8(digit[0]), (8, 8, 3)))
    assert np.array_equal(picture[7::8, 7::8], picture[::8, ::8])
    assert grids.grid(np.zeros((1, 28, 28, 1)), 1).shape == (84, 84, 3)


def test_pictures_with_captions_of_their_own_stand_in_the_rows_that_are_named():
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    one, other = grids.to_uint8(images)
    picture = grids.captioned_rows({"a": images, "b": images[::-1]}, [["1", "2"], ["3", "4"]])
    left, below = picture.shape[1] - 2 * 64 - grids.LINE, (picture.shape[0] - grids.LINE) // 2 + grids.LINE
    np.testing.assert_array_equal(picture[:64, left : left + 64], one)
    np.testing.assert_array_equal(picture[below : below + 64, left : left + 64], other)
    assert (picture[64:below, left:] < grids.WHITE).any(), "there are captions"


def test_what_captions_are_of_stands_at_their_left():
    images = np.zeros((3, 64, 64, 1), np.float32)
    plain, named = (grids.named_rows({"a": images}, 3, captions="123", captioned=what) for what in ("", "z0 ="))
    assert (named[64:, :20] < grids.WHITE).any() and (plain[64:, :10] == grids.WHITE).all()
    width = 3 * 64 + 2 * grids.GROUP
    np.testing.assert_array_equal(named[:, -width:], plain[:, -width:])


def test_large_pictures_keep_their_pixels_and_colours():
    photo = np.random.default_rng(0).random((1, 70, 90, 3), np.float32)
    assert np.array_equal(grids.grid(photo, 1), grids.to_uint8(photo[0]))


def test_pictures_stand_in_reading_order_with_white_lines_between():
    shades = np.arange(5).reshape(5, 1, 1, 1) / 10 * np.ones((1, 64, 64, 1))
    picture = grids.grid(shades, 3)
    pitch = 64 + grids.LINE
    assert picture.shape == (2 * pitch - grids.LINE, 3 * pitch - grids.LINE, 3)
    centres = picture[pitch // 2 :: pitch, pitch // 2 :: pitch, 0]
    assert centres.tolist() == [[0, 26, 51], [76, 102, 255]]  # the place of the sixth is empty: white
    assert (picture[64::pitch] == 255).all() and (picture[:, 64::pitch] == 255).all()


def test_a_reconstruction_is_closer_to_its_original_than_pairs_are_to_each_other():
    black = np.zeros((4, 64, 64, 1))
    picture = grids.comparison(black, black + 0.4, columns=2)
    column = picture[:, -10, 0].tolist()
    line, group = [255] * grids.LINE, [255] * grids.GROUP
    pair = [0] * 64 + line + [102] * 64
    assert column == pair + group + pair
    assert grids.GROUP > 3 * grids.LINE
    names = {"original": black, "reconstruction": black + 0.4}
    assert np.array_equal(picture, grids.named_rows(names, 2))


def test_named_rows_stand_below_each_other_with_their_names_at_the_left():
    black = np.zeros((4, 64, 64, 1))
    picture = grids.named_rows({"one": black, "another": black + 0.2, "third": black + 0.4}, 2)
    column = picture[:, -10, 0].tolist()
    line, group = [255] * grids.LINE, [255] * grids.GROUP
    stack = [0] * 64 + line + [51] * 64 + line + [102] * 64
    assert column == stack + group + stack
    words = picture[:, : picture.shape[1] - (2 * 64 + grids.GROUP)]
    rows_with_ink = np.flatnonzero((words < 128).any(axis=(1, 2)))
    middles = [32, 98, 164]
    for middle in [*middles, *(m + 194 + grids.GROUP for m in middles)]:
        assert (abs(rows_with_ink - middle) < 10).any()


def test_a_comparison_has_a_row_for_what_was_seen_where_that_is_another_picture():
    black = np.zeros((2, 64, 64, 1))
    three = grids.comparison(black, black + 0.4, seen=black + 0.2, columns=2)
    assert three[[32, 98, 164], -10, 0].tolist() == [0, 51, 102]


def test_pictures_that_cannot_be_shown_are_refused_in_a_sentence():
    with pytest.raises(UserError, match="1 or 3 channels; these have 2"):
        grids.grid(np.zeros((1, 8, 8, 2)), 1)
    with pytest.raises(UserError, match="no pictures"):
        grids.grid(np.zeros((0, 8, 8, 1)), 1)


def test_a_saved_png_reads_back_and_leaves_nothing_beside_it(tmp_path):
    picture = grids.grid(np.random.default_rng(0).random((3, 8, 8, 3)), 2)
    path = tmp_path / "studies" / "grid.png"
    grids.save_png(path, picture)
    assert np.array_equal(np.asarray(Image.open(path)), picture)
    assert list(path.parent.iterdir()) == [path]


def test_pictures_of_other_widths_stand_below_each_other():
    picture = grids.stacked(np.zeros((5, 8, 3), np.uint8), np.zeros((3, 4, 3), np.uint8))
    assert picture.shape == (5 + 3 + 2 * grids.GROUP, 8, 3)
    below = picture[5 + grids.GROUP :][:3]
    assert not below[:, :4].any() and (below[:, 4:] == 255).all()


def test_an_animation_reads_back_frame_by_frame(tmp_path):
    frames = np.zeros((3, 20, 30, 3), np.uint8)
    frames[1, :, :, 0], frames[2, :, :, 2] = 255, 255
    save_gif(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0
        for number, frame in enumerate(ImageSequence.Iterator(gif)):
            np.testing.assert_array_equal(np.asarray(frame.convert("RGB")), frames[number])
