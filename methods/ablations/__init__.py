"""The papers' methods with one part changed or left out, for studies; none of them is on a board."""
