from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile
from scipy.signal import resample_poly

from sensorium.core import SensoriumError
from sensorium.data.limits import Limits, Refused, Seen
from sensorium.data.media import audio

LIMITS = Limits()
SOUNDS = Path(__file__).parents[3] / "../shared/data/audio"


def tone(seconds: float, rate: int = 16000, channels: int = 1) -> np.ndarray:
    """float32 [N C]: 440 Hz in the first channel, an octave more in each next."""
    at = np.arange(round(seconds * rate))[:, None] / rate
    return (0.5 * np.sin(2 * np.pi * 440 * 2.0 ** np.arange(channels) * at)).astype(np.float32)


def encoded(wave: np.ndarray, rate: int, form: str, subtype: str | None = None, **more: Any) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, wave.shape[1], subtype, format=form, **more) as f:
        for start in range(0, len(wave), 4096):  # libsndfile's Vorbis encoder overflows its stack on long writes
            f.write(wave[start : start + 4096])
    return out.getvalue()


def wav(data: bytes, rate: int = 8000, channels: int = 1, claims: int | None = None, code: int = 1) -> bytes:
    """A WAV of 16-bit integers (code 1) or float32 (code 3) whose header says whatever it is told."""
    bits = {1: 16, 3: 32}[code]
    size = len(data) if claims is None else claims
    form = struct.pack("<HHIIHH", code, channels, rate, rate * channels * bits // 8 % 2**32, channels * bits // 8, bits)
    head = b"RIFF" + struct.pack("<I", (size + 36) % 2**32) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", size) + data


GOOD = {
    "wav": encoded(tone(0.3), 16000, "WAV", "PCM_16"),
    "flac": encoded(tone(0.3), 16000, "FLAC"),
    "vorbis": encoded(tone(0.3), 16000, "OGG", "VORBIS"),
    "opus": encoded(tone(0.3), 16000, "OGG", "OPUS"),
    "mp3": encoded(tone(0.3), 16000, "MP3"),
}


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_wav_is_scipys(channels: int) -> None:
    data = encoded(tone(0.25, 22050, channels), 22050, "WAV", "PCM_16")
    rate, want = wavfile.read(io.BytesIO(data))
    got = audio.load(data, LIMITS)
    assert got.rate == rate == 22050 and got.wave.dtype == np.float32
    assert (got.wave == (want.reshape(-1, channels) / 32768).T.astype(np.float32)).all()


def test_flac_is_exact() -> None:
    steps = np.random.default_rng(0).integers(-32768, 32768, (200_000, 2)).astype(np.int16)  # more than one block
    out = io.BytesIO()
    soundfile.write(out, steps, 44100, format="FLAC")
    assert (audio.load(out.getvalue(), LIMITS).wave == steps.T / np.float32(32768)).all()


@pytest.mark.parametrize("name", GOOD)
def test_every_format_holds_the_tone(name: str) -> None:
    got = audio.load(GOOD[name], LIMITS)
    assert got.rate == 16000 and got.wave.shape[0] == 1 and abs(got.wave.shape[1] - 4800) <= 320
    spectrum = np.abs(np.fft.rfft(got.wave[0]))
    assert abs(spectrum.argmax() * got.rate / got.wave.shape[1] - 440) < 5
    assert audio.looks_like_audio(GOOD[name])
    seen = audio.check(GOOD[name], LIMITS)
    assert (seen.reason, seen.notes) == ("", ()) and seen.about == "0.3 s, 16000 Hz, mono"


def test_resampled_is_scipys_away_from_the_ends() -> None:
    data = encoded(tone(1.0, 48000, 2), 48000, "WAV", "FLOAT")
    got = audio.load(data, LIMITS, 16000)
    want = resample_poly(audio.load(data, LIMITS).wave, 1, 3, axis=1)
    assert got.rate == 16000 and got.wave.shape == (2, 16000) and got.wave.flags.c_contiguous
    assert np.abs(got.wave - want)[:, 500:-500].max() < 2e-3


def test_own_rate_changes_nothing() -> None:
    assert (audio.load(GOOD["wav"], LIMITS, 16000).wave == audio.load(GOOD["wav"], LIMITS).wave).all()


@pytest.mark.parametrize("rate", [-1, 10**9])
def test_impossible_rate(rate: int) -> None:
    with pytest.raises(SensoriumError, match=rf"sample rate {rate} Hz; expected 1 to 768000, or 0"):
        audio.load(GOOD["wav"], LIMITS, rate)


def test_name_does_not_matter_but_content_does() -> None:
    assert not audio.looks_like_audio(b"\x89PNG\r\n\x1a\n")
    assert not audio.looks_like_audio(b"RIFF\x10\0\0\0WEBPVP8 ")
    assert not audio.looks_like_audio(b"\xff\xd8\xff\xe0")  # JPEG
    assert not audio.looks_like_audio("é\n".encode("utf-16"))  # byte order mark FF FE
    assert audio.looks_like_audio(b"\xff\xfb\x90\xc4") and audio.looks_like_audio(b"ID3\x03\0")


def flac_of_unknown_length() -> bytes:
    data = bytearray(GOOD["flac"])
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def mp3_without_xing() -> bytes:
    """Half silence, half noise at a varying bit rate: without its first frame, nothing says how long it is."""
    wave = tone(3, 44100)
    wave[len(wave) // 2 :, 0] += np.random.default_rng(0).normal(0, 0.1, len(wave) - len(wave) // 2)
    data = encoded(wave, 44100, "MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    return data[data.index(data[:2], 4) :]


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "zero bytes"),
    "empty wav": (wav(b""), "holds no samples"),
    "text": (b"this is no sound\n", "not a sound in WAV, FLAC, OGG, MP3"),
    "aiff": (encoded(tone(0.1), 16000, "AIFF"), "not a sound in WAV"),
    "0 Hz": (wav(bytes(100), rate=0), "does not decode"),
    "0 channels": (wav(bytes(100), channels=0), "does not decode: Channel count is zero"),
    "2 GHz": (wav(bytes(100), rate=2**31 - 1), "sample rate 2147483647 Hz; expected 1 to 768000"),
    "1 Hz": (wav(bytes(8000), rate=1), "4000 s of sound, limit 3600 s"),
    "nan": (wav(struct.pack("<3f", 0.0, float("nan"), 1.0), code=3), "not finite"),
    "infinite": (wav(struct.pack("<3f", 0.0, float("inf"), 1.0), code=3), "not finite"),
    "truncated flac": (GOOD["flac"][:-300], "does not decode"),
    "truncated opus": (GOOD["opus"][: len(GOOD["opus"]) // 2], "does not decode"),
    "endless flac": (flac_of_unknown_length(), "does not say how long it is"),
    "mp3 without xing": (mp3_without_xing(), "MP3 of varying bit rate"),
    "only a magic": (b"OggS", "does not decode"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sound(name: str) -> None:
    data, reason = BAD[name]
    seen = audio.check(data, LIMITS)
    assert reason in seen.reason and seen == Seen(seen.reason) and "0x" not in seen.reason
    with pytest.raises(Refused) as refused:
        audio.load(data, LIMITS)
    assert str(refused.value) == seen.reason


def test_header_that_claims_4_gigabytes_is_bounded_by_the_bytes_present() -> None:
    data = wav(struct.pack("<100h", *range(100)), claims=2**32 - 100)
    got = audio.load(data, LIMITS)
    assert got.wave.shape == (1, 100) and got.wave[0, 99] == 99 / 32768
    assert audio.check(data, LIMITS).notes == ("cut short: the header claims more than there is",)


def test_cut_mp3_is_noted() -> None:
    data = encoded(tone(2), 16000, "MP3")
    seen = audio.check(data[: len(data) // 2], LIMITS)
    assert seen.reason == "" and seen.notes == ("cut short: the header claims more than there is",)
    assert audio.load(data[: len(data) // 2], LIMITS).wave.shape[1] < 24000


def test_silence_is_accepted_and_flagged() -> None:
    assert audio.check(wav(bytes(16000), channels=2), LIMITS) == Seen(about="0.5 s, 8000 Hz, stereo", notes=("silent",))
    assert audio.check(wav(bytes(15998) + b"\1\0"), LIMITS).notes == ()


def test_bytes_are_limited() -> None:
    assert audio.check(GOOD["wav"], Limits(bytes=100)).reason == f"{len(GOOD['wav']):,} bytes, limit 100"


def test_samples_are_limited_by_memory() -> None:
    assert "MiB of samples" in audio.check(GOOD["wav"], Limits(memory=1000)).reason


@pytest.mark.parametrize(("form", "subtype"), [("FLAC", "PCM_16"), ("OGG", "OPUS")])
def test_hours_in_few_bytes_stop_at_the_limit(form: str, subtype: str) -> None:
    data = encoded(np.zeros((8000 * 120, 1), np.float32), 8000, form, subtype)
    assert len(data) < 60_000
    tracemalloc.start()
    assert audio.check(data, Limits(seconds=60)).reason == "120 s of sound, limit 60 s"
    with pytest.raises(Refused, match="120 s of sound"):
        audio.load(data, Limits(seconds=60))
    assert audio.check(data, LIMITS).about == "120.0 s, 8000 Hz, mono"
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"RIFF\x40\0\0\0WAVEfmt ", b"fLaC", b"OggS", b"ID3", b"\xff\xfb\x90\xc4"]),
)
@settings(max_examples=150, deadline=None)
def test_check_never_raises_on_any_bytes(data: bytes, start: bytes) -> None:
    assert isinstance(audio.check(start + data, LIMITS), Seen)


@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
@settings(max_examples=150, deadline=None)
def test_check_and_load_agree_on_mutations(name: str, changes: list[tuple[float, int]], keep: float) -> None:
    data = bytearray(GOOD[name])
    for where, value in changes:
        data[int(where * len(data))] = value
    cut = bytes(data[: int(keep * len(data))]) if keep < 0.5 else bytes(data)
    seen = audio.check(cut, LIMITS)
    if seen.reason:
        with pytest.raises(Refused):
            audio.load(cut, LIMITS)
    else:
        assert np.isfinite(audio.load(cut, LIMITS).wave).all()


def test_real_sounds() -> None:
    if not SOUNDS.exists():
        pytest.skip("the shared sounds are not beside the checkout")
    digit = next(iter(sorted((SOUNDS / "digits_en/train/audio").glob("*.wav"))))
    rate, want = wavfile.read(digit)
    got = audio.load(digit.read_bytes(), LIMITS)
    assert (got.rate, got.wave.shape) == (rate, (1, len(want))) and (got.wave[0] == want / np.float32(32768)).all()
    clip = next(iter(sorted((SOUNDS / "sounds/train/audio").glob("*.ogg"))))
    assert audio.check(clip.read_bytes(), LIMITS).about == "5.0 s, 22050 Hz, mono"
    speech = next(iter(sorted((SOUNDS / "speech_de").rglob("*.flac"))))
    assert ", 16000 Hz, mono" in audio.check(speech.read_bytes(), LIMITS).about


def test_a_written_wav_reads_back_to_within_half_a_step() -> None:
    wave = np.array([0.0, 0.5, -0.25, 1.5, -1.5, 1e-5], np.float32)
    found = audio.load(audio.wav(wave, 8000), LIMITS)
    assert found.rate == 8000
    np.testing.assert_allclose(found.wave[0], wave.clip(-1, 32767 / 32768), atol=0.5 / 32768)


def test_mono_is_the_mean_of_the_channels() -> None:
    assert audio.mono(audio.Audio(np.array([[1.0, 0.0], [0.0, -0.5]], np.float32), 8000)).tolist() == [0.5, -0.25]


@given(st.integers(1, 10_000_000), st.sampled_from([8000, 22050, 44100]), st.integers(1, 3))
def test_what_is_said_of_a_sound_can_be_read_again(frames: int, rate: int, channels: int) -> None:
    seconds, hertz = audio.described(audio.describe(frames, rate, channels))
    assert hertz == rate and abs(seconds - frames / rate) <= 0.05 + 1e-9
