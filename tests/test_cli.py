"""The command line: what it prints, what it writes, and one clear line for what is no good."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import fastconv
from fastconv import _check, _demo, _images, _methods
from fastconv._cli import main
from fastconv.filters import bicubic

SECONDS = 120


def command(*arguments, cwd, hide=(), **environment):
    """Run ``python -m fastconv``; imports of the libraries in `hide` fail."""
    path = [str(Path(fastconv.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    if hide:
        shadows = Path(cwd) / "shadows"
        shadows.mkdir()
        for name in hide:
            (shadows / f"{name}.py").write_text(
                f"raise ModuleNotFoundError('No module named {name}', name='{name}')\n"
            )
        path.insert(0, str(shadows))
    return subprocess.run(
        [sys.executable, "-m", "fastconv", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))} | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def assert_refused(result, *words):
    """Exit code 2, one line that says what is wrong, nothing else."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def picture(*shape, dtype=np.uint8):
    """Random pixels over the whole range of a type."""
    generator = np.random.default_rng(0)
    return generator.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(picture(6, 9, 3)).save(tmp_path / "in.png")
    return tmp_path / "in.png"


@pytest.mark.parametrize("arguments", [(), ("--nonsense",), ("nonsense",), ("demo", "extra")])
def test_bad_command(arguments, tmp_path):
    assert_refused(command(*arguments, cwd=tmp_path), "error")


def test_bench_is_not_there_yet(tmp_path):
    assert_refused(command("bench", cwd=tmp_path), "bench")


@pytest.mark.parametrize("name", ["demo", "info", "check", "upsample"])
def test_help_of_every_command(name, tmp_path):
    result = command(name, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: python -m fastconv {name}")
    assert result.stderr == ""
    assert name in command("--help", cwd=tmp_path).stdout


@pytest.mark.parametrize("scale", ["0", "-3", "1.5", "two", "1e3", ""])
def test_absurd_scale(scale, photo):
    result = command("upsample", photo, "out.png", f"--scale={scale}", cwd=photo.parent)
    assert_refused(result, "--scale", f"{scale!r}")
    assert not (photo.parent / "out.png").exists()


@pytest.mark.parametrize("scale", [10**9, 10**18])
def test_scale_whose_result_is_too_large(scale, photo):
    result = command("upsample", photo, "out.png", f"--scale={scale}", cwd=photo.parent)
    assert_refused(result, f"scale={scale}", "too large")


def test_scale_whose_filter_is_too_large(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "in.png")
    result = command("upsample", "in.png", "out.png", "--scale=2001", cwd=tmp_path)
    assert_refused(result, "scale=2001", "kernel")


def test_scale_beyond_the_format(tmp_path):
    Image.new("L", (1, 400)).save(tmp_path / "in.png")
    result = command("upsample", "in.png", "out.jpg", "--scale=164", cwd=tmp_path)
    assert_refused(result, "out.jpg", "65535", "65600")


def test_scale_is_required(photo):
    assert_refused(command("upsample", photo, "out.png", cwd=photo.parent), "--scale")


def test_unknown_filter(photo):
    result = command(
        "upsample", photo, "out.png", "--scale=2", "--filter=nonsense", cwd=photo.parent
    )
    assert_refused(result, "nonsense", *_images.FILTERS)


@pytest.mark.parametrize("workers", ["0", "two", "-1000"])
@pytest.mark.parametrize("arguments", [("demo",), ("upsample", "in.png", "out.png", "--scale=2")])
def test_bad_workers(arguments, workers, photo):
    result = command(*arguments, f"--workers={workers}", cwd=photo.parent)
    assert_refused(result, "--workers", workers)


def test_missing_input(tmp_path):
    result = command("upsample", "no.png", "out.png", "--scale=2", cwd=tmp_path)
    assert_refused(result, "no.png", "No such file")


def test_input_is_a_directory(tmp_path):
    assert_refused(command("upsample", ".", "out.png", "--scale=2", cwd=tmp_path), "directory")


def test_unreadable_input(photo, monkeypatch, capsys):
    # Simulated, since the superuser may read everything.
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(SystemExit) as caught:
        main(["upsample", str(photo), str(photo.parent / "out.png"), "--scale=2"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.endswith("in.png: Permission denied\n")


def test_damaged_sixteen_bit_tiff(tmp_path):
    path = tmp_path / "in.tif"
    _images.write_picture(path, _images.Picture(picture(40, 40, 2, dtype=np.uint16)))
    path.write_bytes(path.read_bytes()[:2000])
    result = command("upsample", path, "out.tif", "--scale=2", cwd=tmp_path)
    assert_refused(result, "in.tif", "damaged")


@pytest.mark.parametrize("content", [b"", b"just text\n", b"\x89PNG\r\n\x1a\n"])
def test_input_is_not_an_image(content, tmp_path):
    (tmp_path / "in.png").write_bytes(content)
    result = command("upsample", "in.png", "out.png", "--scale=2", cwd=tmp_path)
    assert_refused(result, "in.png", "image")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_truncated_image(suffix, tmp_path):
    path = tmp_path / f"in.{suffix}"
    Image.fromarray(picture(40, 40, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = command("upsample", path, "out.png", "--scale=2", cwd=tmp_path)
    assert_refused(result, f"in.{suffix}")
    assert not (tmp_path / "out.png").exists()


def test_sixteen_bit_colour_png_is_refused_rather_than_cut(tmp_path):
    cv2.imwrite(str(tmp_path / "in.png"), picture(5, 6, 3, dtype=np.uint16))
    result = command("upsample", "in.png", "out.png", "--scale=2", cwd=tmp_path)
    assert_refused(result, "in.png", "16 bits", "TIFF")


def test_several_pictures_in_one_file(tmp_path):
    frames = [Image.fromarray(picture(4, 5, 3) // n) for n in (1, 2, 3)]
    for name in ("in.tif", "in.webp", "in.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        result = command("upsample", name, "out.png", "--scale=2", cwd=tmp_path)
        assert_refused(result, name, "3 pictures")
    pages = picture(3, 4, 5, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", pages, photometric="minisblack")
    result = command("upsample", "deep.tif", "out.tif", "--scale=2", cwd=tmp_path)
    assert_refused(result, "deep.tif", "3 pictures")


@pytest.mark.parametrize("name", ["out", "out.xyz", "out.gif"])
def test_unknown_extension(name, photo):
    result = command("upsample", photo, name, "--scale=2", cwd=photo.parent)
    assert_refused(result, name, ".png", ".tif")


def test_missing_output_directory(photo):
    result = command("upsample", photo, "no/out.png", "--scale=2", cwd=photo.parent)
    assert_refused(result, "no directory no")
    assert_refused(command("demo", "--output", "no/out.png", cwd=photo.parent), "no directory no")


def test_output_is_a_directory(photo):
    (photo.parent / "out.png").mkdir()
    result = command("upsample", photo, "out.png", "--scale=2", cwd=photo.parent)
    assert_refused(result, "is a directory")


def test_format_that_cannot_hold_the_image(tmp_path):
    Image.fromarray(picture(5, 6, 4)).save(tmp_path / "in.png")
    result = command("upsample", "in.png", "out.jpg", "--scale=2", cwd=tmp_path)
    assert_refused(result, "out.jpg", "4 channels", ".png")


@pytest.mark.parametrize(
    ("library", "name", "arguments"),
    [
        ("PIL", "Pillow", ("demo",)),
        ("skimage", "scikit-image", ("demo",)),
        ("tqdm", "tqdm", ("demo",)),
        ("PIL", "Pillow", ("upsample", "in.png", "out.png", "--scale=2")),
        ("tqdm", "tqdm", ("upsample", "in.png", "out.png", "--scale=2")),
    ],
)
def test_missing_library_names_the_extra(library, name, arguments, photo):
    result = command(*arguments, cwd=photo.parent, hide=[library])
    assert_refused(result, name, 'pip install "fastconv[demo]"')


def test_missing_tifffile_names_the_extra(tmp_path):
    _images.write_picture(
        tmp_path / "in.tif", _images.Picture(picture(4, 5, 3, dtype=np.uint16))
    )
    result = command(
        "upsample", "in.tif", "out.tif", "--scale=2", cwd=tmp_path, hide=["tifffile"]
    )
    assert_refused(result, "tifffile", 'pip install "fastconv[demo]"')


def test_info_and_check_need_no_extra(tmp_path):
    hide = ["PIL", "skimage", "tqdm", "tifffile", "imageio"]
    result = command("info", cwd=tmp_path, hide=hide)
    assert (result.returncode, result.stderr) == (0, "")
    assert "fastconv" in result.stdout
    (tmp_path / "check").mkdir()
    result = command("check", cwd=tmp_path / "check", hide=hide)
    assert (result.returncode, result.stderr) == (0, "")


def test_check_reports_a_line_a_group_and_a_summary(tmp_path):
    result = command("check", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == len(_check.CASES) + 2
    assert all(line.endswith("equal") for line in lines[:-1])
    assert re.match(r"\d{3,} results, 0 differ; instruction sets \w+", lines[-1])
    for method in _methods.METHODS:
        assert method in lines[-1]


def test_check_finds_a_wrong_method(monkeypatch):
    right = _methods.METHODS["direct"]

    def run(problem, x, w, bias, out, workers=None):
        right.run(problem, x, w, bias, out, workers)
        if workers == 3 and out.dtype == np.float32:
            out.flat[-1] += 1

    wrong = SimpleNamespace(refuses=right.refuses, run=run)
    monkeypatch.setitem(_methods.METHODS, "direct", wrong)
    stream = io.StringIO()
    assert _check.run(stream) == 1
    report = stream.getvalue()
    assert re.search(r"rank 1 .* DIFFER, first: .*float32, direct, \w+, 3 workers", report)
    assert " 0 differ" not in report


def test_check_compares_every_bit():
    zero = np.zeros(3)
    assert _check.same(zero, zero.copy())
    assert not _check.same(zero, -zero)
    assert not _check.same(zero, zero.astype(np.float32))
    assert not _check.same(zero + 0j, np.conj(zero + 0j))


def test_demo_writes_a_picture_and_prints_a_table(tmp_path):
    result = command("demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "fastconv-demo.png") as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
        width, height = image.size
        pixels = np.asarray(image)
    assert 1000 < width < 4000
    assert 700 < height < 3000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10000
    assert "CC0" in result.stdout
    assert "Stefan van der Walt" in result.stdout
    rows = re.findall(
        r"^ +(\d) +(\w+) +(\w+) +(\d+) +(\w+) +([\d.]+) +([\d.]+) +([\d.]+)% +([\d.]+)% (\w+)$",
        result.stdout,
        re.MULTILINE,
    )
    assert [(int(r[0]), r[1]) for r in rows] == [
        (scale, name) for scale in (2, 3, 4) for name in ("bilinear", "bicubic", "lanczos")
    ]
    assert all(r[2] in _methods.METHODS for r in rows)
    assert all(float(r[5]) > 0 for r in rows)


def test_demo_obeys_output_and_workers(tmp_path):
    result = command("demo", "--output", "other.png", "--workers", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["other.png"]
    assert re.search(r"^ +2 +bilinear +\w+ +1 ", result.stdout, re.MULTILINE)


def test_demo_panels_show_what_the_calls_returned():
    photo = _demo.read_photo()
    assert photo.shape == (300, 451, 3)
    enlarged = {
        (scale, name): np.full((300 * scale, 451 * scale, 3), 20 * scale + i, np.uint8)
        for scale in _demo.SCALES
        for i, name in enumerate(_demo.FILTERS)
    }
    page = _demo.draw(photo, enlarged)
    for value in (20 * scale + i for scale in _demo.SCALES for i in range(3)):
        shown = (page == value).all(axis=2)
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        panel = shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert shown.sum() >= _demo.PANEL[0] * _demo.PANEL[1]
        assert panel.size >= _demo.PANEL[0] * _demo.PANEL[1]


@pytest.mark.parametrize(
    ("shape", "dtype", "name"),
    [
        ((7, 5), np.uint8, "a.png"),
        ((7, 5, 2), np.uint8, "a.png"),
        ((7, 5, 3), np.uint8, "a.png"),
        ((7, 5, 4), np.uint8, "a.png"),
        ((7, 5), np.uint16, "a.png"),
        ((7, 5), np.uint8, "a.tif"),
        ((7, 5), np.uint16, "a.tif"),
        ((7, 5, 2), np.uint16, "a.tif"),
        ((7, 5, 3), np.uint16, "a.tif"),
        ((7, 5, 4), np.uint16, "a.tif"),
        ((7, 5), np.uint32, "a.tif"),
        ((7, 5, 3), np.uint8, "a.bmp"),
    ],
)
@pytest.mark.parametrize("name_of_filter", ["bicubic", "lanczos"])
def test_upsample_file(shape, dtype, name, name_of_filter, tmp_path):
    pixels = picture(*shape, dtype=dtype)
    _images.write_picture(tmp_path / name, _images.Picture(pixels))
    result = command(
        "upsample", name, f"big-{name}", "--scale=3", f"--filter={name_of_filter}", cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"5 x 7 -> 15 x 21 pixels, {name_of_filter}" in result.stdout
    big = _images.read_picture(tmp_path / f"big-{name}").pixels
    assert big.dtype == dtype
    np.testing.assert_array_equal(big, _images.upsample(pixels, 3, name_of_filter))
    assert big.shape == (21, 15, *shape[2:])


def test_files_come_back_as_they_were_written(tmp_path):
    for dtype, channels, suffix in (
        (np.uint8, 1, ".png"),
        (np.uint8, 4, ".tiff"),
        (np.uint16, 1, ".png"),
        (np.uint16, 4, ".tif"),
        (np.int32, 1, ".tif"),
    ):
        pixels = picture(4, 6, *([channels] if channels > 1 else []), dtype=dtype)
        path = tmp_path / f"x{suffix}"
        _images.write_picture(path, _images.Picture(pixels, b"profile"))
        again = _images.read_picture(path)
        np.testing.assert_array_equal(again.pixels, pixels)
        assert again.pixels.dtype == dtype
        assert again.icc_profile == b"profile"


def test_palettes_bitmaps_and_cameras_on_their_side(tmp_path):
    rgb = Image.fromarray(picture(4, 6, 3))
    rgb.quantize(8).save(tmp_path / "p.png")
    assert _images.read_picture(tmp_path / "p.png").pixels.shape == (4, 6, 3)
    Image.new("1", (6, 4), 1).save(tmp_path / "1.png")
    np.testing.assert_array_equal(_images.read_picture(tmp_path / "1.png").pixels, 255)
    rgb.convert("CMYK").save(tmp_path / "c.jpg")
    assert _images.read_picture(tmp_path / "c.jpg").pixels.shape == (4, 6, 3)
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(tmp_path / "t.jpg", exif=turned)
    assert _images.read_picture(tmp_path / "t.jpg").pixels.shape == (6, 4, 3)


ARRAYS = {
    "grey": picture(23, 19),
    "grey alpha": picture(23, 19, 2),
    "RGB": picture(23, 19, 3),
    "RGBA": picture(23, 19, 4),
    "16 bits": picture(23, 19, dtype=np.uint16),
    "16 bits RGBA": picture(23, 19, 4, dtype=np.uint16),
    "32 bits": picture(23, 19, dtype=np.uint32),
    "float32": picture(23, 19, 3).astype(np.float32),
    "float64": picture(23, 19, 3).astype(np.float64),
}


@pytest.mark.parametrize("image", ARRAYS.values(), ids=ARRAYS.keys())
@pytest.mark.parametrize("name", _images.FILTERS)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_bands_do_not_change_the_result(image, name, scale):
    whole = _images.upsample(image, scale, name, band_values=10**9)
    steps = []
    row = scale * scale * image[0].size
    for rows in (1, 5, 22):
        steps.clear()
        banded = _images.upsample(
            image, scale, name, band_values=rows * row, progress=steps.append
        )
        np.testing.assert_array_equal(banded, whole)
        assert sum(steps) == 23
        assert max(steps) == rows
    assert whole.dtype == image.dtype
    assert whole.shape == (23 * scale, 19 * scale, *image.shape[2:])


@pytest.mark.parametrize("name", _images.FILTERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_borders_keep_their_brightness(name, dtype):
    for shape in ((1, 1), (1, 7), (5, 4, 3), (5, 4, 4)):
        image = np.full(shape, np.iinfo(dtype).max, dtype)
        for scale in (1, 2, 3, 4):
            np.testing.assert_array_equal(
                _images.upsample(image, scale, name), np.iinfo(dtype).max
            )


def test_upsample_computes_what_it_says():
    image = picture(9, 8)
    f = bicubic(2)
    padded = np.pad(image.astype(float), 2, mode="edge")
    full = fastconv.conv_transpose(
        padded, f.kernel, stride=2, padding=f.padding + 4, channel_axis=None
    )
    off = np.abs(_images.upsample(image, 2, "bicubic") - np.clip(full, 0, 255))
    # Half a step of rounding, and the error of float32 on sums of 16 products.
    assert off.max() <= 0.5 + 16 * np.finfo(np.float32).eps * 2 * 255


def test_transparent_colour_does_not_shine_through():
    image = np.zeros((8, 8, 4), np.uint8)
    image[..., 0] = 255
    image[:, :4] = (0, 200, 0, 255)
    big = _images.upsample(image, 4, "lanczos")
    seen = big[big[..., 3] > 0]
    np.testing.assert_array_equal(seen[:, 0], 0)
    assert np.abs(seen[:, 1].astype(int) - 200).max() <= 1
    assert not big[big[..., 3] == 0].any()


@pytest.mark.parametrize(
    ("image", "scale", "name", "error", "words"),
    [
        (np.zeros(3), 2, "lanczos", _images.ImageError, "(3,)"),
        (np.zeros((3, 0)), 2, "lanczos", _images.ImageError, "(3, 0)"),
        (np.zeros((3, 3, 5)), 2, "lanczos", _images.ImageError, "(3, 3, 5)"),
        (np.zeros((3, 3), complex), 2, "lanczos", _images.ImageError, "complex128"),
        (np.zeros((3, 3), np.int64), 2, "lanczos", _images.ImageError, "int64"),
        (np.zeros((3, 3)), 0, "lanczos", ValueError, "scale must be at least 1, got 0"),
        (np.zeros((3, 3)), 10**9, "lanczos", _images.ImageError, "scale=1000000000"),
        (np.zeros((3, 3)), 2, "nearest", ValueError, "'nearest'"),
    ],
)
def test_upsample_errors(image, scale, name, error, words):
    with pytest.raises(error, match=re.escape(words)):
        _images.upsample(image, scale, name)


def test_progress_appears_only_on_long_work(tmp_path):
    Image.fromarray(picture(40, 40)).save(tmp_path / "in.png")
    assert command("upsample", "in.png", "out.png", "--scale=2", cwd=tmp_path).stderr == ""
    script = (
        "import sys, time\n"
        "from fastconv import _images\n"
        "with _images.progress_bar(4, 'rows') as bar:\n"
        "    for _ in range(4):\n"
        "        time.sleep(0.5)\n"
        "        bar.update(1)\n"
    )
    root = str(Path(fastconv.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert "rows" in result.stderr
