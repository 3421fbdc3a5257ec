"""Work that needs no run: image files, simulated data, trainings, ratings, studies with people."""
