"""What a run leaves behind: its folder, its ledger and its images."""
