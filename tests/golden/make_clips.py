"""Makes clips/: small animations, and their frames as Pillow draws them.

Usage: python make_clips.py FOLDER
"""

import pathlib
import sys

from PIL import Image, ImageDraw, ImageSequence

SIZE = (40, 28)
COLOURS = [(200, 30, 30), (30, 160, 40), (20, 60, 220), (240, 200, 10), (120, 20, 160)]


def canvas(index: int, background) -> Image.Image:
    """A square that moves over what stays, so that encoders store parts of frames."""
    image = Image.new("RGBA", SIZE, background)
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 14, 14, 24), fill=(0, 0, 0, 255))
    left = 3 + 6 * index
    draw.rectangle((left, 4, left + 8, 12), fill=(*COLOURS[index], 255))
    return image


def save(path: pathlib.Path, background, **options) -> None:
    """Writes an animation, and beside it one picture of its frames on white, as Pillow reads them,
    one below the other."""
    frames = [canvas(index, background) for index in range(len(COLOURS))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
    strip = Image.new("RGBA", (SIZE[0], SIZE[1] * len(frames)), (255, 255, 255, 255))
    with Image.open(path) as clip:
        assert clip.n_frames == len(frames), clip.n_frames
        for index, frame in enumerate(ImageSequence.Iterator(clip)):
            strip.alpha_composite(frame.convert("RGBA"), (0, SIZE[1] * index))
    strip.convert("RGB").save(path.with_name(f"{path.name}.frames.png"))


def main() -> None:
    folder = pathlib.Path(sys.argv[1]) / "clips"
    folder.mkdir(exist_ok=True)
    clear, grey = (0, 0, 0, 0), (180, 180, 180, 255)
    save(folder / "parts.gif", grey, disposal=1)
    save(folder / "cleared.gif", clear, disposal=2)
    save(folder / "parts.webp", grey, lossless=True, minimize_size=True)
    save(folder / "cleared.webp", clear, lossless=True)
    save(folder / "parts.png", grey)


if __name__ == "__main__":
    main()
