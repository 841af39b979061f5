"""Sensorium: published ideas of multimodal learning as interchangeable parts."""

__version__ = "0.1.0"
