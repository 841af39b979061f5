"""Film from bytes: one named demuxer, nothing else opened, length measured from the packets, frames upright RGB.

Damage: a film of which fewer than half of the frames decode is refused; where less is lost, `check` notes how much and
`load` shows a neighbouring frame in the gap.
"""

from __future__ import annotations

import io
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import image
from sensorium.data.media.audio import Audio, within

FORMATS = ("MP4", "MOV", "Matroska", "WebM", "AVI", "MPEG-TS", "GIF")
ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts")
CHECKED = 2000
"""Frames that `check` decodes of a longer film, in whole groups of pictures spread over it."""
FASTEST = 1000
"""Frames per second; above it the times are taken as forged."""
PACKETS = 1_000_000
"""Packets kept of a film: eleven hours at 25 frames per second."""
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_STILL = (b"avif", b"heic", b"heix", b"mif1")  # pictures in the boxes of MP4
_PLAYLISTS = {b"#EXTM3U": "HLS playlist", b"<MPD": "DASH manifest", b"ffconcat": "concat list", b"v=0": "SDP file"}


@dataclass(frozen=True, eq=False)
class Clip:
    """`frames` u8 [n 3 H W] RGB; `seconds` float32 [n], when each is first shown, from the start of the film."""

    frames: np.ndarray
    seconds: np.ndarray


def looks_like_video(data: bytes) -> bool:
    """Whether the first bytes are those of a film that is read; an animated GIF counts as a picture."""
    return _demuxer(data) not in ("", "gif")


def check(data: bytes, limits: Limits) -> Seen:
    """Measures every packet and decodes the frames: all of them up to `CHECKED`."""
    try:
        with _open(data, limits) as container:
            film = _scan(container, len(data), limits)
            sizes: Counter[tuple[int, int]] = Counter()
            given = 0
            for part in _sample(film):
                key = film.times[part.start]  # what is shown before it may need frames that are not here
                given += sum(time >= key for time in film.times[part])
                sizes.update(_upright(frame) for time, frame in _decode(film, part, limits) if time >= key)
            _enough(sizes.total(), given)
            return Seen(about=_about(film, sizes, container), notes=_notes(film, sizes, given, container))
    except Refused as reason:
        return Seen(str(reason))


def load(data: bytes, limits: Limits, frames: int, size: int = 0) -> Clip:
    """Bytes -> the frames shown in the middles of `frames` equal parts of the film.

    A film of fewer frames shows some of them twice. With `size`, each is fitted into size x size by `image.fit`.

    Raises:
        Refused: with the reason; SensoriumError for a number of frames that the limits do not allow.
    """
    if not 1 <= frames <= limits.frames:
        raise _bad_count(frames, limits)
    if reason := check(data, limits).reason:  # the few frames wanted may decode in a film that is refused as a whole
        raise Refused(reason)
    with _open(data, limits) as container:
        film = _scan(container, len(data), limits)
        wanted = [film.start + int(film.length * (2 * k + 1) / (2 * frames)) for k in range(frames)]
        seconds = np.empty(frames, np.float32)
        pictures = np.empty(0, np.uint8)
        for k, (time, frame) in enumerate(_shown(film, wanted, limits)):
            picture = _picture(frame, size)
            if not k:
                pictures = _room(frames, picture.shape, limits)
            if picture.shape != pictures.shape[1:]:
                raise Refused("the size of its frames changes; give a size to fit them into")
            seconds[k], pictures[k] = float((time - film.start) * film.tick), picture
    return Clip(pictures, seconds)


def sound(data: bytes, limits: Limits) -> Audio | None:
    """The first sound track at its own rate, wave [C N]; None where there is none."""
    with _open(data, limits) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        rate, channels = stream.rate, stream.channels
        within(0, rate, channels, limits)
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        blocks: list[np.ndarray] = []
        decoded = 0
        for packet in _packets(container, stream, len(data)):
            for frame in _frames(stream.codec_context, packet):
                blocks += [block.to_ndarray() for block in planar.resample(frame)]
                within(decoded := decoded + frame.samples, rate, channels, limits)
    if not blocks:
        raise Refused("its sound does not decode")
    wave = np.concatenate(blocks, axis=1)
    if not np.isfinite(wave).all():
        raise Refused("its sound holds samples that are not finite")
    return Audio(wave, rate)


@dataclass(frozen=True, eq=False)
class _Film:
    """Packets in decoding order and when each is shown, from `start` for `length`, in ticks of `tick` seconds."""

    stream: VideoStream
    packets: list[Any]
    times: list[int]
    start: int
    length: Fraction
    tick: Fraction


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[InputContainer]:
    if not data:
        raise Refused("zero bytes")
    if len(data) > limits.bytes:
        raise Refused(f"{len(data):,} bytes, limit {limits.bytes:,}")
    if not (demuxer := _demuxer(data)):
        raise Refused(_what_instead(data))
    options = {"protocol_whitelist": "none", "max_pixels": str(limits.pixels)}
    try:
        with av.open(
            io.BytesIO(data), "r", demuxer, options=options, metadata_errors="replace", io_open=_opens_nothing
        ) as container:
            yield container
    except av.FFmpegError as error:  # also that it lacks memory, for a size that the header made up
        raise Refused(f"does not decode: {error.strerror or type(error).__name__}") from None
    except (Refused, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Refused(f"does not decode: {type(error).__name__}") from error


def _demuxer(data: bytes) -> str:
    """FFmpeg's name for the format of these bytes; empty for all that is not read."""
    if data[4:8] in _BOXES:
        return "" if data[4:8] == b"ftyp" and data[8:12] in _STILL else "mov"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if data[:4] == b"RIFF" and data[8:11] == b"AVI":
        return "avi"
    if data[:4] == b"GIF8":
        return "gif"
    for packet, first in ((188, 0), (192, 4)):  # a .m2ts puts four bytes before each packet
        marks = data[first : first + 3 * packet : packet]
        if len(marks) == 3 and set(marks) == {0x47}:
            return "mpegts"
    return ""


def _what_instead(data: bytes) -> str:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, name in _PLAYLISTS.items():
        if start.startswith(mark) or (mark == b"<MPD" and mark in start):
            return f"{name}, not a film; nothing it names is opened or fetched"
    return f"not a film in {', '.join(FORMATS)}"


def _opens_nothing(url: str, flags: int, options: dict[str, str]) -> None:
    raise Refused("names another file or address; nothing is opened or fetched")


def _scan(container: InputContainer, size: int, limits: Limits) -> _Film:
    """All packets of the first film track that is no cover picture, measured without trust in the header."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise Refused("no video stream")
    stream = streams[0]
    if stream.codec_context is None:
        raise Refused("no decoder for its video stream")
    _limit(stream.width, stream.height, limits)
    packets = [p for p in _packets(container, stream, size) if p.size]
    times = [p.pts if p.pts is not None else p.dts for p in packets]
    if not packets:
        raise Refused("no frames")
    if not stream.time_base or stream.time_base < 0 or None in times:
        raise Refused("frames without times")
    shown = [t for t in times if t is not None]
    start, last = min(shown), max(shown)
    if len(shown) > 1 and start == last:
        raise Refused("all frames at one time")
    length = Fraction((last - start) * len(shown), len(shown) - 1) if last > start else Fraction(1)
    if length * stream.time_base > limits.seconds:
        raise Refused(f"{float(length * stream.time_base):.0f} s of film, limit {limits.seconds:.0f} s")
    if len(shown) > FASTEST * length * stream.time_base and len(shown) > 1:
        raise Refused(
            f"{float(len(shown) / (length * stream.time_base)):.0f} frames per second; expected at most {FASTEST}"
        )
    return _Film(stream, packets, shown, start, length, stream.time_base)


def _packets(container: InputContainer, stream: Any, size: int) -> Iterator[Any]:
    """The packets of a stream, then an empty one. Refuses an index that names the same bytes again and again."""
    read = 0
    for count, packet in enumerate(container.demux(stream)):
        read += packet.size
        if read > 2 * size:
            raise Refused("its index names the same bytes many times")
        if count > PACKETS:
            raise Refused(f"more than {PACKETS:,} packets")
        yield packet


def _groups(film: _Film) -> list[slice]:
    """Packets from one key frame to the next, in decoding order."""
    keys = [k for k, packet in enumerate(film.packets) if packet.is_keyframe and k]
    return [slice(a, b) for a, b in pairwise([0, *keys, len(film.packets)])]


def _sample(film: _Film) -> list[slice]:
    """All packets in one go, or groups spread over the film that are about `CHECKED` packets together."""
    every = -(-len(film.packets) // CHECKED)
    return _groups(film)[::every] if every > 1 else [slice(0, len(film.packets))]


def _decode(film: _Film, part: slice, limits: Limits) -> Iterator[tuple[int, VideoFrame]]:
    """(time, frame) of packets that begin with a key frame, in the order in which they are shown."""
    codec = film.stream.codec_context
    if codec.is_open:
        codec.flush_buffers()
    else:
        codec.thread_count = 1
        codec.options = {"max_pixels": str(limits.pixels), "err_detect": "explode"}
    for packet in [*film.packets[part], None]:
        for frame in _frames(codec, packet):
            _limit(frame.width, frame.height, limits)
            if frame.pts is not None:
                yield frame.pts, frame


def _frames(codec: Any, packet: Any) -> list[Any]:
    """What a packet (None: the end) completes. Frames marked as corrupt and packets that do not decode give nothing."""
    try:
        return [frame for frame in codec.decode(packet) if not frame.is_corrupt]
    except av.FFmpegError:
        return []


def _limit(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        raise Refused(f"{width} x {height} pixels, limit {limits.pixels / 1e6:.0f} megapixels")


def _enough(decoded: int, given: int) -> None:
    if 2 * decoded < given:
        raise Refused(f"only {decoded} of {given} frames decode")


def _shown(film: _Film, wanted: Sequence[int], limits: Limits) -> Iterator[tuple[int, VideoFrame]]:
    """For each wanted time, ascending: when the frame shown then began, and it; a neighbour where none decodes."""
    decoded = given = owed = 0
    shown: tuple[int, VideoFrame] | None = None

    def counted(part: slice) -> Iterator[tuple[int, VideoFrame]]:
        nonlocal decoded
        for frame in _decode(film, part, limits):
            decoded += 1
            yield frame

    for part, times in _parts(film, wanted):
        given += part.stop - part.start
        left = len(times)
        owed += left
        for shown in _at(counted(part), times):
            left -= 1
            while owed > left:
                yield shown
                owed -= 1
    _enough(decoded, given)
    while shown and owed:
        yield shown
        owed -= 1


def _at(frames: Iterator[tuple[int, VideoFrame]], times: Sequence[int]) -> Iterator[tuple[int, VideoFrame]]:
    """The frame shown at each time (ascending): the last that is not later, or the first. No frames: nothing."""
    left = list(times)
    before: tuple[int, VideoFrame] | None = None
    for frame in frames:
        while left and before and frame[0] > left[0]:
            yield before
            del left[0]
        before = frame
    while left and before:
        yield before
        del left[0]


def _parts(film: _Film, wanted: Sequence[int]) -> list[tuple[slice, list[int]]]:
    """Packets to decode in one go, and the wanted times (ascending) that they show; all other packets are left out."""
    groups = _groups(film)
    starts = [group.start for group in groups]
    order = sorted(zip(film.times, range(len(film.times)), strict=True))
    parts: list[tuple[slice, list[int]]] = []
    for time in wanted:
        shown, packet = order[max(0, bisect_right(order, (time, len(order))) - 1)]
        last = bisect_right(starts, packet) - 1
        first = last - (last > 0 and shown < film.times[starts[last]])  # shown before its key frame: needs those before
        if parts and groups[first].start <= parts[-1][0].stop:
            part, times = parts[-1]
            parts[-1] = slice(part.start, max(part.stop, groups[last].stop)), [*times, time]
        else:
            parts.append((slice(groups[first].start, groups[last].stop), [time]))
    return parts


def _room(frames: int, shape: tuple[int, ...], limits: Limits) -> np.ndarray:
    if (size := frames * math.prod(shape)) > limits.memory:
        raise Refused(f"{size >> 20} MiB of frames, limit {limits.memory >> 20} MiB; give a size to fit them into")
    return np.empty((frames, *shape), np.uint8)


def _picture(frame: VideoFrame, size: int) -> np.ndarray:
    """u8 [3 H W], or [3 size size]."""
    rgb = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)  # both count anticlockwise
    if size:
        return image.fit(Image.fromarray(np.ascontiguousarray(rgb)), size)
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def _upright(frame: VideoFrame) -> tuple[int, int]:
    """Width, height as shown."""
    return (frame.height, frame.width) if frame.rotation // 90 % 2 else (frame.width, frame.height)


def _about(film: _Film, sizes: Counter[tuple[int, int]], container: InputContainer) -> str:
    """ "64x48, 25 fps, 3.0 s, with sound" """
    (width, height), _ = sizes.most_common(1)[0]
    if len(film.times) == 1:
        return f"{width}x{height}, 1 frame"
    measured = len(film.times) / float(film.length * film.tick)
    claimed = float(film.stream.average_rate or 0)
    rate = claimed if abs(claimed - measured) < 0.02 * measured else measured
    seconds = float(film.length * film.tick)
    return f"{width}x{height}, {round(rate, 2):g} fps, {seconds:.1f} s" + ", with sound" * bool(container.streams.audio)


def _notes(film: _Film, sizes: Counter[tuple[int, int]], given: int, container: InputContainer) -> tuple[str, ...]:
    notes = []
    if (lost := given - sizes.total()) > 0:
        notes.append(f"{lost} of {given} frames do not decode")
    if len(sizes) > 1:
        notes.append("the size of its frames changes: " + ", ".join(f"{w}x{h}" for w, h in sizes))
    if given < len(film.packets):
        notes.append(f"{given} of {len(film.packets)} frames were checked")
    claimed = float((film.stream.duration or 0) * film.tick) or (container.duration or 0) / av.time_base
    if claimed > 1 + 1.1 * float(film.length * film.tick):
        notes.append(f"the header claims {claimed:.0f} s")
    return tuple(notes)


def _bad_count(frames: int, limits: Limits) -> Exception:
    from sensorium.core import SensoriumError  # brings torch, which a guarded decoder never loads

    return SensoriumError(f"{frames} frames of a film; expected 1 to {limits.frames}")
