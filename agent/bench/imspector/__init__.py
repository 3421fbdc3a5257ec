"""An Abberior microscope through a double of Imspector: what runs find, and how fast they are."""
