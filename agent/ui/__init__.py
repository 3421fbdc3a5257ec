"""What a person sees of a run: it reads the record, and never the run."""
