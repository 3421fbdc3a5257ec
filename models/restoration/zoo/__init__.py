"""Models of the BioImage Model Zoo as filters; `bioimageio.core`, an extra, reads and runs them."""
