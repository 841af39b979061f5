from __future__ import annotations

import io
import os
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import image, video

LIMITS = Limits()
EXACT = {"codec": "libx264rgb", "options": {"qp": "0"}, "pixels": "rgb24"}  # lossless, in RGB


def grey(n: int, width: int = 64, height: int = 48) -> np.ndarray:
    """u8 [n H W 3]: frame k is 8 k grey all over."""
    return np.broadcast_to((8 * np.arange(n) % 256).astype(np.uint8)[:, None, None, None], (n, height, width, 3))


def noise(n: int, width: int = 128, height: int = 96) -> np.ndarray:
    """u8 [n H W 3]: a picture of noise that moves to the right."""
    first = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.stack([np.roll(first, k, 1) for k in range(n)])


def film(
    frames: np.ndarray,
    form: str = "mp4",
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    wave: np.ndarray | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
    title: str = "",
) -> bytes:
    """Frames u8 [n H W 3], and a wave float32 [2 N] at 16 kHz, as a film."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        container.metadata["title"] = title
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        prepare(stream)
        track = None if wave is None else container.add_stream("pcm_s16le", rate=16000, layout="stereo")
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode())
        if track is not None and wave is not None:
            steps = np.rint(wave * 32767).astype(np.int16).T.reshape(1, -1)
            block = av.AudioFrame.from_ndarray(steps, "s16", "stereo")
            block.sample_rate = 16000
            container.mux(track.encode(block))
            container.mux(track.encode())
    return out.getvalue()


def patched(data: bytes, box: bytes, at: int, value: bytes) -> bytes:
    """Bytes of an MP4 overwritten `at` bytes after the first name of a box."""
    out = bytearray(data)
    where = out.index(box) + 4 + at
    out[where : where + len(value)] = value
    return bytes(out)


GREY = film(grey(30), **EXACT)
MOVING = film(noise(60), options={"g": "12"})


def test_frames_are_those_that_were_encoded() -> None:
    frames = np.random.default_rng(1).integers(0, 256, (10, 48, 64, 3), dtype=np.uint8)
    got = video.load(film(frames, **EXACT), LIMITS, 10)
    assert (got.frames == frames.transpose(0, 3, 1, 2)).all() and got.frames.dtype == np.uint8
    assert got.seconds == pytest.approx(np.arange(10) / 25) and got.seconds.dtype == np.float32


def test_frames_are_the_middles_of_equal_parts() -> None:
    got = video.load(GREY, LIMITS, 5)
    assert (got.frames[:, 0, 0, 0] // 8).tolist() == [3, 9, 15, 21, 27]
    assert got.seconds == pytest.approx(np.array([3, 9, 15, 21, 27]) / 25)


def test_short_film_shows_frames_twice() -> None:
    got = video.load(film(grey(3), **EXACT), LIMITS, 6)
    assert (got.frames[:, 0, 0, 0] // 8).tolist() == [0, 0, 1, 1, 2, 2]


def test_one_frame_is_a_film() -> None:
    data = film(grey(1), **EXACT)
    assert video.check(data, LIMITS).about == "64x48, 1 frame"
    assert video.load(data, LIMITS, 2).seconds.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("form", "codec", "pixels"),
    [
        ("matroska", "ffv1", "bgr0"), ("webm", "libvpx-vp9", "yuv420p"), ("avi", "mpeg4", "yuv420p"),
        ("mpegts", "mpeg2video", "yuv420p"), ("mpegts", "libx264", "yuv420p"), ("mov", "libx264", "yuv420p"),
    ],
)  # fmt: skip
def test_every_format_is_read(form: str, codec: str, pixels: str) -> None:
    data = film(grey(30), form, codec, pixels=pixels)
    assert video.looks_like_video(data)
    assert video.check(data, LIMITS) == Seen(about="64x48, 25 fps, 1.2 s")
    got = video.load(data, LIMITS, 5)
    assert np.abs(got.frames[:, 1, 24, 32] / 8 - [3, 9, 15, 21, 27]).max() <= 1


def test_animated_gif_is_read_but_counts_as_a_picture() -> None:
    out = io.BytesIO()
    first, *rest = [Image.new("L", (32, 24), 20 * k) for k in range(10)]
    first.save(out, "GIF", save_all=True, append_images=rest, duration=100)
    assert not video.looks_like_video(out.getvalue())
    assert video.check(out.getvalue(), LIMITS).about == "32x24, 10 fps, 1.0 s"
    assert video.load(out.getvalue(), LIMITS, 5).frames[:, 0, 0, 0].tolist() == [20, 60, 100, 140, 180]


@pytest.mark.parametrize("more", [{}, {"x264-params": "open-gop=1:bframes=3:scenecut=0"}])
def test_decoding_few_groups_shows_what_decoding_all_shows(more: dict[str, str]) -> None:
    """Key frames every 12 frames, B-frames between; in open groups some are shown before their key frame."""
    data = film(noise(60), options={"g": "12", **more})
    assert video.check(data, LIMITS) == Seen(about="128x96, 25 fps, 2.4 s")
    every = video.load(data, LIMITS, 60)
    assert every.seconds == pytest.approx(np.arange(60) / 25)
    for n in range(1, 16):
        few = video.load(data, LIMITS, n)
        at = [60 * (2 * k + 1) // (2 * n) for k in range(n)]
        assert few.seconds == pytest.approx(every.seconds[at]) and (few.frames == every.frames[at]).all()


def test_fitted_into_a_square() -> None:
    data = film(noise(4, 64, 32), **EXACT)
    got = video.load(data, LIMITS, 4, size=32)
    plain = video.load(data, LIMITS, 4)
    assert got.frames.shape == (4, 3, 32, 32)
    want = image.fit(Image.fromarray(plain.frames[2].transpose(1, 2, 0)), 32)
    assert (got.frames[2] == want).all() and (got.frames[:, :, :8] == 255).all()


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_turned_upright(turn: int) -> None:
    """A camera that notes how to turn its film: anticlockwise, as numpy does."""
    frames = noise(3, 64, 32)
    data = film(frames, prepare=lambda s: s.set_display_rotation(turn), **EXACT)
    want = np.rot90(frames, turn // 90, (1, 2)).transpose(0, 3, 1, 2)
    assert (video.load(data, LIMITS, 3).frames == want).all()
    assert video.check(data, LIMITS).about.startswith("64x32" if turn == 180 else "32x64")


def test_sound_is_that_which_was_encoded() -> None:
    steps = np.random.default_rng(0).integers(-3000, 3000, (2, 16000))
    wave = (steps / 32767).astype(np.float32)
    data = film(grey(25), "matroska", "ffv1", pixels="bgr0", wave=wave)
    got = video.sound(data, LIMITS)
    assert got is not None and got.rate == 16000 and got.wave.dtype == np.float32
    assert (got.wave * 32768 == steps).all()
    assert video.check(data, LIMITS).about == "64x48, 25 fps, 1.0 s, with sound"
    assert video.sound(GREY, LIMITS) is None
    with pytest.raises(Refused, match="1 s of sound, limit 0 s"):
        video.sound(data, Limits(seconds=0.4))


@pytest.mark.parametrize("frames", [0, -1, 257])
def test_impossible_number_of_frames(frames: int) -> None:
    with pytest.raises(SensoriumError, match=rf"{frames} frames of a film; expected 1 to 256"):
        video.load(GREY, LIMITS, frames)


def only_sound() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=16000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        block.sample_rate = 16000
        container.mux(track.encode(block))
        container.mux(track.encode())
    return out.getvalue()


def avi_of_rate(scale: int, rate: int) -> bytes:
    """An AVI whose headers claim rate / scale frames per second, and microseconds per frame of the same nonsense."""
    data = patched(film(grey(5), "avi", "mpeg4"), b"strh", 24, struct.pack("<II", scale, rate))
    return patched(data, b"avih", 4, struct.pack("<I", scale))


def mp4_of_repeated_bytes() -> bytes:
    """An MP4 of 500 samples that are all the same 60 kB: the index names 30 MB in a file of 100 kB."""
    data = film(noise(2, 320, 200), codec="mjpeg", pixels="yuvj420p", options={"qmin": "1", "qmax": "1"})
    data = patched(data, b"edts", -4, b"free")
    moov = data.index(b"moov") - 4
    head, moov_box = data[:moov], data[moov:]
    offset = struct.unpack(">I", moov_box[moov_box.index(b"stco") + 12 :][:4])[0]
    size = struct.unpack(">I", moov_box[moov_box.index(b"stsz") + 16 :][:4])[0]
    n = 500

    def box(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + name + body

    def replaced(tree: bytes, path: list[bytes], new: bytes) -> bytes:
        """The box at `path` replaced by `new`; sizes of those around it follow."""
        at, out = 0, b""
        while at < len(tree):
            length, name = struct.unpack(">I4s", tree[at : at + 8])
            whole = tree[at : at + length]
            if name == path[0] and len(path) == 1:
                whole = new
            elif name == path[0]:
                whole = box(name, replaced(whole[8:], path[1:], new))
            out, at = out + whole, at + length
        return out

    table = [b"moov", b"trak", b"mdia", b"minf", b"stbl"]
    for name, body in {
        b"stts": struct.pack(">IIII", 0, 1, n, 512),
        b"stsc": struct.pack(">IIIII", 0, 1, 1, 1, 1),
        b"stsz": struct.pack(">III", 0, size, n),
        b"stco": struct.pack(f">II{n}I", 0, n, *[offset] * n),
    }.items():
        moov_box = replaced(moov_box, [*table, name], box(name, body))
    return head + moov_box


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "zero bytes"),
    "text": (b"no film at all\n" * 20, "not a film in MP4"),
    "picture in MP4 boxes": (b"\0\0\0\x20ftypavif" + bytes(100), "not a film in MP4"),
    "no video stream": (only_sound(), "no video stream"),
    "truncated moov": (MOVING[:-200], "does not decode"),
    "no moov": (MOVING[: MOVING.index(b"moov") - 4], "does not decode"),
    "years between frames": (patched(MOVING, b"stts", 12, struct.pack(">I", 2**31 - 1)), "s of film, limit 3600 s"),
    "zero rate": (patched(GREY, b"stts", 12, bytes(4)), "all frames at one time"),
    "forged rate": (patched(GREY, b"mdhd", 12, b"\x7f" * 4), "frames per second; expected at most 1000"),
    "mostly corrupt": (MOVING[:9000] + bytes(50000) + MOVING[59000:], "of 60 frames decode"),
    "repeated bytes": (mp4_of_repeated_bytes(), "names the same bytes many times"),
    "hls": (b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/x.ts\n", "HLS playlist, not a film; nothing"),
    "dash": (b'<?xml version="1.0"?>\n<MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>', "DASH manifest"),
    "concat": (b"ffconcat version 1.0\nfile /etc/passwd\n", "concat list"),
    "sdp": (b"v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", "SDP file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_film(name: str) -> None:
    data, reason = BAD[name]
    seen = video.check(data, LIMITS)
    assert reason in seen.reason and seen == Seen(seen.reason) and "0x" not in seen.reason
    with pytest.raises(Refused, match=reason if name != "mostly corrupt" else "frames decode"):
        video.load(data, LIMITS, 4)


@pytest.mark.parametrize(
    ("scale", "rate", "words"),
    [
        (1, 0, "1000000 frames per second; expected at most 1000"),
        (2**32 - 1, 25, "858993459 s of film, limit 3600 s"),
        (1, 2**32 - 1, "90000 frames per second; expected at most 1000"),
        (0, 0, "64x48, 25 fps, 0.2 s"),  # FFmpeg's own answer to a rate that is none
    ],
)
def test_zero_or_negative_rate_is_refused_or_measured(scale: int, rate: int, words: str) -> None:
    seen = video.check(avi_of_rate(scale, rate), LIMITS)
    assert words == (seen.reason or seen.about)


def test_header_that_claims_years_is_measured() -> None:
    data = film(noise(30), "matroska", "ffv1", pixels="bgr0")
    at = data.index(b"\x44\x89\x88") + 3  # the segment's Duration, a float64
    assert struct.unpack(">d", data[at : at + 8]) == (1200.0,)
    data = data[:at] + struct.pack(">d", 1e12) + data[at + 8 :]
    seen = video.check(data, LIMITS)
    assert seen.about == "128x96, 25 fps, 1.2 s" and seen.notes == ("the header claims 1000000000 s",)
    assert video.load(data, LIMITS, 4).seconds == pytest.approx([0.12, 0.44, 0.72, 1.04])
    for box, where in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        years = patched(MOVING, box, where, struct.pack(">I", 2**32 - 2))
        assert video.check(years, LIMITS).about == "128x96, 25 fps, 2.4 s"


def test_corrupt_middle_is_noted_and_bridged() -> None:
    whole = bytearray(MOVING)
    span = slice(len(whole) * 4 // 10, len(whole) * 6 // 10)
    whole[span] = np.random.default_rng(0).bytes(span.stop - span.start)
    seen = video.check(bytes(whole), LIMITS)
    lost = int(seen.notes[0].removesuffix(" of 60 frames do not decode"))
    assert seen.reason == "" and 5 <= lost <= 30
    got, want = video.load(bytes(whole), LIMITS, 10), video.load(MOVING, LIMITS, 10)
    assert (got.frames[[0, 1, 9]] == want.frames[[0, 1, 9]]).all() and (np.diff(got.seconds) >= 0).all()


def test_lost_beginning_shows_the_first_frame_that_decodes() -> None:
    whole = bytearray(film(noise(40), options={"g": "10"}))
    whole[100 : len(whole) // 5] = bytes(len(whole) // 5 - 100)
    got = video.load(bytes(whole), LIMITS, 8)
    assert (got.seconds[:2] >= 0.2).all() and (np.diff(got.seconds) >= 0).all() and got.frames.shape[0] == 8


def changing() -> bytes:
    """Ten frames of 64x48, then ten of 32x32, in one stream."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in grey(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode())
        second = av.CodecContext.create("mpeg2video", "w")
        second.width, second.height, second.pix_fmt = 32, 32, "yuv420p"
        second.framerate, second.time_base = Fraction(25), Fraction(1, 25)
        for k, frame in enumerate([*grey(10, 32, 32), None]):
            given = None if frame is None else av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
            for packet in second.encode(given):
                packet.stream, packet.pts, packet.dts = stream, 10 + k, 9 + k
                container.mux(packet)
    return out.getvalue()


def test_size_that_changes_midway_is_noted_and_needs_a_size() -> None:
    data = changing()
    seen = video.check(data, LIMITS)
    assert seen.reason == "" and "the size of its frames changes: 64x48, 32x32" in seen.notes
    with pytest.raises(Refused, match="the size of its frames changes; give a size"):
        video.load(data, LIMITS, 6)
    assert video.load(data, LIMITS, 6, size=32).frames.shape == (6, 3, 32, 32)


def test_pixels_are_limited_from_the_header() -> None:
    assert video.check(MOVING, Limits(pixels=10_000)).reason == "128 x 96 pixels, limit 0 megapixels"


def test_frames_are_limited_by_memory() -> None:
    with pytest.raises(Refused, match="of frames, limit 0 MiB; give a size"):
        video.load(MOVING, Limits(memory=100_000), 4)
    assert len(video.load(MOVING, Limits(memory=100_000), 4, size=16).frames) == 4


@pytest.mark.parametrize(("more", "checked"), [("", 24), ("open-gop=1:bframes=3:scenecut=0", None)])
def test_long_film_is_checked_in_part(more: str, checked: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "CHECKED", 24)
    data = film(noise(60), options={"g": "12", "x264-params": more})
    seen = video.check(data, LIMITS)
    assert seen.about == "128x96, 25 fps, 2.4 s" and len(seen.notes) == 1
    found = int(seen.notes[0].removesuffix(" of 60 frames were checked"))
    assert found == checked or (checked is None and 12 <= found <= 24)


def test_title_that_is_not_utf_8_is_no_reason() -> None:
    data = film(grey(5), "matroska", "ffv1", pixels="bgr0", title="Drachen am Strand")
    assert data.count(b"Drachen") == 1
    assert video.check(data.replace(b"Drachen", b"Dr\xe4chen"[:7]), LIMITS) == Seen(about="64x48, 25 fps, 0.2 s")


def test_seconds_are_limited() -> None:
    assert video.check(MOVING, Limits(seconds=1)).reason == "2 s of film, limit 1 s"
    with pytest.raises(Refused, match="2 s of film, limit 1 s"):
        video.load(MOVING, Limits(seconds=1), 4)


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[tuple[str, str, socket.socket]]:
    """A pipe that would hang whoever reads it, and a listener that would see who connects."""
    os.mkfifo(tmp_path / "pipe.ts")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield str(tmp_path / "pipe.ts"), f"http://127.0.0.1:{listener.getsockname()[1]}/x.ts", listener


def test_playlists_named_mp4_open_nothing(canaries: tuple[str, str, socket.socket]) -> None:
    pipe, url, listener = canaries
    for target in (pipe, f"file://{pipe}", url):
        for text in (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile '{target}'\n",
            f"<MPD><Period><AdaptationSet><Representation><BaseURL>{target}</BaseURL></Representation></AdaptationSet>"
            "</Period></MPD>",
        ):
            for start in ("", "\0\0\0\x18ftypmp42\0\0\0\0mp42isom"):  # as it is, and behind an MP4's first box
                assert video.check((start + text).encode(), LIMITS).reason
                with pytest.raises(Refused):
                    video.load((start + text).encode(), LIMITS, 2)
    with pytest.raises(TimeoutError):
        listener.accept()


def test_external_reference_in_an_mp4_opens_nothing(canaries: tuple[str, str, socket.socket]) -> None:
    """A `dref` that names a file in place of the film's own bytes (self-contained flag cleared)."""
    data = MOVING
    at = data.index(b"url ", data.index(b"dref")) + 7
    assert data[at] == 1
    seen = video.check(data[:at] + b"\0" + data[at + 1 :], LIMITS)
    assert isinstance(seen, Seen)
    with pytest.raises(TimeoutError):
        canaries[2].accept()


def test_bomb_is_measured_without_memory() -> None:
    data = mp4_of_repeated_bytes()
    tracemalloc.start()
    assert video.check(data, LIMITS).reason
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


MAGIC = [b"", b"\0\0\0\x20ftypisom", b"\x1a\x45\xdf\xa3", b"RIFF\x40\0\0\0AVI ", b"GIF89a"]
SMALL = {
    "mp4": film(grey(6, 32, 32)),
    "mkv": film(grey(6, 32, 32), "matroska", "ffv1", pixels="bgr0"),
    "avi": film(grey(6, 32, 32), "avi", "mpeg4"),
    "ts": film(grey(6, 32, 32), "mpegts", "mpeg2video"),
}


@given(st.binary(max_size=200), st.sampled_from(MAGIC))
@settings(max_examples=100, deadline=None)
def test_check_never_raises_on_any_bytes(data: bytes, start: bytes) -> None:
    assert isinstance(video.check(start + data, LIMITS), Seen)


@given(
    st.sampled_from(sorted(SMALL)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_check_and_load_agree_on_mutations(name: str, changes: list[tuple[float, int]], keep: float) -> None:
    data = bytearray(SMALL[name])
    for where, value in changes:
        data[int(where * len(data))] = value
    cut = bytes(data[: int(keep * len(data))]) if keep < 0.5 else bytes(data)
    seen = video.check(cut, LIMITS)
    if seen.reason:
        with pytest.raises(Refused):
            video.load(cut, LIMITS, 3, size=8)
    else:
        assert video.load(cut, LIMITS, 3, size=8).frames.shape == (3, 3, 8, 8)
