"""`stedfast bench fuzz`: files that are damaged, hostile or just drawn at random."""
