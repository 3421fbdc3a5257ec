"""A microscope's config for plans that are led by hand."""

from __future__ import annotations

from devices.config import MicroscopeConfig

SCOPE = MicroscopeConfig.model_validate(
    {"virtual_sted": {}, "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
)
