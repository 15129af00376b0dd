"""From a calibrated multi-camera capture of a head to a 3D Gaussian head."""

__version__ = "0.1.0"
