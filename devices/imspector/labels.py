"""Labels of the devices that every Imspector has; lasers have the names of their calibrations."""

BEAM, SCAN, STAGE, FOCUS = "Beam", "Scan", "Stage", "Focus"
PIXEL_SIZE = "PixelSize_nm"
"""Property of `SCAN`."""
ALL = "all"
"""Name of the channel of a system whose detectors share all settings."""
