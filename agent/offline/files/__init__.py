"""Commands on whole files: score, filter, reconstruct, export."""
