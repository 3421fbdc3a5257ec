"""Computation in processes of their own beside the acquisition: score, filter, rebuild, tune."""
