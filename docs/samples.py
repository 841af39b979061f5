"""Make the small data sets that the examples of the docs use: python docs/samples.py FOLDER

Everything is drawn and synthesised here, from fixed seeds: the same files on every machine.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image, ImageDraw

import sensorium

REPO = Path(__file__).resolve().parent.parent
STARTER = Path(sensorium.__file__).parent / "starter"
COLOURS = {
    "red": ("rouge", (220, 40, 40)),
    "green": ("vert", (30, 160, 60)),
    "blue": ("bleu", (40, 80, 220)),
    "black": ("noir", (20, 20, 20)),
    "yellow": ("jaune", (235, 200, 30)),
    "purple": ("violet", (140, 50, 170)),
}
THINGS = {"kite": "cerf-volant", "ball": "ballon", "box": "boîte", "sail": "voile", "flag": "drapeau"}
PLACES = {
    "left": ("à gauche", 4, 20),
    "right": ("à droite", 38, 20),
    "top": ("en haut", 20, 4),
    "below": ("en bas", 20, 38),
}
SIZE = 64
Row = dict[str, Any]


def rng(*seed: int) -> np.random.Generator:
    """A generator named by whole numbers."""
    return np.random.Generator(np.random.Philox(list(seed) if len(seed) > 1 else seed[0]))


def subjects(n: int) -> list[tuple[str, str, str]]:
    """`n` different (colour, thing, place), in an order that mixes them."""
    every = [(c, t, p) for c in COLOURS for t in THINGS for p in PLACES]
    return [every[k] for k in rng(0).permutation(len(every))[:n]]


def drawing(seed: int, colour: str, thing: str, place: str) -> Image.Image:
    """A thing of one colour at a place, on a sky that no other seed has."""
    sky = rng(1, seed).integers(170, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(sky).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    draw, fill = ImageDraw.Draw(image), COLOURS[colour][1]
    _, x, y = PLACES[place]
    shapes = {
        "kite": lambda: draw.polygon([(x + 11, y), (x + 20, y + 9), (x + 11, y + 22), (x + 2, y + 9)], fill=fill),
        "ball": lambda: draw.ellipse((x, y, x + 22, y + 22), fill=fill),
        "box": lambda: draw.rectangle((x, y, x + 22, y + 22), fill=fill),
        "sail": lambda: draw.polygon([(x, y + 22), (x, y), (x + 22, y + 22)], fill=fill),
        "flag": lambda: draw.rectangle((x, y + 3, x + 22, y + 11), fill=fill),
    }
    shapes[thing]()
    if thing == "flag":
        draw.line((x, y, x, y + 22), fill=(90, 60, 30), width=3)
    return image


def caption(colour: str, thing: str, place: str) -> str:
    """In English."""
    return f"a {colour} {thing}, {place}"


def legende(colour: str, thing: str, place: str) -> str:
    """In French."""
    return f"{THINGS[thing]} {COLOURS[colour][0]} {PLACES[place][0]}"


def pictures(folder: Path, n: int, ending: str = "png") -> list[tuple[str, tuple[str, str, str]]]:
    """`n` picture files in a new folder; their names and what they show."""
    folder.mkdir(parents=True)
    made = []
    for k, subject in enumerate(subjects(n)):
        name = f"{k:03}.{ending}"
        drawing(k, *subject).save(folder / name, quality=90)
        made.append((name, subject))
    return made


def bytes_of(image: Image.Image) -> bytes:
    """As PNG."""
    out = io.BytesIO()
    image.save(out, "png")
    return out.getvalue()


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One object per line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A header and the rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def photos(folder: Path) -> None:
    """A folder with metadata.jsonl: a caption in two languages."""
    rows = [
        {"file_name": name, "caption": caption(*what), "caption_fr": legende(*what)}
        for name, what in pictures(folder, 120)
    ]
    write_jsonl(folder / "metadata.jsonl", rows)


def classes(folder: Path) -> None:
    """train/ and test/, a folder per class inside, a .txt beside each picture."""
    for k, what in enumerate(subjects(60)):
        place = folder / ("test" if k % 5 == 0 else "train") / what[1]
        place.mkdir(parents=True, exist_ok=True)
        drawing(k, *what).save(place / f"{k:03}.png")
        (place / f"{k:03}.txt").write_text(caption(*what) + "\n", "utf-8")


def tables(folder: Path) -> None:
    """items.jsonl and items.csv, which name the files in img/."""
    made = pictures(folder / "img", 40, "jpg")
    rows = [{"photo": f"img/{name}", "description": caption(*what), "maker": what[1]} for name, what in made]
    write_jsonl(folder / "items.jsonl", rows)
    write_csv(folder / "items.csv", rows)


def parquet(folder: Path) -> None:
    """train.parquet and test.parquet with the bytes inside, as Hugging Face writes them."""
    folder.mkdir()
    rows = [
        {"image": {"bytes": bytes_of(drawing(k, *what)), "path": f"{k:03}.png"}, "caption": caption(*what)}
        for k, what in enumerate(subjects(60))
    ]
    pq.write_table(pa.Table.from_pylist(rows[:48]), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist(rows[48:]), folder / "test.parquet")


def shards(folder: Path) -> None:
    """Two tar files: 000.jpg, 000.txt and 000.json are one row."""
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"kites-{shard:03}.tar", "w") as tar:
            for k, what in list(enumerate(subjects(40)))[shard * 20 : shard * 20 + 20]:
                members = {
                    "png": bytes_of(drawing(k, *what)),
                    "txt": caption(*what).encode(),
                    "json": json.dumps({"licence": "CC0", "label": what[1]}).encode(),
                }
                for ending, data in members.items():
                    info = tarfile.TarInfo(f"{k:03}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def sounds(folder: Path) -> None:
    """A folder with metadata.csv: tones and what is heard; one of them is silent."""
    folder.mkdir()
    rows = []
    for k in range(24):
        name, (high, n) = f"{k:02}.wav", (("low", "high")[k % 2], 1 + k // 2 % 3)
        t = np.arange(int(0.25 * 16000)) / 16000
        beep = np.sin(2 * np.pi * (330 + 550 * (high == "high") + 3 * k) * t) * np.hanning(len(t)) * (k != 7)
        soundfile.write(folder / name, np.tile(beep.astype(np.float32) * 0.5, n), 16000, subtype="PCM_16")
        rows.append(
            {"file_name": name, "transcript": f"{n} {high} beep{'s' * (n > 1)}, take {k}", "speaker": "abc"[k % 3]}
        )
    write_csv(folder / "metadata.csv", rows)


def film(path: Path, what: tuple[str, str, str], seed: int) -> None:
    """Twelve frames in which the thing crosses the picture."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        picture = np.asarray(drawing(seed, *what))
        for k in range(12):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 4 * k, axis=1), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def films(folder: Path) -> None:
    """Clips in a folder per thing."""
    for k, what in enumerate(subjects(24)):
        place = folder / what[1]
        place.mkdir(parents=True, exist_ok=True)
        film(place / f"{k:02}.mp4", what, k)


def pdf(lines_by_page: Sequence[Sequence[str]]) -> bytes:
    """A PDF of plain text, one list of lines per page."""
    n = len(lines_by_page)
    kids = " ".join(f"{4 + 2 * k} 0 R" for k in range(n))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {n} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for k, lines in enumerate(lines_by_page):
        text = "BT /F1 14 Tf 18 TL 30 170 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
        page = "/MediaBox [0 0 300 200] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {page} /Contents {5 + 2 * k} 0 R >>")
        objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    return out + f"{head}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n".encode()


def documents(folder: Path) -> None:
    """Invoices as PDF; and the same as web pages."""
    (folder / "pdf").mkdir(parents=True)
    (folder / "html").mkdir()
    for k, (colour, thing, _) in enumerate(subjects(24)):
        lines = [f"Invoice {1000 + k}", f"{1 + k % 4} x {colour} {thing}", f"Total {12 + 3 * k}.50 EUR"]
        (folder / "pdf" / f"{1000 + k}.pdf").write_bytes(pdf([lines, [f"Terms of invoice {1000 + k}"]]))
        body = f"<h1>{lines[0]}</h1><script>track()</script><p>{lines[1]}</p><p>{lines[2]}</p>"
        page = f"<!doctype html><title>Shop</title><body>{body}</body>"
        (folder / "html" / f"{1000 + k}.html").write_text(page, "utf-8")


SMILES = (
    "C CC CCC CCCC CCCCC CCCCCC CO CCO CCCO CCCCO CC(C)O CC(=O)O CCC(=O)O CC(C)=O CCOCC c1ccccc1 Cc1ccccc1 Oc1ccccc1 "
    "Nc1ccccc1 c1ccncc1 C1CCCCC1 CCN CCCN CC#N OCC(O)CO CC(=O)Oc1ccccc1C(=O)O Cn1cnc2c1c(=O)n(C)c(=O)n2C"
)


def molecules(path: Path) -> None:
    """Molecules as SMILES with a number each; the last is none."""
    rows = [{"smiles": s, "score": f"{0.31 * len(s) - 1.2:.2f}"} for s in SMILES.split()]
    write_csv(path, [*rows, {"smiles": "C1CC", "score": "0.5"}])


def series(folder: Path) -> None:
    """Heartbeats with a label; walks of five joints with a text."""
    folder.mkdir()
    beats, walks = [], []
    for k in range(24):
        t, fast = np.linspace(0, 2, 50), k % 2
        wave = np.sin(2 * np.pi * (1 + fast) * t + 0.2 * k) + 0.05 * rng(2, k).standard_normal(50)
        beats.append({"signal": wave.round(3).tolist(), "label": ("slow", "fast")[fast], "patient": f"P{k % 8}"})
        steps = np.linspace(0, 1 + k % 3, 8)[:, None, None] + rng(3, k).normal(0, 0.02, (8, 5, 3))
        pace = ("slow", "steady", "quick")[k % 3]
        walks.append({"joints": steps.round(3).tolist(), "caption": f"a {pace} walk, take {k}"})
    write_jsonl(folder / "beats.jsonl", beats)
    write_jsonl(folder / "walks.jsonl", walks)


def records(folder: Path) -> None:
    """houses.csv: numbers and a price; boxes.jsonl: pictures with the box of the thing."""
    made = pictures(folder / "img", 24)
    houses = [
        {"rooms": 2 + k % 5, "area": 40 + 7 * k, "garden": int(k % 3 == 0), "price": 90_000 + 2_100 * k}
        for k in range(30)
    ]
    write_csv(folder / "houses.csv", houses)
    rows = []
    for name, (colour, thing, place) in made:
        _, x, y = PLACES[place]
        rows.append(
            {"image": f"img/{name}", "caption": f"a {colour} {thing}, {place}", "boxes": [[x, y, x + 23, y + 23]]}
        )
    write_jsonl(folder / "boxes.jsonl", rows)


def messy(folder: Path) -> None:
    """Forty good rows, three bad ones, and two that are doubles."""
    made = pictures(folder, 40)
    rows = [{"file_name": name, "caption": caption(*what)} for name, what in made]
    (folder / "cut.png").write_bytes((folder / "000.png").read_bytes()[:300])
    shutil.copy(folder / "001.png", folder / "copy.png")
    Image.open(folder / "004.png").save(folder / "again.jpg", quality=95)
    rows.append({"file_name": "copy.png", "caption": "the same file under another name"})
    rows.append({"file_name": "again.jpg", "caption": "the same picture, saved again as a JPEG"})
    rows.append({"file_name": "cut.png", "caption": "a file that ends too early"})
    rows.append({"file_name": "none.png", "caption": "no such file"})
    write_jsonl(folder / "metadata.jsonl", rows)
    with (folder / "metadata.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"file_name": "003.png", "caption": "a line that is cut\n')


def scans(folder: Path) -> None:
    """Forty pictures of ten patients, with the patient in a column."""
    rows = [
        {"file_name": name, "caption": caption(*what), "patient": f"P{k % 10}"}
        for k, (name, what) in enumerate(pictures(folder, 40))
    ]
    write_csv(folder / "metadata.csv", rows)


def shop(folder: Path) -> None:
    """Columns with names of their own, and dataset.json to say what they are."""
    made = pictures(folder / "img", 40)
    rows = [
        {"pic": f"img/{name}", "title": f"{what[1]} no. {k}", "colour": what[0], "blurb": caption(*what)}
        for k, (name, what) in enumerate(made)
    ]
    write_jsonl(folder / "shop.jsonl", rows)


def main(folder: Path) -> None:
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    photos(folder / "photos")
    classes(folder / "classes")
    tables(folder / "items")
    parquet(folder / "parquet")
    shards(folder / "shards")
    sounds(folder / "sounds")
    films(folder / "films")
    documents(folder / "documents")
    molecules(folder / "molecules.csv")
    series(folder / "series")
    records(folder / "records")
    messy(folder / "messy")
    scans(folder / "scans")
    shop(folder / "shop")
    (folder / "pictograms").symlink_to(STARTER)
    shutil.copy(REPO / "examples" / "mine.py", folder / "mine.py")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
