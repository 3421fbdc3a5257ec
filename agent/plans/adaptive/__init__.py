"""What a time-lapse decides with: how wrong rebuilt frames are, what moves, and when to look again.

Everything here is a function of frames and of what the interpolator says of itself; nothing reads
a clock, a file or the truth.
"""
