"""Abberior microscopes, driven through Imspector's own Python interface (specpy).

Devices of a Micro-Manager core like any others: a scan engine as the camera, lasers, stages and the
beam as the shutter. What is known of Imspector comes from its maker's documentation and from public
clients; none of it was tried on hardware by this project.
"""
