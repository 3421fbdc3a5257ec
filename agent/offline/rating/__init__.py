"""`stedfast rate`: people score images, or compare two scores of each, one image at a time."""
