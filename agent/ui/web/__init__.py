"""Small pages served to a browser on the same machine, or behind TLS to another one.

What the view of a run and the rating of images have in common: who may see and do what, what is
refused and logged, and the server itself. aiohttp and pages written by hand instead of a framework
that draws from Python: reading and commanding are plain requests then, each with its own token and
origin to be checked, the browser is forbidden everything but our own files, and a page that is slow
or gone holds nothing on this side.
"""
