"""`yangfan image` against a real server whose pictures are squares."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command


def test_image_writes_a_file_and_overwrites_none(yangfan: Command, tmp_path: Path):
    out = tmp_path / "a.png"
    shown = yangfan.inside("image", "a red circle", "-o", str(out), "--size", "512x512")
    assert (shown.status, shown.out) == (0, f"{out}\n")
    assert out.read_bytes().startswith(b"\x89PNG")
    shown = yangfan.inside("image", "a red circle", "-o", str(out))
    assert shown.status == 1
    assert "exists; name another file with -o, or overwrite it with --force" in shown.err
    assert yangfan.inside("image", "b", "-o", str(out), "--force").status == 0


def test_several_images_get_numbers(yangfan: Command, tmp_path: Path):
    shown = yangfan.inside("image", "a", "-n", "2", "-o", str(tmp_path / "a.png"), "--seed", "1")
    assert shown.out.split() == [str(tmp_path / f"a-{number}.png") for number in (1, 2)]


def test_image_tells_a_refusal_on_one_line(yangfan: Command, tmp_path: Path):
    shown = yangfan.inside("image", "a", "-m", "ernie_speed", "-o", str(tmp_path / "a.png"))
    assert shown.status == 1
    assert "text2image is served by: echo" in shown.err


def test_image_draws_over_a_picture(yangfan: Command, tmp_path: Path):
    picture, out = tmp_path / "a.png", tmp_path / "b.png"
    assert yangfan.inside("image", "a", "-o", str(picture), "--size", "512x256").status == 0
    over = ("--from", str(picture), "--mask", str(picture), "--strength", "0.5")
    shown = yangfan.inside("image", "a hat", "-o", str(out), *over)
    assert (shown.status, shown.out) == (0, f"{out}\n"), shown.err
    assert out.read_bytes()[16:24] == picture.read_bytes()[16:24]
    refused = yangfan.inside("image", "a", "-o", str(out), "--force", "--mask", str(picture))
    assert (refused.status, "name it with --from" in refused.err) == (1, True)


def test_every_field_of_either_dialect_is_reached(yangfan: Command, tmp_path: Path):
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    drawn = ("--seed", "1", "--guidance", "7.5", "--user", "me")
    old = ("--sampler", "DPM++ 2M Karras", "--style", "Anime", "--version", "1")
    shown = yangfan.inside("image", "a", "-o", str(first), "--size", "768x768", *drawn, *old)
    assert (shown.status, shown.out) == (0, f"{first}\n"), shown.err
    new = ("--reference", str(first), "--size", "256x256")
    shown = yangfan.inside("image", "a", "-o", str(second), *drawn, *new)
    assert (shown.status, shown.out) == (0, f"{second}\n"), shown.err
    for wrong, said in (
        (("--style", "Anime"), "style is a field of v1"),
        (("--style", "Nothing", "--version", "1"), "style must be one of Base, "),
        (("--reference", "/absent.png"), "cannot read /absent.png"),
        (("--from", str(first), "--style", "Anime"), "do not go together with --from"),
    ):
        refused = yangfan.inside("image", "a", "-o", str(tmp_path / "c.png"), *wrong)
        assert (refused.status, said in refused.err) == (1, True), refused.err
