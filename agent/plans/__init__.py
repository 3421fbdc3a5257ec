"""Plans: whole behaviours of the microscope, each a page of straight code."""
