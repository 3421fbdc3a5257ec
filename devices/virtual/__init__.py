"""The virtual STED microscope: pySTED's physics as Micro-Manager devices."""
