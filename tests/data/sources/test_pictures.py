"""Folders of pictures: every mode and size that people have, and how the rest is refused."""

import numpy as np
import pytest
from PIL import Image

from vael.data import Reading
from vael.data.sources import read, read_like
from vael.data.understand import understand
from vael.errors import DataError, RecipeError, ShapeError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


@pytest.fixture
def put(tmp_path):
    """Save pictures under `folder`; the folder."""

    def save(**pictures):
        for name, picture in pictures.items():
            path = tmp_path / "folder" / name.replace("__", "/").replace("_dot_", ".")
            path = path if path.suffix else path.with_name(f"{path.name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path)
        return tmp_path / "folder"

    return save


def x(folder, **options):
    return read(folder, **options).columns["x"]


# ── modes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_grey_has_one_channel_and_colour_three(put, tmp_path):
    grey = x(put(a=GREY))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, GREY[None, None])
    np.testing.assert_array_equal(x(put(a=COLOUR)), COLOUR.transpose(2, 0, 1)[None])


def test_grey_among_colour_becomes_colour_and_is_told(put):
    frame = read(put(a=GREY, b=COLOUR))
    np.testing.assert_array_equal(frame.columns["x"][0], np.stack([GREY] * 3))
    assert frame.notes == ("1 picture grey among pictures in colour: given three equal channels",)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "gif"])
def test_formats_without_loss_give_back_each_grey_level(put, suffix):
    np.testing.assert_array_equal(x(put(**{f"a_dot_{suffix}": GREY})), GREY[None, None])


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_formats_with_loss_come_near(put, suffix):
    smooth = np.linspace(0, 255, 24 * 24).reshape(24, 24).astype(np.uint8)
    found = x(put(**{f"a_dot_{suffix}": smooth}))[0].mean(0)
    assert np.abs(found - smooth).max() < 16  # their quantisation at the usual quality


def test_alpha_is_laid_over_white_and_told(put):
    colour = Image.fromarray(COLOUR).convert("RGBA")
    colour.putalpha(Image.fromarray(np.full((6, 9), 51, np.uint8)))  # a fifth of the ink
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(np.full((6, 9), 51, np.uint8))])
    frame = read(put(a=colour))
    assert frame.notes == ("1 picture with transparency: laid over white",)
    expected = COLOUR * 0.2 + 255 * 0.8
    assert np.abs(frame.columns["x"][0].transpose(1, 2, 0) - expected).max() <= 1  # rounding of bytes
    alone = x(put(a=grey))
    assert alone.shape == (1, 1, 6, 9)
    assert np.abs(alone[0, 0] - (GREY * 0.2 + 255 * 0.8)).max() <= 1


def test_alpha_that_hides_nothing_is_not_spoken_of(put):
    frame = read(put(a=Image.fromarray(COLOUR).convert("RGBA")))
    assert frame.notes == ()
    np.testing.assert_array_equal(frame.columns["x"][0], COLOUR.transpose(2, 0, 1))


def test_palettes_print_colours_and_other_colours_become_red_green_and_blue(put):
    flat = np.zeros((6, 9, 3), np.uint8)
    flat[:, 4:] = (250, 20, 30)
    for mode in ("P", "CMYK"):
        suffix = {"P": "png", "CMYK": "tif"}[mode]
        picture = Image.fromarray(flat)
        found = x(put(**{f"a_dot_{suffix}": picture.quantize() if mode == "P" else picture.convert(mode)}))
        assert found.shape == (1, 3, 6, 9)
        np.testing.assert_array_equal(found[0].transpose(1, 2, 0), flat)
        (put() / f"a.{suffix}").unlink()


def test_pictures_of_one_bit_are_zeros_and_ones(put):
    bits = GREY > 128
    frame = read(put(a=bits, b=~bits))
    np.testing.assert_array_equal(frame.columns["x"][0, 0], bits)
    assert understand(frame, Reading())["x"].kind == "binary"


def test_sixteen_bits_are_reduced_to_eight_and_told(put):
    frame = read(put(a=GREY.astype(np.uint16) * 257))
    np.testing.assert_array_equal(frame.columns["x"], GREY[None, None])
    assert frame.notes == ("1 picture of 16 bits: reduced to 8",)


def test_a_picture_lies_as_its_camera_says(put):
    turned = Image.fromarray(COLOUR)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    put(a=COLOUR)
    turned.save(put() / "a.png", exif=exif)
    np.testing.assert_array_equal(x(put())[0].transpose(1, 2, 0), np.rot90(COLOUR, -1))


def test_the_first_frame_of_a_film_is_taken_and_told(put):
    folder = put(z=GREY)
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    frame = read(folder)
    np.testing.assert_array_equal(frame.columns["x"][0, 0], GREY)
    assert frame.notes == ("1 picture of several frames: the first was taken",)


# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_come_in_the_order_of_their_paths(put):
    folder = put(b=np.full((2, 2), 2, np.uint8), a__z=np.full((2, 2), 1, np.uint8), c__a=np.full((2, 2), 3, np.uint8))
    assert x(folder)[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_folders_named_as_splits_are_a_split_and_others_a_label(put):
    folder = put(train__cat__1=GREY, train__dog__1=GREY, val__cat__1=GREY, Test__dog__old__1=GREY)
    frame = read(folder)
    rows = dict(zip(frame.split.tolist(), frame.columns["label"].tolist(), strict=False))
    assert frame.split.tolist() == ["test", "train", "train", "validation"]
    assert frame.columns["label"].tolist() == ["dog/old", "cat", "dog", "cat"]
    assert (frame.labels, rows["test"]) == (("label",), "dog/old")
    assert understand(frame, Reading())["label"].role == "label"


def test_pictures_beside_classes_have_no_label(put):
    assert read(put(cat__1=GREY, b=GREY)).columns["label"].tolist() == [None, "cat"]


def test_pictures_outside_a_split_are_refused_by_name(put):
    with pytest.raises(DataError, match=r"in test and train are a split, and 2 lie outside it: odd\.png, other/1\.png"):
        read(put(train__1=GREY, test__1=GREY, odd=GREY, other__1=GREY))


def test_other_files_are_told_and_hidden_ones_passed_over(put):
    folder = put(a=GREY)
    (folder / "notes.txt").write_text("x")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / ".thumbs").mkdir()
    Image.fromarray(GREY[:2]).save(folder / ".thumbs" / "a.png")
    frame = read(folder)
    assert (len(frame), frame.notes) == (1, ("left out, being no pictures: notes.txt",))


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    with pytest.raises(DataError, match=r"a folder without pictures .* it is empty"):
        read(tmp_path)
    (tmp_path / "people.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"it holds people\.csv\.\n  Name one of these files instead"):
        read(tmp_path)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_damaged_file_is_named(put):
    folder = put(a=GREY, b=np.zeros((64, 64), np.uint8), c=GREY)
    (folder / "a.png").write_bytes(b"")
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"folder: 2 of 3 pictures cannot be read: a\.png \(no picture of a known"
    ) as told:
        read(folder)
    assert "b.png (" in str(told.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_no_cut_and_no_flipped_byte_escapes_as_a_bug(put, suffix):
    """Every cut and a hundred flips of a file either read or are refused in our words; some must be."""
    folder = put(**{f"a_dot_{suffix}": np.repeat(np.repeat(COLOUR, 3, 0), 3, 1)})
    path = folder / f"a.{suffix}"
    whole = path.read_bytes()
    broken = [whole[:end] for end in range(0, len(whole), max(1, len(whole) // 40))]
    for place in np.random.default_rng(1).integers(0, len(whole), 100):
        broken.append(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])

    def refused(content):
        path.write_bytes(content)
        try:
            read(folder)
        except DataError:
            return True
        return False

    assert sum(map(refused, broken)) > 10


def test_numbers_of_32_bits_are_no_grey_levels(put):
    floats = Image.fromarray(GREY.astype(np.float32))
    with pytest.raises(DataError, match=r"a\.tif \(holds 32-bit numbers, which are no grey levels"):
        read(put(**{"a_dot_tif": floats}))


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_mixed_sizes_are_counted_and_offered_a_way_out(put):
    folder = put(a=GREY, b=GREY, c=GREY[:, :5], d=COLOUR[:4])
    with pytest.raises(DataError, match=r"3 sizes, .*: 2 of 9×6, 1 of 5×6, 1 of 9×4\.\n.*--resize 6, or --resize 9x6"):
        read(folder)
    frame = read(folder, resize="6x4")
    assert frame.columns["x"].shape == (4, 3, 4, 6)
    assert frame.notes[0] == "4 pictures resized to 6×4, after a centred crop to that ratio"


def test_resizing_by_a_whole_factor_averages_blocks_of_a_smooth_picture(put):
    ramp = np.add.outer(np.arange(0, 120, 2), np.arange(0, 120, 2)).astype(np.uint8)
    found = x(put(a=ramp), resize=20)[0, 0].astype(float)
    blocks = ramp.reshape(20, 3, 20, 3).mean((1, 3))
    # A cubic filter keeps a plane, away from the border; one level is rounding.
    assert np.abs(found - blocks)[2:-2, 2:-2].max() <= 1


def test_the_crop_is_centred(put):
    striped = np.zeros((4, 12), np.uint8)
    striped[:, 4:8] = 200
    assert (x(put(a=striped), resize=4) == 200).all()


def test_pictures_of_the_right_size_are_left_alone(put):
    frame = read(put(a=GREY), resize="9x6")
    np.testing.assert_array_equal(frame.columns["x"][0, 0], GREY)
    assert frame.notes == ()


def test_an_array_is_resized_as_the_folder_of_its_pictures_is(put):
    pictures = RNG.integers(0, 256, (5, 3, 12, 10)).astype(np.uint8)
    folder = put(**{f"p{i}": picture.transpose(1, 2, 0) for i, picture in enumerate(pictures)})
    np.testing.assert_array_equal(x(folder, resize="4x5"), read(pictures, resize="4x5").columns["x"])


def test_digits_keep_their_levels_when_resized():
    found = read("digits", resize=5).columns["x"]
    assert found.shape == (1797, 1, 5, 5)
    assert found.max() == 16


def test_resizing_what_is_no_picture_is_refused():
    with pytest.raises(RecipeError, match="resize: iris holds no pictures"):
        read("iris", resize=5)
    with pytest.raises(RecipeError, match=r"'x' holds float64; only pictures of bytes \(uint8\) are resized"):
        read(np.zeros((3, 8, 8)), resize=5)


# ── other pictures, as a run's own were ──────────────────────────────────────────────────────────────────────


def test_other_pictures_get_the_size_and_the_channels_of_the_first(put, tmp_path):
    reading = Reading.asked(resize="4x5")
    schema = understand(read(put(a=COLOUR), reading), reading)
    (tmp_path / "other").mkdir()
    Image.fromarray(GREY).save(tmp_path / "other" / "1.png")
    assert read_like(tmp_path / "other", schema, reading).columns["x"].shape == (1, 3, 5, 4)


def test_without_resizing_other_sizes_are_refused_with_the_models(put, tmp_path):
    schema = understand(read(put(a=GREY)), Reading())
    (tmp_path / "other").mkdir()
    for side in (3, 4):
        Image.new("L", (side, side)).save(tmp_path / "other" / f"{side}.png")
    with pytest.raises(DataError, match="Bring them to 9×6, the size of the model's; a run fitted with --resize"):
        read_like(tmp_path / "other", schema, Reading())
    (tmp_path / "other" / "3.png").unlink()
    from vael.data import encode

    with pytest.raises(ShapeError, match=r"each example has shape \(1, 4, 4\), the model was fitted on \(1, 6, 9\)"):
        encode(read_like(tmp_path / "other", schema, Reading()), schema)
