"""What a person tells a run while it works: checked, appended to its control file, read back."""
