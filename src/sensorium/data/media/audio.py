"""Sound from bytes: recognised by content, measured from the header first, decoded block by block."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from sensorium.data.limits import Limits, Refused, Seen

FORMATS = ("WAV", "FLAC", "OGG", "MP3")  # OGG holds Vorbis or Opus; WAV opens WAVEX and RF64 too
ENDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
HIGHEST = 768_000
"""Samples per second; above it a header is taken as forged."""
BLOCK = 1 << 16
"""Frames decoded at once."""


@dataclass(frozen=True, eq=False)
class Audio:
    """`wave` float32 [C N], about -1 to 1; `rate` samples per second."""

    wave: np.ndarray
    rate: int


def looks_like_audio(data: bytes) -> bool:
    """Whether the first bytes are those of a format that is read."""
    if data[:4] in (b"RIFF", b"RF64"):
        return data[8:12] == b"WAVE"
    return data.startswith((b"fLaC", b"OggS", b"ID3")) or _mpeg_layer_three(data)


def check(data: bytes, limits: Limits) -> Seen:
    """Full decode, holding one block at a time."""
    try:
        with _open(data, limits) as (sound, stream):
            decoded, silent = 0, True
            for block in _blocks(sound, stream):
                decoded += len(block)
                silent = silent and not block.any()
            notes = ["silent"] if silent else []
            if decoded < 0.99 * sound.frames or _cut_riff(data):
                notes.append("cut short: the header claims more than there is")
            return Seen(about=describe(decoded, sound.samplerate, sound.channels), notes=tuple(notes))
    except Refused as reason:
        return Seen(str(reason))


def load(data: bytes, limits: Limits, rate: int = 0) -> Audio:
    """Bytes -> wave [C N]; resampled with soxr where `rate` (in Hz) is given.

    Raises:
        Refused: with the reason; before any sample is decoded where the header tells.
    """
    if rate < 0 or rate > HIGHEST:
        raise _bad_rate(rate)
    with _open(data, limits) as (sound, stream):
        wave = np.empty((sound.channels, sound.frames), np.float32)  # pages that no sample fills are never touched
        decoded = 0
        for block in _blocks(sound, stream):
            wave[:, decoded : decoded + len(block)] = block.T
            decoded += len(block)
        audio = Audio(wave if decoded == sound.frames else wave[:, :decoded].copy(), sound.samplerate)
    return resample(audio, rate) if rate else audio


def resample(audio: Audio, rate: int) -> Audio:
    """The same sound at `rate` Hz (soxr, high quality), [C N] -> [C round(N * rate / old)]."""
    if rate == audio.rate:
        return audio
    wave = soxr.resample(np.ascontiguousarray(audio.wave.T), audio.rate, rate)
    return Audio(np.ascontiguousarray(wave.T), rate)


def mono(audio: Audio) -> np.ndarray:
    """float32 [C N] -> [N]: the mean of the channels."""
    return np.asarray(audio.wave.mean(0, dtype=np.float32))


def sixteen(wave: np.ndarray) -> np.ndarray:
    """float32 about -1 to 1 -> int16; what is louder is clipped."""
    return np.asarray((wave * 32768.0).round().clip(-32768, 32767), np.int16)


def wav(wave: np.ndarray, rate: int) -> bytes:
    """float32 [N] about -1 to 1 -> the bytes of a WAV of 16 bits, one channel."""
    out = io.BytesIO()
    soundfile.write(out, sixteen(wave), rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def describe(frames: int, rate: int, channels: int) -> str:
    """ "5.0 s, 44100 Hz, mono" """
    seconds = frames / rate
    length = f"{seconds:.1f} s" if seconds >= 0.1 else f"{1000 * seconds:.1f} ms"
    return f"{length}, {rate} Hz, {ways(channels)}"


def described(about: str) -> tuple[float, int]:
    """What `describe` said -> seconds, rounded to its last digit, and Hz."""
    length, hertz, _ = about.split(", ")
    number, unit = length.split(" ")
    return float(number) / (1 if unit == "s" else 1000), int(hertz.removesuffix(" Hz"))


def ways(channels: int) -> str:
    """1 -> "mono", 2 -> "stereo", 6 -> "6 channels"."""
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def within(frames: int, rate: int, channels: int, limits: Limits) -> None:
    """Refused if that much sound is longer, faster or larger in float32 than the limits allow."""
    if not 0 < rate <= HIGHEST:
        raise Refused(f"sample rate {rate} Hz; expected 1 to {HIGHEST}")
    if frames > limits.seconds * rate:
        raise Refused(f"{frames / rate:.0f} s of sound, limit {limits.seconds:.0f} s")
    if (size := 4 * frames * channels) > limits.memory:
        raise Refused(f"{size >> 20} MiB of samples, limit {limits.memory >> 20} MiB")


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[tuple[soundfile.SoundFile, io.BytesIO]]:
    if not data:
        raise Refused("zero bytes")
    if len(data) > limits.bytes:
        raise Refused(f"{len(data):,} bytes, limit {limits.bytes:,}")
    if not looks_like_audio(data):
        raise Refused(f"not a sound in {', '.join(FORMATS)}")
    try:
        stream = io.BytesIO(data)
        with soundfile.SoundFile(stream) as sound:
            _limit(sound, limits)
            yield sound, stream
    except (Refused, MemoryError):
        raise
    except soundfile.LibsndfileError as error:  # its message holds a memory address, error_string does not
        reason = error.error_string.removeprefix("Error : ")[:100]
        raise Refused(f"does not decode: {'damaged' if 'does not exist' in reason else reason}") from None
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Refused(f"does not decode: {type(error).__name__}") from error


def _limit(sound: soundfile.SoundFile, limits: Limits) -> None:
    """libsndfile reads no more frames than its header says, so that what the header allows bounds all that follows."""
    if sound.format not in (*FORMATS, "WAVEX", "RF64"):
        raise Refused(f"{sound.format} is not read; expected {', '.join(FORMATS)}")
    if sound.frames >= 1 << 62:
        raise Refused("the header does not say how long it is")
    within(sound.frames, sound.samplerate, sound.channels, limits)


def _blocks(sound: soundfile.SoundFile, stream: io.BytesIO) -> Iterator[np.ndarray]:
    """float32 [n C] until the end, all finite, at least one."""
    if not sound.frames:
        raise Refused("holds no samples")
    while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise Refused("holds samples that are not finite")
        yield block
    if not sound.tell():
        raise Refused("holds no samples")
    used = stream.tell()
    if (
        sound.format == "MP3" and stream.seek(0, io.SEEK_END) - used > 4096 + used // 10
    ):  # a guess, without a Xing frame
        raise Refused("MP3 of varying bit rate whose header does not say how long it is")


def _cut_riff(data: bytes) -> bool:
    """Whether a WAV's header claims more bytes than there are; writers to a pipe leave 0 or the highest number."""
    claimed = int.from_bytes(data[4:8], "little")
    return data[:4] == b"RIFF" and 0 < claimed < 0xFFFFFFFF and claimed + 8 > len(data) + 1


def _mpeg_layer_three(data: bytes) -> bool:
    """A frame header of MPEG audio, layer III, without reserved values (ISO 11172-3, 2.4.1.3)."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:
        return False
    return data[1] & 0x18 != 0x08 and data[2] & 0xF0 not in (0x00, 0xF0) and data[2] & 0x0C != 0x0C


def _bad_rate(rate: int) -> Exception:
    from sensorium.core import SensoriumError  # brings torch, which a guarded decoder never loads

    return SensoriumError(f"sample rate {rate} Hz; expected 1 to {HIGHEST}, or 0 to keep a sound's own")
