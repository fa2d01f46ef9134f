"""The explorers' pictures, title and drawing, for readers where no script runs: `lorabook/assets/explorers`, PNG.

    python -m scripts.assets.explorer_pictures

Chromium draws each explorer in its default state from the HTML of its static version, without a background and in a
grey that is legible on white pages and on dark ones. A picture carries a fingerprint of that HTML and is drawn again
only when the two no longer agree, for which a test asks.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import sync_playwright
from scipy.spatial.distance import cdist

import lorabook
from lorabook.workbook import explorers
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.figures import legible
from scripts.notebooks.browser import FLAGS, find_chromium

FOLDER = Path(lorabook.__file__).parent / "assets" / "explorers"
VIEW, MARGIN = {"width": 860, "height": 1000}, 10
PAGE = f"margin: {MARGIN}px; --jp-layout-color0: transparent; --jp-content-font-color1: {legible('black')}"


def every_explorer() -> list[Explorer]:
    made = [getattr(explorers, name) for name in explorers.__all__]
    return [each() for each in made if issubclass(each, Explorer) and each is not Explorer]


def fingerprint(explorer: Explorer) -> str:
    """Of all that the picture is drawn from."""
    return hashlib.sha256(explorer.static_html(b"").encode()).hexdigest()


def small_png(picture: bytes, source: str) -> bytes:
    """The picture in its 256 most frequent colours, others replaced by the nearest, with its source's fingerprint."""
    note, buffer = PngInfo(), io.BytesIO()
    note.add_text("source", source)
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA"))
    colours, places, counts = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True, return_counts=True)
    palette = colours[np.argsort(-counts)[:256]]
    nearest = cdist(colours, palette).argmin(1).astype(np.uint8)
    few = Image.fromarray(nearest[places].reshape(pixels.shape[:2]), "P")
    few.putpalette(palette.tobytes(), "RGBA")
    few.save(buffer, "PNG", optimize=True, pnginfo=note)
    return buffer.getvalue()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page(viewport=VIEW, device_scale_factor=1.5, color_scheme="light")
        for explorer in every_explorer():
            path, source = FOLDER / f"{type(explorer).__name__}.png", fingerprint(explorer)
            if path.exists() and Image.open(path).info.get("source") == source:
                continue  # notebooks hold its bytes, and another Chromium would draw others
            page.set_content(f"<!doctype html><body style='{PAGE}'>{explorer.static_html(b'')}")
            page.locator("section").evaluate("section => section.style.setProperty('--muted', 'var(--ink)')")
            title, figure = (
                page.locator(f".lorabook-explorer {part}").bounding_box() for part in (".title", ".figure")
            )
            assert title and figure
            top, bottom = title["y"] - 2, figure["y"] + figure["height"] + MARGIN
            clip = {"x": 0, "y": top, "width": VIEW["width"], "height": bottom - top}
            picture = page.screenshot(clip=clip, full_page=True, omit_background=True)  # pyright: ignore[reportArgumentType]
            path.write_bytes(small_png(picture, source))
            print(f"{path.name}: {path.stat().st_size:,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
