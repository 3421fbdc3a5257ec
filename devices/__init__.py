"""Moves light: Micro-Manager, the virtual STED microscope, the replay camera."""
