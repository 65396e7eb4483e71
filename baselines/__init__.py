"""What the papers' methods are compared with, one file a baseline or a family of tiny ones."""
