"""What others trained and all begin from: frozen inside whatever holds it, and never saved with it."""

from __future__ import annotations

from types import MethodType

from torch import nn

from sensorium.core import Method, SensoriumError

from .decode import Decoder


def shared(method: Method) -> Method:
    """The method itself: its weights become buffers that no state dict holds, and eval is its only mode.

    It moves with what holds it, gradients pass through it to its inputs, and no optimiser finds a parameter in it.
    """
    method.eval()
    for part in method.modules():
        for name, value in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            delattr(part, name)
            part.register_buffer(name, value.detach(), persistent=False)
        vars(part)["train"] = MethodType(_as_it_is, part)
    return method


def _as_it_is(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def decoder_of(method: Method) -> Decoder:
    """The one decoder inside a method.

    Raises:
        SensoriumError: a method with none, or with several.
    """
    found = [part for part in method.modules() if isinstance(part, Decoder)]
    if len(found) != 1:
        raise SensoriumError(f"{type(method).__name__} holds {len(found)} decoders; expected one")
    return found[0]
