"""The virtual STED microscope put together: its devices by label."""

from __future__ import annotations

from functools import lru_cache

from pymmcore_plus.experimental.unicore import Device

from devices.sources import Structure, VirtualStedConfig
from devices.virtual.autofocus import Autofocus
from devices.virtual.devices import PIXEL_SIZE_NM, ScanEngine
from devices.virtual.dyes import DYES
from devices.virtual.label import Label
from devices.virtual.mounting import Mounting
from devices.virtual.optics import Optics
from devices.virtual.peripherals import Laser, Shutter, XYStage, ZStage
from devices.virtual.sample import Sample

_APART = 100
"""Number of the first plane of a second dye, whose structure is its own."""


def build_virtual_sted(
    config: VirtualStedConfig, *, seed: int, pixel_size_nm: float
) -> dict[str, Device]:
    """Build the virtual STED microscope's devices, by label in the order to load them.

    Parameters
    ----------
    config
        Sample, dye and field of view.
    seed
        The run's seed, 0 or higher: of the noise, and of the sample unless `config` has one.
    pixel_size_nm
        Asked-for pixel size (nm).

    Returns
    -------
    dict
        `Excitation`, with a second dye `Excitation2`, `Depletion`, `Shutter`, `XYStage`, `ZStage`,
        `Scan`, `Autofocus`.

    Raises
    ------
    ValueError
        If the pixel size is not 20 nm, or the sample is too small for the field of view.
    """
    if pixel_size_nm != PIXEL_SIZE_NM:
        raise ValueError(
            f"pixel_size_nm: the virtual microscope scans at {PIXEL_SIZE_NM:g} nm only, "
            f"got {pixel_size_nm:g}"
        )
    sample_seed = seed if config.seed is None else config.seed
    dyes = [
        _label(config, config.structure, config.dye, config.molecules_per_pixel, sample_seed),
    ]
    if (second := config.second_dye) is not None:
        density = second.molecules_per_pixel
        dyes.append(_label(config, second.structure, second.dye, density, sample_seed, _APART))
    shape = (config.height_px, config.width_px)
    reach_um = dyes[0].reach_um(shape)
    if reach_um < 0:
        raise ValueError(
            f"size_um: a field of {config.width_px} × {config.height_px} pixels needs a sample of "
            f"at least {config.size_um - 2 * reach_um:.2f} µm, got {config.size_um:g}"
        )
    mounting = Mounting(config.stage_rotation_deg, config.stage_mirrored, config.stage_scale)
    excitation = [Laser("Power_uW", 1e-6, 50.0) for _ in dyes]
    depletion = Laser("Power_mW", 1e-3, 500.0)
    shutter, xy_stage, z_stage = (
        Shutter(),
        XYStage(reach_um / mounting.spread),
        ZStage(config.focus_reach_um),
    )
    scan = ScanEngine(
        dyes,
        excitation=excitation,
        crosstalk=0.0 if second is None else second.crosstalk,
        depletion=depletion,
        shutter=shutter,
        xy_stage=xy_stage,
        z_stage=z_stage,
        shape=shape,
        mounting=mounting,
        background_hz=config.background_hz,
        seed=seed,
    )
    return {
        **dict(zip(("Excitation", "Excitation2"), excitation, strict=False)),
        "Depletion": depletion,
        "Shutter": shutter,
        "XYStage": xy_stage,
        "ZStage": z_stage,
        "Scan": scan,
        "Autofocus": Autofocus(
            z_stage,
            lambda: config.z_drift_nm_per_s * 1e-3 * scan.clock_s,
            lambda: scan.clock_s,
            seed,
        ),
    }


def _label(
    config: VirtualStedConfig,
    structure: Structure,
    dye: str,
    molecules_per_pixel: float,
    seed: int,
    first: int = 0,
) -> Label:
    """A dye in every plane of the sample; planes of the same number, from `first` on, are alike."""
    planes = [
        (
            height_um,
            Sample(
                structure,
                size_um=config.size_um,
                molecules_per_pixel=molecules_per_pixel,
                motion_nm_per_s=config.motion_nm_per_s,
                motion_length_um=config.motion_length_um,
                drift_nm_per_s=config.drift_nm_per_s,
                seed=seed,
                part=first + number,
            ),
        )
        for number, height_um in enumerate(_heights(config.planes, config.plane_pitch_um))
    ]
    return Label(_optics(dye), planes, config.z_drift_nm_per_s * 1e-3)


def _heights(planes: int, pitch_um: float) -> list[float]:
    """From the one in the middle, which is at 0, outwards: up and down in turn."""
    return [(number + 1) // 2 * pitch_um * (1 if number % 2 else -1) for number in range(planes)]


@lru_cache(maxsize=len(DYES))
def _optics(dye: str) -> Optics:
    """One light path for each dye in a process: its focus takes a second to compute."""
    return Optics(DYES[dye], PIXEL_SIZE_NM)
