"""Proves and measures on a GPU what the engines promise: `python -m models.gpu_check`.

Without a GPU the same checks run over an emulated one, on the CPU, but for those of time; so their
own logic is known to work on the day that they meet a GPU.
"""
