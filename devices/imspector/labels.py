"""Labels of the devices that every Imspector has; lasers have the names of their calibrations."""

BEAM, SCAN, STAGE, FOCUS = "Beam", "Scan", "Stage", "Focus"
FINE_STAGE, FINE_FOCUS, PINHOLE = "FineStage", "FineFocus", "Pinhole"
PIXEL_SIZE = "PixelSize_nm"
"""Property of `SCAN`."""
ALL = "all"
"""Name of the channel of a system that does not say which of its detectors are recorded."""
